"""A folder that another runtime can serve: ONNX files, the configuration with its labels, and the tokenizer.

Letters in shapes: ``B`` batch, ``N`` labels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..heads.sequence_classification import SequenceClassification
from ..modeling_utils import PreTrainedModel
from ..models.auto.saved_task import load_saved
from ..models.auto.tokenization_auto import AutoTokenizer
from ..tokenization_utils_base import PreTrainedTokenizerBase
from ..utils.writing import flush, scratch_beside
from .onnx import largest_difference, open_session, quantize, run_session, write_onnx
from .static_model import StaticModel
from .validation import Batch, LabelledTexts, accuracy

__all__ = ["write_folder"]

FLOAT, INT8 = "model.onnx", "model_int8.onnx"


def write_folder(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    task: str | None = None,
    base: str | None = None,
    int8: bool = False,
    validation_file: str | os.PathLike[str] | None = None,
    text_columns: Sequence[str] = ("sentence",),
    label_column: str = "label",
) -> list[str]:
    """Export a saved model or adapter. The folder is made beside its place, and put there when all of it is right.

    Args:
        source: A model's or an adapter's folder or hub id.
        target: The folder; it must be new, or empty.
        task: A key of the table of tasks; what was saved says it where None.
        base: An adapter's base, where it is not where the adapter says.
        int8: Write a file with 8-bit weights too.
        validation_file: Labelled texts to measure the accuracy of each file on, of a classifier of texts.
        text_columns: The columns of it with the texts: one or two.
        label_column: The column of it with the labels.

    Returns:
        Lines that say what was written, and how it differs.

    Raises:
        ImportError: If the libraries for ONNX are not installed.
        OSError: If something is not found, or cannot be written.
        ValueError: If the target is not empty, the model cannot be exported, or the texts do not fit it.
    """
    place = Path(target)
    if place.is_file() or (place.is_dir() and any(place.iterdir())):
        raise ValueError(f"'{place}' exists already; give a new name.")
    model = load_saved(source, task, **({} if base is None else {"base_model_name_or_path": base}))
    tokenizer = _tokenizer([str(source), base or model.name_or_path])
    texts = _validation(model, tokenizer, validation_file, text_columns, label_column)
    static = StaticModel(model)
    with scratch_beside(place) as beside:
        lines = _write_files(static, beside, int8)
        static.model.config.save_pretrained(beside)
        if tokenizer is not None:
            tokenizer.save_pretrained(beside)
        lines += _accuracies(static, beside, texts)
        for path in beside.iterdir():
            flush(path)
        if place.is_dir():
            place.rmdir()
        beside.rename(place)
        flush(place.parent)
    opening = f'onnxruntime.InferenceSession("{place / FLOAT}").run(None, inputs)'
    return [f"Written: {place}", *lines, f"Next: {opening}  # inputs: int64 arrays of (batch, length), by name"]


def _write_files(model: StaticModel, folder: Path, int8: bool) -> list[str]:
    """Write the ONNX files, and say what they are."""
    difference = write_onnx(model, folder / FLOAT)
    signature = f"{', '.join(model.input_names)} -> {', '.join(model.output_names)}"
    lines = [f"  {FLOAT:16} {_size(folder / FLOAT)}, {signature}; within {difference:.1e} of PyTorch"]
    if int8:
        quantize(folder / FLOAT, folder / INT8)
        difference = largest_difference(model, folder / INT8)
        lines.append(f"  {INT8:16} {_size(folder / INT8)}, 8-bit weights; within {difference:.1e} on made-up ids")
    return lines


def _size(path: Path) -> str:
    """Give the size of a file, with what lies beside it."""
    parts = [each for each in (path, path.with_name(f"{path.name}.data")) if each.is_file()]
    return f"{sum(each.stat().st_size for each in parts) / 1e6:.1f} MB"


def _tokenizer(places: Sequence[str]) -> PreTrainedTokenizerBase | None:
    """Load the tokenizer of the first place that has one; None where none has."""
    for place in places:
        try:
            return AutoTokenizer.from_pretrained(place)
        except OSError:
            continue
    return None


def _validation(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    path: str | os.PathLike[str] | None,
    text_columns: Sequence[str],
    label_column: str,
) -> list[Batch]:
    """Encode the labelled texts; none where no file was given."""
    if path is None:
        return []
    if not isinstance(model, SequenceClassification) or model.config.num_labels < 2:
        raise ValueError(f"--validation_file is for classifiers of texts; this is a {type(model).__name__}.")
    if tokenizer is None:
        raise ValueError("--validation_file needs a tokenizer, but neither the model nor its base has one.")
    return LabelledTexts(path, text_columns, label_column, model.config).batches(tokenizer, model.longest_text)


def _accuracies(model: StaticModel, folder: Path, texts: list[Batch]) -> list[str]:
    """Say how many texts each form labels rightly."""
    if not texts:
        return []
    forms: dict[str, Callable[[dict[str, Tensor]], Tensor]] = {"PyTorch": partial(_in_pytorch, model)}
    for name in (FLOAT, INT8):
        if (folder / name).is_file():
            forms[name] = partial(_in_onnxruntime, open_session(folder / name))
    found = [f"{name} {accuracy(score, texts):.4f}" for name, score in forms.items()]
    return [f"  accuracy on {sum(len(labels) for _, labels in texts)} texts: {', '.join(found)}"]


def _in_pytorch(model: StaticModel, inputs: dict[str, Tensor]) -> Tensor:
    """Score labels with the model. Shape: (B, N)."""
    with torch.no_grad():
        scores: Tensor = model(**{name: value for name, value in inputs.items() if name in model.input_names})[0]
    return scores


def _in_onnxruntime(session: Any, inputs: dict[str, Tensor]) -> Tensor:
    """Score labels with an open file. Shape: (B, N)."""
    return run_session(session, inputs)[0]
