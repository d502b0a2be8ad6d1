"""Every pipeline answers as upstream's, for three kinds of tokenizers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from parity import Upstream
from upstream_pipelines import run
from vocabularies import SENTENCES, make_bert_vocabulary, make_roberta_vocabulary, make_sentencepiece_model

from transformers import AutoTokenizer, DebertaV2Config, PretrainedConfig, RobertaConfig
from transformers.models.auto.configuration_auto import model_class

pytestmark = pytest.mark.reference

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
TEXT = "Anna Smithsonian lives in New York City, unbelievably. Is Tom-Jerry's cat in Zürich @home?"
HEADS: dict[str, tuple[str, dict[str, Any]]] = {
    "classes": ("sequence-classification", {"num_labels": 3}),
    "one": ("sequence-classification", {"num_labels": 1}),
    "several": ("sequence-classification", {"num_labels": 3, "problem_type": "multi_label_classification"}),
    "number": ("sequence-classification", {"num_labels": 1, "problem_type": "regression"}),
    "entities": (
        "token-classification",
        {"num_labels": 5, "id2label": dict(enumerate(LABELS)), "label2id": {name: i for i, name in enumerate(LABELS)}},
    ),
    "words": ("masked-lm", {}),
    "features": ("base", {}),
}
VOCABULARIES = {
    "wordpiece": lambda folder: make_bert_vocabulary(folder, model_type="roberta"),
    "bpe": make_roberta_vocabulary,
    "sentencepiece": make_sentencepiece_model,
}


def write_models(folder: Path, kind: str) -> dict[str, Path]:
    """Write a tiny model for each head, with large values, so that a mistake shows."""
    source = VOCABULARIES[kind](folder / "vocabulary")
    tokenizer = AutoTokenizer.from_pretrained(source)
    deberta = kind == "sentencepiece"
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    folders = {}
    for name, (task, fields) in HEADS.items():
        torch.manual_seed(len(name))
        config: PretrainedConfig = (DebertaV2Config if deberta else RobertaConfig)(
            vocab_size=len(tokenizer),
            max_position_embeddings=130,
            pad_token_id=tokenizer.pad_token_id,
            initializer_range=0.4,
            **shape,
            **fields,
        )
        folders[name] = folder / name
        model_class(config.model_type, task)(config).eval().save_pretrained(folders[name])
        tokenizer.model_max_length = 128 if deberta else 130 - tokenizer.pad_token_id - 1
        tokenizer.save_pretrained(folders[name])
    return folders


def jobs_for(folders: dict[str, Path], mask: str) -> list[dict[str, Any]]:
    """Give the calls."""
    texts = [text for text in SENTENCES if text.strip()][:6]
    pair = {"text": "a good film", "text_pair": "not so"}
    classes = [
        ("a good film", {}),
        (texts, {}),
        ("a good film", {"top_k": None}),
        (texts, {"top_k": 2}),
        ("x", {"top_k": 1}),
        (pair, {}),
        ([pair, pair], {}),
        ("x", {"function_to_apply": "none"}),
        ("x", {"function_to_apply": "sigmoid"}),
        ("good " * 200, {"truncation": True}),
        ("", {}),
    ]
    entities: list[tuple[Any, dict[str, Any]]] = []
    for strategy in ("none", "simple", "first", "average", "max"):
        chosen = {"aggregation_strategy": strategy}
        entities += [
            (TEXT, chosen),
            (TEXT, {**chosen, "ignore_labels": []}),
            (texts, chosen),
            ([TEXT.split(), ["a", "film"]], {**chosen, "is_split_into_words": True}),
        ]
        if strategy != "none":
            entities.append((f"{TEXT} " * 6, {**chosen, "stride": 9}))
    words = [
        (f"a good {mask}.", {"top_k": 3}),
        (f"a {mask} good {mask}.", {"top_k": 2}),
        ([f"a {mask}", f"b c d {mask} e"], {"top_k": 2}),
    ]
    features = [("a b", {}), (["a b", "c d e"], {}), (["a b"], {"return_tensors": True})]
    calls = {
        "entities": ("ner", entities),
        "words": ("fill-mask", words),
        "features": ("feature-extraction", features),
    }
    names = {name: calls.get(name, ("text-classification", classes)) for name in folders}
    return [{"task": task, "folder": str(folders[name]), "calls": its} for name, (task, its) in names.items()]


@pytest.mark.parametrize("kind", list(VOCABULARIES))
def test_answers_are_upstreams(kind: str, upstream: Upstream, tmp_path: Path) -> None:
    folders = write_models(tmp_path, kind)
    jobs = jobs_for(folders, AutoTokenizer.from_pretrained(folders["words"]).mask_token)
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    upstream("upstream_pipelines.py", tmp_path / "jobs.json", tmp_path / "answers.json")
    for job, theirs, ours in zip(jobs, json.loads((tmp_path / "answers.json").read_text()), run(jobs), strict=True):
        for (inputs, choices), expected, found in zip(job["calls"], theirs, ours, strict=True):
            assert_same(found, expected, f"{job['task']} {job['folder']} {str(inputs)[:60]} {choices}")


def assert_same(found: Any, expected: Any, where: str) -> None:
    """Compare two answers; numbers within rounding."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_same(found[key], expected[key], f"{where} {key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for place, each in enumerate(expected):
            assert_same(found[place], each, f"{where} [{place}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=2e-5, abs=2e-5), where
    else:
        assert found == expected, where
