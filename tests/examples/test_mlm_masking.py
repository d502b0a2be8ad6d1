"""Which tokens are hidden follows from (seed, epoch, index) alone, and perplexity is that of all hidden tokens."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from vocabularies import SENTENCES, make_roberta_vocabulary

from mlm_masking import MaskedTexts
from mlm_scores import compute_metrics, figures_of_rows
from transformers import AutoTokenizer, DataCollatorForLanguageModeling, DataCollatorForWholeWordMask, EvalPrediction


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return AutoTokenizer.from_pretrained(make_roberta_vocabulary(tmp_path_factory.mktemp("bpe") / "model"))


@pytest.fixture(scope="module", params=["tokens", "words"])
def texts(request: pytest.FixtureRequest, tokenizer: Any) -> MaskedTexts:
    encoded = tokenizer(SENTENCES)
    columns = {"input_ids": encoded["input_ids"]}
    kind: Any = DataCollatorForLanguageModeling
    if request.param == "words":
        words = [encoded.word_ids(row) for row in range(len(SENTENCES))]
        columns["word_ids"] = [[-1 if word is None else word for word in row] for row in words]
        kind = DataCollatorForWholeWordMask
    return MaskedTexts(Dataset.from_dict(columns), kind(tokenizer, mlm_probability=0.3), seed=3, anew=True)


def everything(texts: MaskedTexts, epoch: int, indices: list[int]) -> list[list[int]]:
    texts.set_epoch(epoch)
    rows = texts.__getitems__(indices)
    return [[*row["input_ids"].tolist(), *row["labels"].tolist()] for row in rows]


def test_masks_follow_from_seed_epoch_and_index_alone(texts: MaskedTexts, tokenizer: Any) -> None:
    order = list(range(len(texts)))
    first, second = everything(texts, 0, order), everything(texts, 1, order)
    assert all(a != b for a, b in zip(first, second, strict=True)), "masks are drawn anew in every epoch"
    torch.rand(7)  # whatever else is drawn
    assert everything(texts, 0, order[::-1]) == first[::-1], "whatever the order and the batch"
    assert everything(texts, 1, [4]) == [second[4]]
    again = MaskedTexts(texts.rows, texts.mask, seed=4, anew=True)
    assert everything(again, 0, order) != first
    fixed = MaskedTexts(texts.rows, texts.mask, seed=3, anew=False)
    assert everything(fixed, 5, order) == first, "an evaluation's masks stay what they are"
    for row, ids in zip(texts.__getitems__(order), texts.rows["input_ids"], strict=True):
        hidden = row["labels"] != -100
        original = torch.from_numpy(np.asarray(ids))
        assert torch.equal(row["labels"][hidden], original[hidden])
        assert torch.equal(row["input_ids"][~hidden], original[~hidden])
        assert not hidden[torch.isin(original, torch.tensor(tokenizer.all_special_ids))].any()


def test_shares_are_those_of_bert(texts: MaskedTexts, tokenizer: Any) -> None:
    special = torch.tensor(tokenizer.all_special_ids)
    counts = np.zeros(4)
    words = [torch.from_numpy(np.asarray(ids)) for ids in texts.rows["input_ids"]]
    for epoch in range(60):
        texts.set_epoch(epoch)
        for row, ids in zip(texts.__getitems__(list(range(len(words)))), words, strict=True):
            hidden = row["labels"] != -100
            now, before = row["input_ids"][hidden], ids[hidden]
            counts += [
                int((~torch.isin(ids, special)).sum()),
                len(now),
                int((now == tokenizer.mask_token_id).sum()),
                int((now == before).sum()),
            ]
    assert counts[1] / counts[0] == pytest.approx(0.3, abs=0.02)
    assert counts[2] / counts[1] == pytest.approx(0.8, abs=0.02)
    assert counts[3] / counts[1] == pytest.approx(0.1, abs=0.02)


def test_figures_are_those_of_all_hidden_tokens_however_they_lie_in_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 7, 11, generator=generator) * 3
    labels = torch.randint(11, (5, 7), generator=generator)
    labels[torch.rand(5, 7, generator=generator) < 0.6] = -100
    labels[3] = -100  # a row of which nothing is hidden
    hidden = labels != -100
    loss = torch.nn.functional.cross_entropy(logits[hidden].double(), labels[hidden]).item()
    right = (logits[hidden].argmax(-1) == labels[hidden]).double().mean().item()
    for cuts in ([5], [1, 1, 3], [2, 3]):
        parts = list(zip(logits.split(cuts), labels.split(cuts), strict=True))
        whole = [figures_of_rows(*part) for part in parts]
        sparse = [figures_of_rows(scores[truth != -100], truth) for scores, truth in parts]
        assert all(torch.equal(a, b) for a, b in zip(whole, sparse, strict=True))
        found = compute_metrics(EvalPrediction(torch.cat(whole).numpy(), labels.numpy()))
        assert found["loss"] == pytest.approx(loss, rel=1e-6)
        assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-6)
        assert found["mask_accuracy"] == pytest.approx(right)
    assert compute_metrics(EvalPrediction(np.array([[1e6, 0, 1]]), labels.numpy()))["perplexity"] == math.inf
