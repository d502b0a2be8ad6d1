"""Laying out parity cases for upstream and comparing what comes back; for every architecture.

Letters in shapes: ``B`` batch, ``L`` padded length.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from transformers import PreTrainedModel

LABELS = ("labels", "start_positions", "end_positions")  # of all heads

Upstream = Callable[..., None]  # runs a script of this folder in the reference environment

EVAL_TOLERANCE = 1e-5  # absolute, on every valid element
GRADIENT_TOLERANCE = 1e-5  # of the largest gradient of the same parameter
# Biases of keys, and of the relative embeddings where these are keys alone, shift all scores of a query alike: their
# gradients are zero but for rounding, and compared by the model's largest.
SHIFTS = ("key.bias", "key_proj.bias", "encoder.LayerNorm.bias")


def make_inputs(vocab_size: int, pad: int, rows: int = 5, length: int = 13, seed: int = 0) -> dict[str, Tensor]:
    """Make a padded batch: a full row, rows padded on the right, and one with a hole. Shape of each: (B, L)."""
    generator = torch.Generator().manual_seed(seed)
    input_ids = torch.randint(5, vocab_size, (rows, length), generator=generator)
    mask = torch.ones(rows, length, dtype=torch.long)
    for row in range(1, rows):
        mask[row, length - 2 * row :] = 0
    mask[2, 3] = 0
    input_ids[(mask == 0) & (torch.arange(length) > 3)] = pad
    return {"input_ids": input_ids, "attention_mask": mask}


def write_case(folder: Path, model: PreTrainedModel, inputs: dict[str, Tensor]) -> None:
    """Lay one case out for upstream_model.py."""
    folder.mkdir(parents=True)
    model.save_pretrained(folder / "model")
    save_file(inputs, folder / "inputs.safetensors")
    (folder / "case.json").write_text(json.dumps({"class": type(model).__name__}))


def check_case(
    folder: Path,
    model: PreTrainedModel,
    inputs: dict[str, Tensor],
    *,
    losses_differ: bool = False,
    shifts: tuple[str, ...] = (),
) -> None:
    """Compare outputs in evaluation, and loss and every gradient in training, with what upstream gave.

    Args:
        folder: The case, with upstream's outputs.
        model: The same model here.
        inputs: What both are given; (B, C, L) for a model that chooses among texts.
        losses_differ: Compare what is computed for the valid tokens alone: upstream's loss depends on padding.
        shifts: Endings of names of further parameters as in `SHIFTS`.
    """
    theirs = load_file(folder / "outputs.safetensors")
    valid = inputs["attention_mask"].bool().flatten(0, -2)
    model.eval()
    with torch.no_grad():
        ours = model(**inputs, output_hidden_states=True, output_attentions=True)
        plain = model(**inputs)
    compared = 0
    for name in ("logits", "start_logits", "end_logits", "last_hidden_state", "pooler_output", "loss"):
        if name in theirs and not (losses_differ and name == "loss"):
            padded = theirs[name].shape[:2] == valid.shape and name != "pooler_output"
            for output in (ours, plain):
                # upstream's DeBERTa gives the logits of a regression as (B,), not (B, 1)
                flat = name == "logits" and theirs[name].dim() == 1
                value = output[name].squeeze(-1) if flat else output[name]
                assert_close(value, theirs[name], valid if padded else None, name)
            compared += 1
    assert compared, "upstream returned nothing to compare"
    for number, value in enumerate(ours.hidden_states):
        assert_close(value, theirs[f"hidden_states.{number}"], valid, f"hidden_states.{number}")
    both = valid[:, None, :, None] & valid[:, None, None, :]
    for number, value in enumerate(ours.attentions):
        assert_close(value, theirs[f"attentions.{number}"], both.expand(value.shape), f"attentions.{number}")
    if not losses_differ:
        check_gradients(model, inputs, theirs, (*SHIFTS, *shifts))
        check_gradients_of_layers(model, inputs, theirs)


def check_gradients(
    model: PreTrainedModel, inputs: dict[str, Tensor], theirs: dict[str, Tensor], shifts: tuple[str, ...] = SHIFTS
) -> None:
    """Compare every gradient in training mode (dropout 0) with upstream's."""
    model.train()
    model.zero_grad()
    _loss_of(model(**inputs), inputs).backward()
    names = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    expected = {name.removeprefix("grad.") for name in theirs if name.startswith("grad.")}
    assert names == expected, f"gradients of different parameters: {sorted(names ^ expected)}"
    largest = max(float(theirs[f"grad.{name}"].abs().max()) for name in names)
    for name in sorted(names):
        gradient, wanted = model.get_parameter(name).grad, theirs[f"grad.{name}"]
        assert gradient is not None
        scale = largest if name.endswith(shifts) else float(wanted.abs().max())
        difference = float((gradient - wanted).abs().max()) / scale
        assert difference <= GRADIENT_TOLERANCE, f"gradient of {name}: {difference:.2e} relative"


