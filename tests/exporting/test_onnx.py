"""ONNX files give what the model gives, at shapes that they were not made with; another's file does not pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from head_models import HEADS, make_head
from torch import Tensor

import transformers.exporting.onnx as onnx_files
from transformers.exporting.onnx import largest_difference, open_session, quantize, run_session, write_onnx
from transformers.exporting.static_model import StaticModel

pytest.importorskip("onnxruntime")


def _inputs(static: StaticModel, ids: Tensor) -> dict[str, Tensor]:
    """Make all inputs that a graph takes, without padding."""
    every = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": ids % 2}
    return {name: every[name] for name in static.input_names}


@pytest.mark.parametrize(("family", "task"), HEADS)
def test_every_head(family: str, task: str, tmp_path: Path) -> None:
    static = StaticModel(make_head(family, task, num_hidden_layers=1))
    assert write_onnx(static, tmp_path / "model.onnx") <= 1e-4
    session = open_session(tmp_path / "model.onnx")
    assert [each.name for each in session.get_inputs()] == list(static.input_names)
    assert [each.name for each in session.get_outputs()] == list(static.output_names)
    longest = static.model.longest_text
    ids = static.example_ids(3, longest or 90)  # far beyond the lengths that it was made and compared with
    inputs = _inputs(static, ids)
    with torch.no_grad():
        for value, wanted in zip(run_session(session, inputs), static(**inputs), strict=True):
            torch.testing.assert_close(value, wanted, atol=1e-4, rtol=1e-4)
    if longest is not None:  # no silent answer
        longer = static.example_ids(1, longest + 1)
        with pytest.raises(Exception, match=r"(?i)out of|bounds|range"):
            run_session(session, _inputs(static, longer))


def test_files_that_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    static = StaticModel(make_head("roberta", "sequence-classification", num_hidden_layers=1))
    path = tmp_path / "model.onnx"
    write_onnx(static, path)
    other = make_head("roberta", "sequence-classification", num_hidden_layers=1)
    with torch.no_grad():
        other.classifier.out_proj.bias[0] += 1e-2
    assert largest_difference(StaticModel(other), path) > onnx_files.TOLERANCE
    quantize(path, tmp_path / "int8.onnx")
    assert b"MatMulInteger" in (tmp_path / "int8.onnx").read_bytes()
    assert onnx_files.TOLERANCE < largest_difference(static, tmp_path / "int8.onnx") < 1  # weights of 0.2, 8 bits
    monkeypatch.setattr(onnx_files, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match="was not kept"):
        write_onnx(static, path)
    assert not path.exists()
