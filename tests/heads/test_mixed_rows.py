"""One batch with rows for several adapters, for every head: each row gives what it gives alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from head_models import HEADS, make_head, padded_batch
from method_models import BITFIT
from tiny import LORA, same_tensors, shake, values

from transformers import PreTrainedModel

OPTIONS: dict[str, dict[str, Any]] = {
    "query and value": {},
    "all linear": {"lora_target_modules": "all-linear"},
    "norms and biases": {"lora_modules_to_save": ["LayerNorm"], "lora_bias": "lora_only"},
    "BitFit": BITFIT,
}


def _two_adapters(family: str, task: str, option: str) -> PreTrainedModel:
    """Make a model with two trained adapters of different ranks, heads included."""
    model = make_head(family, task, **LORA, **OPTIONS[option])
    model.add_adapter("first", lora_r=2, lora_alpha=4)
    model.add_adapter("second", lora_r=5, lora_alpha=3)
    for seed, name in enumerate(("first", "second")):
        model.set_adapter(name)
        shake(model, seed + 2, scale=0.3)
    return model.eval()


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(("family", "task"), HEADS)
def test_each_row_as_alone(family: str, task: str, option: str) -> None:
    model, inputs = _two_adapters(family, task, option), padded_batch("holes", task)
    rows = len(inputs["input_ids"])
    names = ["second", "first", "second", "second", "first", "first"][:rows]
    before = values(model)
    apart = option in ("norms and biases", "BitFit") or (family, option) == ("deberta", "all linear")
    layers = {} if apart else {"output_hidden_states": True}
    with torch.no_grad():
        mixed = model(**inputs, adapter_names=names, **layers)
        assert same_tensors(values(model), before)
        texts = 3 if task == "multiple-choice" else 1
        for name in ("first", "second"):
            model.set_adapter(name)
            alone = model(**inputs, **layers)
            own = [row for row in range(rows) if names[row] == name]
            for key, value in alone.items():
                if key == "hidden_states":
                    chosen = [row * texts + each for row in own for each in range(texts)]
                    for layer, wanted in zip(mixed[key], value, strict=True):
                        torch.testing.assert_close(layer[chosen], wanted[chosen], atol=2e-5, rtol=1e-4)
                else:
                    torch.testing.assert_close(mixed[key][own], value[own], atol=2e-5, rtol=1e-4)
            other = [row for row in range(rows) if names[row] != name]
            key = next(iter(mixed))
            assert not torch.allclose(mixed[key][other], alone[key][other], atol=1e-3), "the adapters do the same"


@pytest.mark.parametrize(("family", "task"), HEADS)
def test_a_wrong_number_of_names(family: str, task: str) -> None:
    model = _two_adapters(family, task, "query and value")
    with pytest.raises(ValueError, match="names"):
        model(**padded_batch("right", task), adapter_names=["first"])
