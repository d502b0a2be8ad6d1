"""DeBERTa here equals upstream's: outputs, gradients, files both ways, and LoRA training against PEFT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from parity import Upstream, check_case, compare_training, make_inputs, write_case

from transformers import (
    AutoModelForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    DebertaV2ForSequenceClassification,
    DebertaV2Model,
    PreTrainedModel,
)
from transformers.models.deberta_v2.relative_positions import log_buckets

pytestmark = pytest.mark.reference

TINY: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,  # large enough that a mistake shows
    "relative_attention": True,
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
    "layer_norm_eps": 1e-5,  # 1e-7 would amplify rounding in so narrow a model
}
V3 = {"position_buckets": 8, "share_att_key": True, "norm_rel_ebd": "layer_norm"}  # as v3 and mdeberta
V2 = {**V3, "conv_kernel_size": 3, "conv_act": "gelu"}  # as v2-xlarge and v2-xxlarge

Case = tuple[type[PreTrainedModel], dict[str, Any]]
CASES: dict[str, Case] = {
    "v3-classifier": (DebertaV2ForSequenceClassification, {**V3, "num_labels": 3}),
    "v2-classifier": (DebertaV2ForSequenceClassification, {**V2, "num_labels": 3}),
    "v2-one-layer": (DebertaV2ForSequenceClassification, {**V2, "num_labels": 2, "num_hidden_layers": 1}),
    "v2-encoder": (DebertaV2Model, V2),
    "v2-encoder-wide-conv": (DebertaV2Model, {**V2, "conv_kernel_size": 5, "conv_groups": 2, "conv_act": "tanh"}),
    "v3-encoder": (DebertaV2Model, V3),
    "v3-encoder-published-epsilon": (DebertaV2Model, {**V3, "layer_norm_eps": 1e-7}),
    "own-projections": (DebertaV2Model, {**V3, "share_att_key": False}),
    "c2p": (DebertaV2Model, {**V3, "pos_att_type": ["c2p"]}),
    "p2c": (DebertaV2Model, {**V3, "pos_att_type": ["p2c"]}),
    "c2p-own-projection": (DebertaV2Model, {**V3, "pos_att_type": "c2p", "share_att_key": False}),
    "p2c-own-projection": (DebertaV2Model, {**V3, "pos_att_type": "p2c", "share_att_key": False}),
    "no-position-terms": (DebertaV2Model, {**V3, "pos_att_type": None}),
    "no-buckets": (DebertaV2Model, {"share_att_key": True}),
    "no-buckets-short-span": (DebertaV2Model, {"max_relative_positions": 5}),
    "buckets-beyond-the-last": (DebertaV2Model, {**V3, "position_buckets": 4, "max_relative_positions": 8}),
    "relative-positions-not-normalised": (DebertaV2Model, {**V3, "norm_rel_ebd": "none"}),
    "absolute-positions": (
        DebertaV2ForSequenceClassification,
        {"relative_attention": False, "pos_att_type": None, "position_biased_input": True, "num_labels": 2},
    ),
    "both-positions": (DebertaV2Model, {**V3, "position_biased_input": True}),
    "token-types": (DebertaV2Model, {**V3, "type_vocab_size": 2}),
    "narrow-embeddings": (DebertaV2Model, {**V3, "embedding_size": 20, "type_vocab_size": 3}),
    "gelu-new": (DebertaV2Model, {**V3, "hidden_act": "gelu_new"}),
    "pooler-tanh": (DebertaV2ForSequenceClassification, {**V3, "pooler_hidden_act": "tanh", "cls_dropout": 0.0}),
    "regression": (DebertaV2ForSequenceClassification, {**V3, "num_labels": 1}),
    "masked-lm-legacy": (DebertaV2ForMaskedLM, {**V3, "legacy": True}),
    "masked-lm-legacy-narrow": (DebertaV2ForMaskedLM, {**V2, "legacy": True, "embedding_size": 20}),
    "masked-lm-legacy-untied": (DebertaV2ForMaskedLM, {**V3, "legacy": True, "tie_word_embeddings": False}),
    "masked-lm": (DebertaV2ForMaskedLM, {**V3, "legacy": False}),
    "masked-lm-relu": (DebertaV2ForMaskedLM, {**V2, "legacy": False, "hidden_act": "relu"}),
}


def _case(name: str) -> tuple[PreTrainedModel, dict[str, torch.Tensor]]:
    model_class, changes = CASES[name]
    torch.manual_seed(len(name))
    model = model_class(DebertaV2Config(**{**TINY, **changes}))
    config = model.config
    inputs = make_inputs(config.vocab_size, config.pad_token_id or 0)
    rows = inputs["input_ids"].shape[0]
    if model_class is DebertaV2Model:  # a classifier's first token would be another one
        inputs = {key: torch.cat([value, value.flip(1)]) for key, value in inputs.items()}
    if config.type_vocab_size:
        inputs["token_type_ids"] = torch.randint(0, config.type_vocab_size, inputs["input_ids"].shape)
    if config.num_labels == 1:
        inputs["labels"] = torch.randn(rows)
    elif model_class is DebertaV2ForSequenceClassification:
        inputs["labels"] = torch.arange(rows) % config.num_labels
    elif model_class is DebertaV2ForMaskedLM:
        chosen = inputs["attention_mask"].bool() & (torch.rand(inputs["input_ids"].shape) < 0.4)
        inputs["labels"] = torch.where(chosen, inputs["input_ids"], -100)
    return model, inputs


@pytest.fixture(scope="module")
def cases(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deberta")
    for name in CASES:
        model, inputs = _case(name)
        write_case(folder / name, model, inputs)
    upstream("upstream_model.py", folder)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_equal_upstream(cases: Path, name: str) -> None:
    model, inputs = _case(name)
    check_case(cases / name, model, inputs)


@pytest.mark.parametrize("name", CASES)
def test_what_upstream_saves_loads_here(cases: Path, name: str) -> None:
    model, inputs = _case(name)
    loaded, report = type(model).from_pretrained(cases / name / "upstream", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    check_case(cases / name, loaded, inputs)


def _batches(config: DebertaV2Config, steps: int) -> list[dict[str, torch.Tensor]]:
    """Batches whose label can be learned: whether the row's first word is in the upper half of the vocabulary."""
    batches = []
    for step in range(steps):
        batch = make_inputs(config.vocab_size, config.pad_token_id or 0, rows=6, length=15, seed=step % 10)
        batch["labels"] = (batch["input_ids"][:, 0] > config.vocab_size // 2).long()
        batches.append(batch)
    return batches


TRAINED: dict[str, dict[str, Any]] = {
    "v3": {**V3, "lora_position_query": True},
    "v2": {**V2, "lora_position_query": True},
    "own-projections": {**V3, "share_att_key": False},
}


@pytest.mark.parametrize("name", TRAINED)
def test_fifty_training_steps_equal_peft(upstream: Upstream, tmp_path: Path, name: str) -> None:
    config = DebertaV2Config(**{**TINY, **TRAINED[name], "initializer_range": 0.1})
    DebertaV2Model(config).save_pretrained(tmp_path / "base")
    model = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "base", apply_lora=True, lora_r=4, lora_alpha=8
    )
    compare_training(model, tmp_path / "base", _batches(config, 50), tmp_path, upstream)


def test_buckets_equal_upstream(upstream: Upstream, tmp_path: Path) -> None:
    pairs = [(256, 512), (256, 1024), (8, 16), (8, 24), (7, 24), (4, 8), (32, 512), (16, 1000), (2, 3), (64, 50)]
    upstream("upstream_buckets.py", tmp_path / "buckets.json", *(str(number) for pair in pairs for number in pair))
    found = json.loads((tmp_path / "buckets.json").read_text())
    for (buckets, largest), wanted in zip(pairs, found, strict=True):
        distances = torch.arange(-2 * largest, 2 * largest + 1)
        assert log_buckets(distances, buckets, largest).tolist() == wanted, (buckets, largest)
