"""Evaluations in half precision: what a base stored in it computes, while the model stays as it is, bit by bit."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from head_models import HEADS, labels_for, make_head, padded_batch
from method_models import BITFIT, CHOICES
from tiny import LORA, same_tensors, shake, values, write_base
from torch import Tensor, nn

from transformers import (
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
    Trainer,
    TrainingArguments,
)
from transformers.layers.quantized import quantized_layers
from transformers.methods.trainable import added_parameter_names
from transformers.models.roberta.modeling_roberta import RobertaPreTrainedModel
from transformers.training.half_evaluation import computing_in

TASKED = [each for each in HEADS if each[1] not in ("base", "multiple-choice")]
LORA_OPTIONS: dict[str, dict[str, Any]] = {
    "dora": {**LORA, "lora_use_dora": True},
    "pissa": {**LORA, "lora_init": "pissa"},
    "words": {**LORA, "lora_target_modules": ["word_embeddings", "dense"]},
    "biases": {**LORA, "lora_bias": "all"},
    "norms": {**LORA, "lora_modules_to_save": ["LayerNorm"]},
}


def cast_by_hand(model: PreTrainedModel, dtype: torch.dtype = torch.bfloat16) -> PreTrainedModel:
    """Copy a model, and store the copy's encoder in another precision."""
    other = copy.deepcopy(model)
    added = added_parameter_names(other)
    for name, parameter in other.named_parameters():
        if other.is_base_parameter(name) and name not in added and parameter.is_floating_point():
            parameter.requires_grad_(False).data = parameter.data.to(dtype)
    for _, layer in quantized_layers(other):
        layer.full_dtype = dtype
    return other


def outputs(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """Give the first output."""
    with torch.no_grad():
        found: Tensor = model(**inputs)[0]
    return found


def check(model: PreTrainedModel, inputs: dict[str, Tensor]) -> None:
    """Hold the copy to a model that is stored so, and the model to what it was."""
    before, in_full = values(model), outputs(model, inputs)
    expected = outputs(cast_by_hand(model), inputs)
    with computing_in(model, torch.bfloat16):
        found = outputs(model, inputs)
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)
    assert not torch.equal(found.float(), in_full)  # it did compute in halves
    torch.testing.assert_close(found.float(), in_full, atol=0.3, rtol=0.1)
    assert same_tensors(values(model), before)
    assert torch.equal(outputs(model, inputs), in_full)


@pytest.mark.parametrize("method", ["full", *CHOICES])
@pytest.mark.parametrize(("family", "task"), TASKED)
def test_every_head_and_method_computes_as_a_base_stored_in_halves(family: str, task: str, method: str) -> None:
    model = make_head(family, task, **CHOICES.get(method, {}))
    shake(model)
    check(model, padded_batch(task=task))


@pytest.mark.parametrize("option", LORA_OPTIONS)
@pytest.mark.parametrize("family", ["roberta", "deberta"])
def test_every_option_of_lora_does(family: str, option: str, tmp_path: Path) -> None:
    make_head(family, "base").save_pretrained(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=3, **LORA_OPTIONS[option]).eval()
    shake(model)
    check(model, padded_batch())


@pytest.mark.parametrize("bits", ["load_in_4bit", "load_in_8bit"])
def test_a_base_of_few_bits_does(bits: str, tmp_path: Path) -> None:
    base = write_base(tmp_path)
    quantization = BitsAndBytesConfig(**{bits: True})
    model = AutoModelForSequenceClassification.from_pretrained(base, quantization_config=quantization, **LORA).eval()
    shake(model)
    check(model, padded_batch())


def test_an_adapter_that_is_merged_or_left_out_stays_so() -> None:
    model, inputs = make_head("roberta", "sequence-classification", **LORA), padded_batch()
    shake(model)
    with model.disable_adapter():
        base_alone = outputs(model, inputs)
        with computing_in(model, torch.bfloat16):
            found = outputs(model, inputs)
        torch.testing.assert_close(found, base_alone, atol=0.1, rtol=0.05)
    assert (outputs(model, inputs) - base_alone).abs().max() > 0.5
    model.merge_adapter()
    check(model, inputs)
    with model.disable_adapter(), computing_in(model, torch.bfloat16):
        found = outputs(model, inputs)
    torch.testing.assert_close(found, base_alone, atol=0.1, rtol=0.05)
    assert not torch.equal(found, base_alone)  # it did compute in halves


def test_another_adapter_may_become_the_active_one_between_evaluations() -> None:
    model, inputs = make_head("roberta", "sequence-classification", **LORA), padded_batch()
    model.add_adapter("second")
    first = outputs(model, inputs)
    model.set_adapter("second")
    shake(model)
    check(model, inputs)
    model.set_adapter("default")
    check(model, inputs)
    assert torch.equal(outputs(model, inputs), first)


def evaluated(model: nn.Module, folder: Path, **arguments: Any) -> tuple[np.ndarray, dict[str, float]]:
    """Let a Trainer predict."""
    inputs = padded_batch()
    batch = inputs | labels_for("sequence-classification", inputs)
    rows = [{name: column[number] for name, column in batch.items()} for number in range(len(inputs["input_ids"]))]
    args = TrainingArguments(str(folder), report_to="none", disable_tqdm=True, use_cpu=True, **arguments)
    output = Trainer(model, args).predict(rows)
    return output.predictions, output.metrics


