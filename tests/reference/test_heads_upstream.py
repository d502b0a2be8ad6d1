"""Every head here equals upstream's: outputs, losses, gradients, and files both ways.

Letters in shapes: ``B`` batch, ``C`` choices, ``L`` padded length.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from parity import Upstream, check_case, compare_training, make_inputs, write_case
from torch import Tensor

from transformers import (
    DebertaV2Config,
    DebertaV2ForMultipleChoice,
    DebertaV2ForQuestionAnswering,
    DebertaV2ForTokenClassification,
    DebertaV2Model,
    PreTrainedModel,
    RobertaConfig,
    RobertaForCausalLM,
    RobertaForMultipleChoice,
    RobertaForQuestionAnswering,
    RobertaForTokenClassification,
    RobertaModel,
)

pytestmark = pytest.mark.reference

TINY: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,  # large enough that a mistake shows
}
V3: dict[str, Any] = {
    "relative_attention": True,
    "position_buckets": 8,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
    "layer_norm_eps": 1e-5,
}
V2 = {**V3, "conv_kernel_size": 3, "conv_act": "gelu"}
DECODER = {"is_decoder": True, "use_cache": False}

# What moves all scores that are compared with each other alike.
SHIFTS = {"answers": ("qa_outputs.bias", "layer.1.output.LayerNorm.bias"), "choices": ("classifier.bias",)}

CASES: dict[str, tuple[type[PreTrainedModel], dict[str, Any]]] = {
    "tokens-roberta": (RobertaForTokenClassification, {"num_labels": 5}),
    "tokens-v2": (DebertaV2ForTokenClassification, {**V2, "num_labels": 5}),
    "tokens-v3": (DebertaV2ForTokenClassification, {**V3, "num_labels": 2}),
    "answers-roberta": (RobertaForQuestionAnswering, {}),
    "answers-v2": (DebertaV2ForQuestionAnswering, V2),
    "answers-v3": (DebertaV2ForQuestionAnswering, V3),
    "answers-padded-roberta": (RobertaForQuestionAnswering, {}),
    "answers-padded-v3": (DebertaV2ForQuestionAnswering, V3),
    "choices-roberta": (RobertaForMultipleChoice, {"type_vocab_size": 2}),
    "choices-v2": (DebertaV2ForMultipleChoice, V2),
    "choices-v3": (DebertaV2ForMultipleChoice, {**V3, "type_vocab_size": 2}),
    "causal": (RobertaForCausalLM, DECODER),
    "causal-left": (RobertaForCausalLM, DECODER),
    "causal-untied": (RobertaForCausalLM, {**DECODER, "tie_word_embeddings": False, "hidden_act": "relu"}),
    "decoder": (RobertaModel, {**DECODER, "type_vocab_size": 2}),
}


def _case(name: str) -> tuple[PreTrainedModel, dict[str, Tensor]]:
    model_class, changes = CASES[name]
    torch.manual_seed(len(name) + 1)
    config_class = RobertaConfig if issubclass(model_class.config_class, RobertaConfig) else DebertaV2Config
    model = model_class(config_class(**{**TINY, **changes}))
    inputs = make_inputs(model.config.vocab_size, model.config.pad_token_id or 0, rows=6)
    if name.endswith("left"):
        inputs = {key: value.flip(1) for key, value in inputs.items()}
    ids, mask = inputs["input_ids"], inputs["attention_mask"].bool()
    if model.config.type_vocab_size > 1:
        inputs["token_type_ids"] = torch.randint(0, model.config.type_vocab_size, ids.shape)
    if name.startswith("tokens"):
        counts = mask & (torch.rand(ids.shape) < 0.7)
        inputs["labels"] = torch.where(counts, ids % model.config.num_labels, -100)
    elif name.startswith("answers"):
        if "padded" not in name:  # upstream's loss compares with padding
            inputs["attention_mask"] = torch.ones_like(ids)
        inputs["start_positions"] = torch.tensor([0, 3, 12, 40, -1, 5])
        inputs["end_positions"] = torch.tensor([[2], [3], [13], [40], [0], [-7]])
    elif name.startswith("choices"):
        inputs = {key: value.unflatten(0, (2, 3)) for key, value in inputs.items()}
        inputs["labels"] = torch.tensor([2, 0])
    elif name.startswith("causal"):
        before = torch.cat([torch.zeros_like(mask[:, :1]), mask[:, :-1]], 1)  # nothing is computed for padding here
        inputs["labels"] = torch.where(mask & before, ids, -100)
    return model, inputs


def _check(folder: Path, name: str, model: PreTrainedModel, inputs: dict[str, Tensor]) -> None:
    shifts = next((endings for task, endings in SHIFTS.items() if name.startswith(task)), ())
    check_case(folder / name, model, inputs, losses_differ="padded" in name, shifts=shifts)


@pytest.fixture(scope="module")
def cases(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heads")
    for name in CASES:
        model, inputs = _case(name)
        write_case(folder / name, model, inputs)
    upstream("upstream_model.py", folder)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_equal_upstream(cases: Path, name: str) -> None:
    _check(cases, name, *_case(name))


@pytest.mark.parametrize("name", CASES)
def test_what_upstream_saves_loads_here(cases: Path, name: str) -> None:
    model, inputs = _case(name)
    loaded, report = type(model).from_pretrained(cases / name / "upstream", output_loading_info=True)
    assert not any(report.values())
    assert loaded.config.num_labels == model.config.num_labels
    _check(cases, name, loaded, inputs)


TRAINED = {
    "tokens-roberta": (RobertaForTokenClassification, RobertaModel, {}),
    "tokens-v2": (DebertaV2ForTokenClassification, DebertaV2Model, {**V2, "lora_position_query": True}),
    "answers-roberta": (RobertaForQuestionAnswering, RobertaModel, {}),
    "answers-v3": (DebertaV2ForQuestionAnswering, DebertaV2Model, {**V3, "lora_position_query": True}),
}


def _batches(name: str, vocabulary: int, pad: int) -> list[dict[str, Tensor]]:
    """Batches whose labels can be learned: a word's half of the vocabulary, or the places of the extreme words."""
    batches = []
    for step in range(50):
        batch = make_inputs(vocabulary, pad, rows=6, length=15, seed=step % 10)
        ids, mask = batch["input_ids"], batch["attention_mask"]
        if name.startswith("tokens"):
            batch["labels"] = torch.where(mask == 1, (ids > vocabulary // 2).long(), -100)
        else:
            batch["attention_mask"] = torch.ones_like(ids)
            batch |= {"start_positions": ids.argmax(1), "end_positions": ids.argmin(1)}
        batches.append(batch)
    return batches


@pytest.mark.parametrize("name", TRAINED)
def test_fifty_training_steps_equal_peft(upstream: Upstream, tmp_path: Path, name: str) -> None:
    head, encoder, fields = TRAINED[name]
    config = encoder.config_class(**{**TINY, **fields, "initializer_range": 0.1})
    torch.manual_seed(0)
    encoder(config).save_pretrained(tmp_path / "base")
    model: PreTrainedModel = head.from_pretrained(tmp_path / "base", apply_lora=True, lora_r=4, lora_alpha=8)
    batches = _batches(name, config.vocab_size, config.pad_token_id or 0)
    compare_training(model, tmp_path / "base", batches, tmp_path, upstream)
