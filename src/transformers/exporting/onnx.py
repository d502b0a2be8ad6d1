"""ONNX files: written from a model as one graph, and compared with it before they count as written.

Letters in shapes: ``B`` batch, ``C`` choices, ``L`` padded length.
"""

from __future__ import annotations

import contextlib
import logging as python_logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .static_model import StaticModel

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["TOLERANCE", "largest_difference", "open_session", "quantize", "run_session", "write_onnx"]

TOLERANCE = 1e-4
"""How far an output of the file may be from the model's, of values around 1; larger values count relatively."""

_SHAPES = ((1, 1), (1, 7), (3, 2), (4, 16), (2, 33))  # rows and length; a model with fewer positions has them cut
_NEEDS = "pip install -e '.[export]' in the project's folder"


def write_onnx(model: StaticModel, path: str | os.PathLike[str]) -> float:
    """Write a model as an ONNX file of any batch and length, and compare the two.

    Args:
        model: The model.
        path: The file; what is too large for one comes beside it (``.data``).

    Returns:
        The largest difference of an output, as of `largest_difference`.

    Raises:
        ImportError: If the libraries are not installed.
        ValueError: If the file's outputs are not the model's. It is removed then.
    """
    require_libraries()
    ids = model.example_ids(2, 4)
    inputs = {name: torch.zeros_like(ids) if "type" in name else torch.ones_like(ids) for name in model.input_names}
    inputs["input_ids"] = ids
    dimensions = [torch.export.Dim.DYNAMIC] * ids.dim()
    with _quietly():
        program = torch.onnx.export(
            model,
            tuple(inputs.values()),
            dynamo=True,
            dynamic_shapes=tuple(dict(enumerate(dimensions)) for _ in inputs),
            input_names=list(inputs),
            output_names=list(model.output_names),
            verbose=False,
        )
        assert program is not None
        program.save(os.fspath(path))
    difference = largest_difference(model, path)
    if not difference <= TOLERANCE:
        Path(path).unlink()
        raise ValueError(
            f"The ONNX file's outputs differ from the model's by {difference:.1e}, more than {TOLERANCE:.0e}: it was "
            "not kept. Please report the model's configuration and the versions of `transformers-cli env`."
        )
    return difference


def quantize(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Write an ONNX file with the weights of its products as 8-bit integers, and products computed in them.

    Scales of what is computed are found in each call (dynamic quantisation), so no calibration data are needed.

    Args:
        path: The file of `write_onnx`.
        target: The new file.

    Raises:
        ImportError: If the libraries are not installed.
    """
    require_libraries()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quietly():
        quantize_dynamic(os.fspath(path), os.fspath(target), weight_type=QuantType.QInt8, per_channel=True)


def largest_difference(model: StaticModel, path: str | os.PathLike[str]) -> float:
    """Compare an ONNX file with the model at several shapes: padding on either side, holes, and a row of padding.

    Args:
        model: The model that the file was made of.
        path: The file.

    Returns:
        The largest difference of an output value, divided by the value's size where that is above 1. Where both have
        the least number of fp32 the difference is 0.

    Raises:
        ImportError: If the libraries are not installed.
    """
    session = open_session(path)
    found = [torch.zeros(())]
    for rows, length in _SHAPES:
        length = min(length, model.model.longest_text or length)
        ids = model.example_ids(rows, length)
        mask = _mask_like(ids)
        inputs = {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": (torch.arange(length) % 2).expand_as(ids),
        }
        inputs = {name: inputs[name] for name in model.input_names}
        with torch.no_grad():
            wanted = model(**inputs)
        for given, value in zip(run_session(session, inputs), wanted, strict=True):
            found.append(((given - value).abs() / value.abs().clamp(min=1)).max())
    return float(torch.stack(found).max())


def _mask_like(ids: Tensor) -> Tensor:
    """Make a mask with all that there can be: a full row first, then padding right, left, holes, and a row of it."""
    length = ids.shape[-1]
    columns = torch.arange(length)
    rows = [columns >= 0, columns < (length + 1) // 2, columns >= length // 2, columns % 3 > 0, columns < 0]
    texts = ids.numel() // length
    return torch.stack([rows[number % len(rows)] for number in range(texts)]).view(ids.shape).long()


def open_session(path: str | os.PathLike[str]) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the CPU.

    Raises:
        ImportError: If the libraries are not installed.
    """
    require_libraries()
    import onnxruntime

    return onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])


def run_session(session: onnxruntime.InferenceSession, inputs: dict[str, Tensor]) -> list[Tensor]:
    """Compute with an open file; it takes those inputs that it has."""
    names = {each.name for each in session.get_inputs()}
    outputs = session.run(None, {name: value.numpy() for name, value in inputs.items() if name in names})
    return [torch.from_numpy(value) for value in outputs]


def require_libraries() -> None:
    """Make sure that what writes and reads ONNX is there.

    Raises:
        ImportError: If it is not; the message says how it comes.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"Exporting needs onnx, onnxruntime and onnxscript ({error}): {_NEEDS}") from error


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the libraries' remarks on their own inner work from the terminal."""
    loggers: list[Any] = [python_logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx", "root")]
    levels = [each.level for each in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in loggers:
            each.setLevel(python_logging.ERROR)
        try:
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)
