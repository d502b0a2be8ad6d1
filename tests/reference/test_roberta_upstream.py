"""RoBERTa here equals upstream's: outputs, gradients, files both ways, and LoRA training against PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from parity import Upstream, check_case, compare_training, make_inputs, write_case

from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    RobertaModel,
)

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
}

CASES: dict[str, tuple[type[PreTrainedModel], dict[str, Any]]] = {
    "classifier": (RobertaForSequenceClassification, {"num_labels": 3, "type_vocab_size": 1}),
    "regression": (RobertaForSequenceClassification, {"num_labels": 1}),
    "several-labels": (
        RobertaForSequenceClassification,
        {"num_labels": 4, "problem_type": "multi_label_classification"},
    ),
    "encoder": (RobertaModel, {"hidden_act": "gelu_new", "type_vocab_size": 2}),
    "encoder-relu-pad0": (RobertaModel, {"hidden_act": "relu", "pad_token_id": 0, "layer_norm_eps": 1e-5}),
    "masked-lm": (RobertaForMaskedLM, {}),
    "masked-lm-untied": (RobertaForMaskedLM, {"tie_word_embeddings": False}),
}


def _case(name: str) -> tuple[PreTrainedModel, dict[str, torch.Tensor]]:
    model_class, changes = CASES[name]
    torch.manual_seed(len(name))
    model = model_class(RobertaConfig(**{**TINY, **changes}))
    config = model.config
    inputs = make_inputs(config.vocab_size, config.pad_token_id or 0)
    rows = inputs["input_ids"].shape[0]
    if name.endswith("pad0"):
        inputs["token_type_ids"] = torch.randint(0, 2, inputs["input_ids"].shape)
    if name == "regression":
        inputs["labels"] = torch.randn(rows)
    elif name == "several-labels":
        inputs["labels"] = torch.randint(0, 2, (rows, 4)).float()
    elif name == "classifier":
        inputs["labels"] = torch.arange(rows) % 3
    elif model_class is RobertaForMaskedLM:
        chosen = inputs["attention_mask"].bool() & (torch.rand(inputs["input_ids"].shape) < 0.4)
        inputs["labels"] = torch.where(chosen, inputs["input_ids"], -100)
    return model, inputs


@pytest.fixture(scope="module")
def cases(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("roberta")
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


def _batches(config: RobertaConfig, steps: int) -> list[dict[str, torch.Tensor]]:
    """Batches whose label can be learned: whether the row's first word is in the upper half of the vocabulary."""
    batches = []
    for step in range(steps):
        batch = make_inputs(config.vocab_size, config.pad_token_id or 0, rows=6, length=15, seed=step % 10)
        batch["labels"] = (batch["input_ids"][:, 0] > config.vocab_size // 2).long()
        batches.append(batch)
    return batches


@pytest.mark.parametrize("pad_token_id", [0, 1])
def test_fifty_training_steps_equal_peft(upstream: Upstream, tmp_path: Path, pad_token_id: int) -> None:
    config = RobertaConfig(**{**TINY, "pad_token_id": pad_token_id, "initializer_range": 0.1})
    RobertaModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "base")
    model = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "base", apply_lora=True, lora_r=4, lora_alpha=8
    )
    compare_training(model, tmp_path / "base", _batches(config, 50), tmp_path, upstream)


def test_real_encoder_trains_as_with_peft(upstream: Upstream, tmp_path: Path, minilm: Path) -> None:
    options = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    RobertaModel.from_pretrained(minilm, **options).save_pretrained(tmp_path / "base")
    model = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "base", apply_lora=True, lora_r=8, lora_alpha=16
    )
    compare_training(model, tmp_path / "base", _batches(model.config, 50), tmp_path, upstream)
