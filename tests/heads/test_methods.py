"""Every head with every method: what is trained, whole models and adapters saved and loaded, vocabularies resized."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from head_models import HEADS, TYPES, head_config, labels_for, make_head, padded_batch
from method_models import BITFIT, HOULSBY, PFEIFFER
from tiny import LORA, same_tensors, shake, values

from transformers import PreTrainedModel
from transformers.heads.head import Head
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import model_class

METHODS: dict[str, dict[str, Any]] = {"lora": LORA, "houlsby": HOULSBY, "pfeiffer": PFEIFFER, "bitfit": BITFIT}
TRAINED = {"lora": "lora_", "houlsby": "adapter", "pfeiffer": "adapter", "bitfit": "bias"}
EQUAL = {"atol": 1e-6, "rtol": 1e-6}  # a product with one column may depend on where the weights lie in memory
TASKED = [each for each in HEADS if each[1] != "base"]
TASK_TYPES = {
    "base": "FEATURE_EXTRACTION",
    "masked-lm": None,
    "causal-lm": "CAUSAL_LM",
    "sequence-classification": "SEQ_CLS",
    "token-classification": "TOKEN_CLS",
    "question-answering": "QUESTION_ANS",
    "multiple-choice": None,
}


def _auto(task: str) -> Any:
    """Give the Auto class of a task."""
    found = [each for each in vars(modeling_auto).values() if getattr(each, "task", None) == task]
    assert len(found) == 1
    return found[0]


def _write_base(family: str, folder: Path) -> Path:
    make_head(family, "base").save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("family", "task"), HEADS)
def test_what_a_head_says_of_itself(family: str, task: str) -> None:
    model = make_head(family, task)
    assert isinstance(model, Head)
    assert model.task_type == TASK_TYPES[task]
    for name in model.label_parameters():
        assert model.get_parameter(name).shape[0] == model.config.num_labels
        assert not model.is_base_parameter(name)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("family", "task"), TASKED)
def test_what_is_trained(family: str, task: str, method: str, tmp_path: Path) -> None:
    base = _write_base(family, tmp_path / "base")
    model = _auto(task).from_pretrained(base, config=head_config(family, task, **METHODS[method]))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    head = {name for name, _ in model.named_parameters() if not model.is_base_parameter(name)}
    assert head <= trained
    assert head
    assert trained - head
    assert all(TRAINED[method] in name.rpartition("layer.")[2] for name in trained - head)
    inputs = padded_batch(task=task)
    shake(model)
    model.train()(**inputs, **labels_for(task, inputs)).loss.backward()
    unused = ("lm_head.bias", "predictions.bias")  # tied, or beside a decoder's own
    lacking = {n for n, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert all(name.endswith(unused) for name in lacking)
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


@pytest.mark.parametrize(("family", "task"), HEADS)
def test_a_whole_model_comes_back(family: str, task: str, tmp_path: Path) -> None:
    model, inputs = make_head(family, task, **LORA), padded_batch(task=task)
    shake(model)
    model.save_pretrained(tmp_path)
    again, report = _auto(task).from_pretrained(tmp_path, output_loading_info=True)
    assert type(again) is model_class(TYPES[family], task)
    assert not any(report.values())
    assert same_tensors(values(again), values(model))
    torch.testing.assert_close(again(**inputs)[0], model(**inputs)[0], **EQUAL)


@pytest.mark.parametrize("method", ["lora", "houlsby"])
@pytest.mark.parametrize(("family", "task"), HEADS)
def test_an_adapter_comes_back(family: str, task: str, method: str, tmp_path: Path) -> None:
    base, inputs = _write_base(family, tmp_path / "base"), padded_batch(task=task)
    model = _auto(task).from_pretrained(base, config=head_config(family, task, **METHODS[method]))
    shake(model)
    model.save_adapter(tmp_path / "adapter")
    again = _auto(task).from_pretrained(tmp_path / "adapter")
    assert same_tensors(values(again), values(model))
    torch.testing.assert_close(again(**inputs)[0], model(**inputs)[0], **EQUAL)


@pytest.mark.parametrize(("family", "task"), TASKED)
def test_a_head_is_new_on_a_bare_encoder(family: str, task: str, tmp_path: Path) -> None:
    base = _write_base(family, tmp_path)
    config = head_config(family, task)
    model, report = _auto(task).from_pretrained(base, config=config, output_loading_info=True)
    assert all(not model.is_base_parameter(name) for name in report["missing_keys"])
    assert set(report["missing_keys"]) == {
        name for name, _ in model.named_parameters() if not model.is_base_parameter(name)
    }
    assert not [name for name in report["unexpected_keys"] if "pooler" not in name]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("family", "task"), TASKED)
def test_a_frozen_base_in_half_precision(family: str, task: str, dtype: torch.dtype) -> None:
    model, inputs = make_head(family, task, **LORA, initializer_range=0.1), padded_batch(task=task)
    inputs |= labels_for(task, inputs)
    with torch.no_grad():
        expected = model(**inputs)
    model.cast_frozen_parameters(dtype)
    output = model(**inputs)
    tolerance = 32 * torch.finfo(dtype).eps
    assert output.loss.dtype == torch.float32
    torch.testing.assert_close(output.loss, expected.loss, atol=tolerance, rtol=tolerance)
    output.loss.backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("size", [50, 70])
@pytest.mark.parametrize(("family", "task"), HEADS)
def test_another_vocabulary(family: str, task: str, size: int, tmp_path: Path) -> None:
    model, inputs = make_head(family, task), padded_batch(task=task)
    inputs["input_ids"] = inputs["input_ids"].clamp(max=49)
    before = model(**inputs)[0]
    model.resize_token_embeddings(size)
    after = model(**inputs)[0]
    if task in ("masked-lm", "causal-lm"):
        assert after.shape[-1] == size
        before, after = before[..., :50], after[..., :50]
    torch.testing.assert_close(after, before)
    model.save_pretrained(tmp_path)
    again: PreTrainedModel = type(model).from_pretrained(tmp_path)
    torch.testing.assert_close(again(**inputs)[0], model(**inputs)[0], **EQUAL)