@pytest.mark.parametrize("method", ["full", "lora", "bitfit-lora"])
@pytest.mark.parametrize("flags", [{"bf16_full_eval": True}, {"bf16": True, "bf16_full_eval": True}], ids=str)
def test_a_trainer_evaluates_so_where_it_is_asked_to(method: str, flags: dict[str, bool], tmp_path: Path) -> None:
    model = make_head("roberta", "sequence-classification", **CHOICES.get(method, {}))
    shake(model)
    seen: set[torch.dtype] = set()
    model.get_submodule("roberta.encoder.layer.0").register_forward_hook(
        lambda module, inputs, output: seen.add(output[0].dtype)
    )
    expected, _ = evaluated(cast_by_hand(model), tmp_path)
    seen.clear()
    before = values(model)
    predictions, metrics = evaluated(model, tmp_path, **flags)
    assert predictions.dtype == np.float32
    assert np.array_equal(predictions, expected)
    assert np.isfinite(metrics["eval_loss"])
    assert seen == {torch.bfloat16}
    if method == "full" or "bf16" not in flags:  # else the Trainer stores the frozen base so itself
        assert same_tensors(values(model), before)


def test_training_goes_on_in_full_precision_after_an_evaluation(tmp_path: Path) -> None:
    inputs = padded_batch()
    batch = inputs | labels_for("sequence-classification", inputs)
    rows = [{name: column[number] for name, column in batch.items()} for number in range(len(inputs["input_ids"]))]
    states = []
    for flags in ({}, {"bf16_full_eval": True}):
        model = make_head("roberta", "sequence-classification", **{**LORA, **BITFIT})
        options: dict[str, Any] = {"max_steps": 6, "eval_strategy": "steps", "eval_steps": 1, **flags}
        args = TrainingArguments(str(tmp_path), report_to="none", disable_tqdm=True, use_cpu=True, **options)
        trainer = Trainer(model, args, train_dataset=rows, eval_dataset=rows)
        trainer.train()
        losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
        states.append((values(model), losses))
    assert same_tensors(states[0][0], states[1][0])
    assert len(states[0][1]) == 6
    assert states[0][1] != states[1][1]
    assert np.allclose(states[0][1], states[1][1], atol=0.05)


def test_an_error_within_an_evaluation_leaves_the_precision_as_it_was(tmp_path: Path) -> None:
    model = make_head("roberta", "sequence-classification", **LORA)
    args = TrainingArguments(str(tmp_path), report_to="none", disable_tqdm=True, use_cpu=True, bf16_full_eval=True)
    trainer = Trainer(model, args)
    before = trainer.precision
    with pytest.raises(ValueError, match="labels"):
        trainer.evaluate([{"input_ids": torch.ones(3, dtype=torch.long), "labels": torch.ones(7)}])
    assert trainer.precision is before
    inputs = padded_batch()
    assert torch.equal(outputs(model, inputs), outputs(copy.deepcopy(model), inputs))


class Own(RobertaPreTrainedModel):
    """A script's own class, as it is written for Transformers: its layers cast nothing."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.score = nn.Linear(config.hidden_size, config.num_labels)
        self.init_weights()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        logits = self.score(self.norm(self.roberta(input_ids, attention_mask=attention_mask)[0][:, 0]))
        found = {"logits": logits}
        return found if labels is None else {"loss": nn.functional.cross_entropy(logits, labels), **found}


def own_head(config: RobertaConfig) -> nn.Module:
    """Make a head of PyTorch's layers: the mean of all tokens' scores. Shape: (B, L, D) to (B, N)."""
    labels = config.num_labels
    return nn.Sequential(nn.Linear(config.hidden_size, labels), nn.AdaptiveAvgPool2d((1, labels)), nn.Flatten(1))


class OwnPart(RobertaForSequenceClassification):
    """A script's own head inside a class of this package."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.classifier = own_head(config)


@pytest.mark.parametrize("flags", [{"bf16": True}, {"bf16_full_eval": True}], ids=str)
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("kind", ["class", "part", "replaced"])
def test_layers_of_a_script_are_trained_and_evaluated_too(
    kind: str, method: str, flags: dict[str, bool], tmp_path: Path
) -> None:
    base = write_base(tmp_path / "base", num_labels=3)
    results = []
    for precision in ({}, flags):
        torch.manual_seed(0)
        made: Any = {"class": Own, "part": OwnPart, "replaced": RobertaForSequenceClassification}[kind]
        model = made.from_pretrained(base, num_labels=3, **CHOICES.get(method, {}))
        if kind == "replaced":
            model.classifier = own_head(model.config)
        inputs = padded_batch()
        batch = inputs | labels_for("sequence-classification", inputs)
        rows = [{name: column[number] for name, column in batch.items()} for number in range(len(inputs["input_ids"]))]
        args = TrainingArguments(
            str(tmp_path / "run"), report_to="none", disable_tqdm=True, use_cpu=True, max_steps=3, **precision
        )
        trainer = Trainer(model, args, train_dataset=rows, eval_dataset=rows)
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert any("lora" in name for name in trained) is (method == "lora")
        trainer.train()
        if precision == {"bf16": True}:  # alone on a frozen base, of known classes, it is left out
            assert (trainer.precision.autocast_dtype is None) is (method == "lora" and kind == "replaced")
        results.append(trainer.evaluate()["eval_loss"])
        dtypes = {parameter.dtype for name, parameter in model.named_parameters() if name in trained}
        assert dtypes == {torch.float32}
    assert results[0] != results[1]
    assert results[0] == pytest.approx(results[1], abs=0.1)
