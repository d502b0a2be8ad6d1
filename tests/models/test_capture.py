"""A forward pass cannot be captured as one graph; every way of PyTorch's to try it says so in the same sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny import random_ids, run_python, tiny_config
from torch import nn

from transformers import RobertaForSequenceClassification

SENTENCE = "would give wrong results for others. Ship the model itself with save_pretrained()"
WAYS: dict[str, Callable[[nn.Module, tuple[Any, ...]], Any]] = {
    "trace": torch.jit.trace,
    "export": torch.export.export,
    "export-strict": lambda model, inputs: torch.export.export(model, inputs, strict=True),
    "compile-fullgraph": lambda model, inputs: torch.compile(model, fullgraph=True, backend="eager")(*inputs),
}


@pytest.mark.parametrize("way", WAYS)
def test_capturing_is_refused(way: str) -> None:
    torch._dynamo.reset()
    model = RobertaForSequenceClassification(tiny_config()).eval()
    with pytest.raises(RuntimeError, match="wrong results for others") as caught:
        WAYS[way](model, (random_ids(),))
    assert SENTENCE in str(caught.value)


def test_compiling_in_parts_is_not() -> None:
    torch._dynamo.reset()
    model, ids = RobertaForSequenceClassification(tiny_config()).eval(), random_ids()
    compiled = torch.compile(model, backend="eager")
    for rows in (ids, random_ids(2, 7)):
        torch.testing.assert_close(compiled(rows).logits, model(rows).logits)


def test_calling_a_model_loads_no_compiler() -> None:
    code = """
import sys, torch
before = set(sys.modules)
from transformers import RobertaConfig, RobertaModel
sizes = dict(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4)
RobertaModel(RobertaConfig(**sizes)).eval()(torch.tensor([[5, 6]]))
print("torch._inductor" in set(sys.modules) - before)
"""
    assert run_python(code).split() == ["False"]