def check_gradients_of_layers(model: PreTrainedModel, inputs: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Compare the gradients of what a call returned of its layers with upstream's, on the valid positions."""
    valid = inputs["attention_mask"].bool().flatten(0, -2)
    model.train()
    result = model(**inputs, output_hidden_states=True, output_attentions=True)
    for name, mask in (("hidden_states", valid), ("attentions", valid[:, None, :, None] & valid[:, None, None, :])):
        gradients = torch.autograd.grad(_loss_of(result, inputs), result[name], retain_graph=True)
        for number, gradient in enumerate(gradients):
            wanted = theirs[f"grad_of_{name}.{number}"]
            chosen = mask.expand(wanted.shape) if name == "attentions" else mask
            scale = float(wanted[chosen].abs().max())
            difference = float((gradient - wanted)[chosen].abs().max()) / scale
            assert difference <= GRADIENT_TOLERANCE, f"gradient of {name}.{number}: {difference:.2e} relative"


def _loss_of(result: Any, inputs: dict[str, Tensor]) -> Tensor:
    """Give the loss; for a bare encoder the one that upstream_model.py makes."""
    if "loss" in result:
        loss: Tensor = result["loss"]
        return loss
    waves = torch.arange(result.last_hidden_state.numel()).sin().view_as(result.last_hidden_state)
    summed: Tensor = (result.last_hidden_state * inputs["attention_mask"][..., None] * waves).sum()
    return summed


def assert_close(ours: Tensor, theirs: Tensor, valid: Tensor | None, name: str) -> None:
    """Compare two tensors, on the valid positions where there are others."""
    assert ours.shape == theirs.shape, f"{name}: {tuple(ours.shape)} here, {tuple(theirs.shape)} upstream"
    difference = (ours - theirs).abs()
    if valid is not None:
        difference = difference[valid]
    assert difference.max() <= EVAL_TOLERANCE, f"{name}: {difference.max():.2e}"


def train_adapter(
    model: PreTrainedModel,
    batches: list[dict[str, Tensor]],
    learning_rate: float,
    optimizer: torch.optim.Optimizer | None = None,
) -> tuple[Tensor, Tensor]:
    """Train an adapter here as upstream_peft.py does there.

    Returns:
        The loss of every step, and the first batch's scores at the end.
    """
    if optimizer is None:
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=learning_rate)
    model.train()
    losses = []
    for batch in batches:
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    model.eval()
    with torch.no_grad():
        logits = model(**{name: value for name, value in batches[0].items() if name not in LABELS})[0]
    return torch.stack(losses), logits


def compare_training(
    model: PreTrainedModel,
    base: Path,
    batches: list[dict[str, Tensor]],
    folder: Path,
    upstream: Upstream,
    tolerance: float = 1e-4,
) -> None:
    """Train the same adapter from the same values here and with upstream + PEFT, and compare every loss."""
    model.save_adapter(folder / "start")
    flat = {f"{step}.{name}": value for step, batch in enumerate(batches) for name, value in batch.items()}
    save_file(flat, folder / "batches.safetensors")
    upstream("upstream_peft.py", base, folder / "start", folder / "batches.safetensors", "2e-3", folder / "results")
    theirs = load_file(folder / "results")
    losses, logits = train_adapter(model, batches, 2e-3)
    assert losses[-10:].mean() < losses[:10].mean(), "nothing was learned, so equality would say little"
    assert (losses - theirs["losses"]).abs().max() <= tolerance
    difference, mask = logits - theirs["logits"], batches[0]["attention_mask"]
    if difference.shape == mask.shape:  # scores that are compared along a text: their bias follows rounding alone
        difference = difference - difference.mean(1, keepdim=True)
    elif difference.shape[:2] == mask.shape:
        difference = difference[mask.bool()]
    assert difference.abs().max() <= 10 * tolerance
