"""Tensors that share memory are saved so that what is loaded computes the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from head_models import HEADS, make_head, padded_batch
from safetensors.torch import load_file
from torch import nn

from transformers import PreTrainedModel


def _two_layers(model: PreTrainedModel) -> None:
    """Let the second layer's feed-forward network be the first's."""
    layers: Any = model.base_model.encoder.layer  # type: ignore[union-attr]
    layers[1].output.dense.weight = layers[0].output.dense.weight
    layers[1].intermediate = layers[0].intermediate


def _whole_layer(model: PreTrainedModel) -> None:
    layers: Any = model.base_model.encoder.layer  # type: ignore[union-attr]
    layers[1] = layers[0]


def _views(model: PreTrainedModel) -> None:
    """Let two weights be parts of one tensor."""
    layer: Any = model.base_model.encoder.layer[0]  # type: ignore[union-attr,index]
    both = torch.randn(2 * 48, 32) * 0.2
    layer.intermediate.dense.weight = nn.Parameter(both[:48])
    layer.output.dense.weight = nn.Parameter(both[48:].t())


TIES: dict[str, Callable[[PreTrainedModel], None]] = {"two": _two_layers, "layer": _whole_layer, "views": _views}


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
@pytest.mark.parametrize("tie", TIES)
@pytest.mark.parametrize(("family", "task"), HEADS)
def test_a_reload_computes_the_same(family: str, task: str, tie: str, safe: bool, tmp_path: Path) -> None:
    model, inputs = make_head(family, task), padded_batch(task=task)
    TIES[tie](model)
    model.save_pretrained(tmp_path, safe_serialization=safe)
    again, report = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    own, reloaded = model.state_dict(), again.state_dict()
    assert own.keys() == reloaded.keys()
    assert all(torch.equal(own[name], reloaded[name]) for name in own)
    found, wanted = again(**inputs)[0], model(**inputs)[0]
    # One output: PyTorch multiplies a matrix and a vector, and rounds by the vector's address (16 places in memory
    # gave 4 results for one weight of 32 values; with 5 outputs, one result).
    if task == "multiple-choice":
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
    else:
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("family", ["roberta", "deberta"])
def test_what_loading_ties_again_is_written_once(family: str, tmp_path: Path) -> None:
    model = make_head(family, "masked-lm")
    model.save_pretrained(tmp_path)
    written = load_file(tmp_path / "model.safetensors")
    decoder = "lm_head.decoder" if family == "roberta" else "cls.predictions.decoder"
    assert not {f"{decoder}.weight", f"{decoder}.bias"} & written.keys()


def test_a_scoring_layer_of_its_own_is_written(tmp_path: Path) -> None:
    """Its name is among those that are tied, but it is no word embedding."""
    model, inputs = make_head("roberta", "masked-lm", tie_word_embeddings=False), padded_batch()
    decoder = model.get_output_embeddings()
    assert isinstance(decoder, nn.Linear)
    decoder.weight = nn.Parameter(decoder.weight * 2)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert torch.equal(again(**inputs)[0], model(**inputs)[0])
