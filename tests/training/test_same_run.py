"""Only the same run goes on from a checkpoint: what differs is refused in one line, or said aloud."""

from __future__ import annotations

import json
import logging as python_logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import TensorDataset
from training_case import examples, pad

from transformers import RobertaConfig, RobertaForSequenceClassification, Trainer, TrainingArguments
from transformers.training.data_identity import data_identity
from transformers.training.same_run import RUN_NAME

SIZES: dict[str, Any] = {
    "vocab_size": 43,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "pad_token_id": 0,
}
LABELS = {0: "no", 1: "maybe", 2: "yes"}


def make(folder: Path, *, rows: Any = None, seed: int = 3, steps: int = 4, **fields: Any) -> Trainer:
    """Make a Trainer of a LoRA model over a base of its own seed."""
    base = folder / f"base-{seed}"
    if not base.exists():
        torch.manual_seed(seed)
        RobertaForSequenceClassification(RobertaConfig(**SIZES)).roberta.save_pretrained(base)
    torch.manual_seed(4)
    method = {"apply_lora": True, "lora_r": 2, "lora_alpha": 4}
    model = RobertaForSequenceClassification.from_pretrained(base, **{"id2label": LABELS, **method, **fields})
    args = TrainingArguments(
        str(folder / "out"),
        max_steps=steps,
        save_steps=2,
        report_to="none",
        disable_tqdm=True,
        no_cuda=True,
        per_device_train_batch_size=5,
    )
    return Trainer(model, args, pad, examples(30) if rows is None else rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("same")
    make(place).train()
    return place


def _swapped(rows: list[Any]) -> list[Any]:
    return [{**row, "labels": (row["labels"] + 1) % 3} for row in rows]


OTHERS: dict[str, tuple[str, Callable[[Path], Trainer]]] = {
    "other words": ("training data are of other content", lambda f: make(f, rows=examples(31)[1:])),
    "labels swapped": ("training data are of other content", lambda f: make(f, rows=_swapped(examples(30)))),
    "fewer rows": ("had 30 rows then, 29 now", lambda f: make(f, rows=examples(29))),
    "shorter": (
        "training data are of other content",
        lambda f: make(f, rows=[{**row, "input_ids": row["input_ids"][:3]} for row in examples(30)]),
    ),
    "other names": ("labels differ: 0 was 'no' and is 'bad'", lambda f: make(f, id2label={**LABELS, 0: "bad"})),
    "names swapped": ("labels differ: 0 was 'no'", lambda f: make(f, id2label={0: "yes", 1: "maybe", 2: "no"})),
    "another base": ("base model has other weights", lambda f: make(f, seed=9)),
    "alpha": ("what is trained differ: lora_alpha was 4 and is 16", lambda f: make(f, lora_alpha=16)),
    "scaling": ("lora_use_rslora was False and is True", lambda f: make(f, lora_use_rslora=True)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_run_is_refused(name: str, folder: Path) -> None:
    message, other = OTHERS[name]
    trainer = other(folder)
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    with pytest.raises(ValueError, match=r"checkpoint-2' is another run's") as caught:
        trainer.train(resume_from_checkpoint=str(folder / "out" / "checkpoint-2"))
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert all(torch.equal(value, before[key]) for key, value in trainer.model.state_dict().items())


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Hear what the package says, which by itself tells the root logger nothing."""
    logger = python_logging.getLogger("transformers")
    before, logger.propagate = logger.propagate, True
    with caplog.at_level(python_logging.INFO, logger="transformers"):
        yield caplog
    logger.propagate = before


def test_the_same_run_goes_on_without_a_word(folder: Path, heard: pytest.LogCaptureFixture) -> None:
    make(folder).train(resume_from_checkpoint=str(folder / "out" / "checkpoint-2"))
    assert "nothing of them is new" in heard.text, "it is heard"
    assert not [record for record in heard.records if record.levelno >= python_logging.WARNING]


def test_dropout_is_said(folder: Path, heard: pytest.LogCaptureFixture) -> None:
    make(folder, hidden_dropout_prob=0.3).train(resume_from_checkpoint=str(folder / "out" / "checkpoint-2"))
    assert "hidden_dropout_prob was 0.1 and is 0.3; the training goes on" in heard.text


def test_an_earlier_versions_checkpoint_is_compared_by_its_arguments_alone(folder: Path, tmp_path: Path) -> None:
    old = tmp_path / "checkpoint-2"
    shutil.copytree(folder / "out" / "checkpoint-2", old)
    (old / RUN_NAME).unlink()
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["files"][RUN_NAME]
    (old / "manifest.json").write_text(json.dumps(manifest))
    trainer = make(folder, rows=_swapped(examples(30)))
    trainer.train(resume_from_checkpoint=str(old))
    assert trainer.state.global_step == 4


rows = st.lists(
    st.fixed_dictionaries({"input_ids": st.lists(st.integers(0, 9), max_size=4), "label": st.integers(0, 2)}),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=50)
@given(rows, rows)
def test_content_alone_decides(first: list[Any], second: list[Any]) -> None:
    from datasets import Dataset

    made = [Dataset.from_list(first), Dataset.from_list(first).select(range(len(first))), Dataset.from_list(second)]
    hashes = [data_identity(each)["sha256"] for each in made]
    assert hashes[0] == hashes[1]
    assert (hashes[0] == hashes[2]) == (first == second)
    assert (data_identity(first) == data_identity(second)) == (first == second)


def test_text_and_missing_values_count() -> None:
    from datasets import Dataset

    kinds: list[dict[str, Any]] = [
        {"text": ["a", None]},
        {"text": ["a", "b"]},
        {"text": ["ab", ""]},
        {"score": [0.5, 1.0]},
        {"score": [0.5, None]},
        {"names": [["a"], ["b", "c"]]},
        {"names": [["a", "b"], ["c"]]},
        {"label": [1, 0]},
        {"label": [0, 1]},
    ]
    hashes = [data_identity(Dataset.from_dict(kind))["sha256"] for kind in kinds]
    assert len(set(hashes)) == len(kinds)


def test_rows_that_are_made_anew_have_no_content() -> None:
    class Made(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 7

    assert data_identity(Made()) == {"rows": 7, "sha256": None}
    assert data_identity(None) == {"rows": None, "sha256": None}
    assert data_identity(iter(())) == {"rows": None, "sha256": None}
    tensors = [TensorDataset(torch.arange(4), torch.full((4,), value)) for value in (1, 1, 2)]
    hashes = [data_identity(each)["sha256"] for each in tensors]
    assert hashes[0] == hashes[1] != hashes[2]
