"""Forward and backward passes as CUDA graphs: what was computed for one batch is launched anew for the next at once.

A GPU is done with a step of few short texts before the program has launched its thousand operations. A graph launches
all of them together. It holds one shape, so batches are padded to a multiple of `MULTIPLE` tokens, and the padding is
computed (`transformers.layers.padded`). Of each shape the first batch is computed plainly, the second one is captured,
and from then on the capture is replayed. All three compute the same with the same random numbers, so that a run is the
same whatever was captured before it was interrupted.

Letters in shapes: ``B`` batch, ``C`` choices, ``L`` padded length.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..heads.head import Head
from ..layers.losses import IGNORED_LABEL
from ..layers.transfer import on_cpu

__all__ = ["MULTIPLE", "GraphedSteps", "check_graphs"]

MULTIPLE = 32
"""Batches are padded to a multiple of so many tokens: fewer shapes to capture, for 16 tokens a text on average."""
MOST_GRAPHS = 64
"""Further shapes are computed plainly: each graph takes some megabytes, beside the memory that all share."""

_FILLINGS = {"attention_mask": 0, "token_type_ids": 0, "labels": IGNORED_LABEL}
_OF_ROWS = ("labels", "start_positions", "end_positions")
_SIMPLE = (bool, int, float, str, type(None))

Batch = dict[str, Tensor]


def check_graphs(model: nn.Module) -> Head:
    """Give a model back, unless its steps are not the same operations for each batch of a shape.

    Raises:
        ValueError: Saying why.
    """
    if not isinstance(model, Head):
        raise ValueError(f"cuda_graphs is for models of this package, and this is a {type(model).__name__}.")
    consistency = getattr(model.config, "consistency", None)
    reasons = {
        f"consistency training ('{consistency}') chooses tokens on the CPU": consistency is not None,
        "a base of 8 bits looks for outliers, for which the CPU waits": model.is_loaded_in_8bit,
        "gradient_checkpointing restores random states on the CPU": model.config.gradient_checkpointing,
    }
    found = [reason for reason, holds in reasons.items() if holds]
    if found:
        raise ValueError(f"cuda_graphs is set, but {found[0]}. Train without it.")
    return model


class GraphedSteps:
    """The forward and backward passes of a training.

    Args:
        model: The model, on its device.
        compute: Gives the loss of a batch.
        capture: Capture and replay. Without it everything is computed plainly, with the same results: on a device that
            has no graphs.

    Raises:
        ValueError: As of `check_graphs`.
    """

    def __init__(self, model: nn.Module, compute: Callable[[Batch], Tensor], *, capture: bool = True) -> None:
        self.model = check_graphs(model)
        self.compute, self.captures = compute, capture
        self._graphs: dict[tuple[Any, ...], _Graph | None] = {}  # None: met once
        self._gradients: dict[nn.Parameter, Tensor] = {}
        self._state: tuple[Any, ...] = ()

    def run(self, inputs: Mapping[str, Tensor], factor: Tensor) -> Tensor:
        """Compute a batch's loss, and add its gradients to those of the step.

        Args:
            inputs: On the device: ids and labels, with or without mask and token types.
            factor: The gradients are those of the loss times this. Shape: ().

        Returns:
            The loss, detached. Shape: ().

        Raises:
            ValueError: If there are other inputs, or the texts are too long.
            RuntimeError: If the step cannot be captured.
        """
        batch = self._padded(inputs)
        with _static_shapes(self.model):
            if not self.captures:
                return self._plain(batch, factor)
            self._forget_if_changed()
            shape = tuple((name, values.shape, values.dtype) for name, values in batch.items())
            if shape not in self._graphs:
                if len(self._graphs) < MOST_GRAPHS:
                    self._graphs[shape] = None
                return self._plain(batch, factor)
            graph = self._graphs[shape]
            if graph is None:
                graph = self._graphs[shape] = self._captured(batch, factor)
            self._gather_gradients()
            loss = graph.replay(batch, factor)
            for parameter in graph.learned:
                parameter.grad = self._gradients[parameter]
            return loss

    # The batch ------------------------------------------------------------------------------------------------

    def _padded(self, inputs: Mapping[str, Tensor]) -> Batch:
        """Cut or pad the inputs of tokens on the right, to a multiple of `MULTIPLE` or the model's longest text."""
        names = list(inputs) if isinstance(inputs, Mapping) else [type(inputs).__name__]
        if "input_ids" not in names or set(names) - {"input_ids", *_FILLINGS, *_OF_ROWS}:
            raise ValueError(
                f"cuda_graphs is set, and the batch has {', '.join(names)}; input_ids, attention_mask, token_type_ids "
                "and labels were expected. Train without it."
            )
        ids, mask = inputs["input_ids"], inputs.get("attention_mask")
        length, longest = ids.shape[-1] if mask is None else _columns_used(mask), self.model.longest_text
        if longest is not None and length > longest:
            raise ValueError(f"A batch is {length} tokens wide, but this model has positions for {longest}; truncate.")
        wanted = -(-length // MULTIPLE) * MULTIPLE
        added = (wanted if longest is None else min(wanted, longest)) - ids.shape[-1]
        batch = {"attention_mask": torch.ones_like(ids), **inputs}
        fillings = {**_FILLINGS, "input_ids": self.model.config.pad_token_id or 0}
        if not self.model.labels_each_token:
            del fillings["labels"]
        return {
            name: functional.pad(values, (0, added), value=fillings[name]) if name in fillings else values
            for name, values in batch.items()
        }

    # Passes ---------------------------------------------------------------------------------------------------

    def _plain(self, batch: Batch, factor: Tensor) -> Tensor:
        loss = self.compute(batch)
        (loss * factor).backward()
        return loss.detach()

    def _captured(self, batch: Batch, factor: Tensor) -> _Graph:
        """Capture a pass, which is not computed by that."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        for parameter in trained:
            if parameter not in self._gradients:  # not among the graph's own memory, which the next one writes over
                self._gradients[parameter] = torch.zeros_like(parameter)
        return _Graph(batch, factor, self.compute, {each: self._gradients[each] for each in trained}, self._pool())

    def _pool(self) -> Any:
        """Give the memory that all graphs share, as one runs at a time; None before the first."""
        return next((graph.memory for graph in self._graphs.values() if graph is not None), None)

    def _gather_gradients(self) -> None:
        """Let the tensors that graphs add to hold the gradients of the step so far."""
        empty = [own for parameter, own in self._gradients.items() if parameter.grad is None]
        if empty:
            torch._foreach_zero_(empty)
        for parameter, own in self._gradients.items():
            if parameter.grad is not None and parameter.grad is not own:  # a plain pass made it
                own.copy_(parameter.grad)
                parameter.grad = own

    # What was captured holds as long as the model stays as it is ------------------------------------------------

    def _forget_if_changed(self) -> None:
        """Forget all graphs if the model is not as it was: another adapter, dropout, scaling, parameter, ….

        A graph holds the addresses of parameters, and whatever the program decided by the modules' attributes.
        """
        state = tuple(_state_of(self.model))
        if state != self._state:
            self._graphs, self._gradients, self._state = {}, {}, state


def _state_of(model: Head) -> Iterator[Any]:
    """Give all that a forward pass can depend on but the values of tensors."""
    for holder in (model.config, *model.modules()):
        for name, value in vars(holder).items():
            if isinstance(value, _SIMPLE):
                yield name, value
    for module in model.modules():
        for parameter in module._parameters.values():
            yield None if parameter is None else (parameter.data_ptr(), parameter.requires_grad)


def _columns_used(mask: Tensor) -> int:
    """Count the columns up to the last one that is valid in any row. Shape: (B, L) or (B, C, L)."""
    used = (on_cpu(mask) != 0).flatten(0, -2).any(0).nonzero()
    return int(used[-1]) + 1 if len(used) else 1


@contextmanager
def _static_shapes(model: Head) -> Iterator[None]:
    """Let a model compute padding for a while."""
    before = bool(model.base_model.static_shapes)
    model.use_static_shapes()
    try:
        yield
    finally:
        model.use_static_shapes(before)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Let nothing be collected for a while: the end of an older graph would spoil a capture."""
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Graph:
    """A captured forward and backward pass.

    Args:
        batch: A batch of the shape.
        factor: Of the gradients. Shape: ().
        compute: Gives the loss of a batch.
        gradients: For each trained parameter what its gradient is added to.
        pool: The memory of the other graphs; None for its own.

    Attributes:
        learned: The parameters that get a gradient.
        memory: Where what it computes lies.
    """

    def __init__(
        self,
        batch: Batch,
        factor: Tensor,
        compute: Callable[[Batch], Tensor],
        gradients: dict[nn.Parameter, Tensor],
        pool: Any,
    ) -> None:
        self._batch, self._factor = {name: values.clone() for name, values in batch.items()}, factor.clone()
        self._graph = torch.cuda.CUDAGraph()
        parameters = list(gradients)
        try:
            # Other threads, such as one that pins batches, may go on with what would spoil a capture in this one.
            with _no_collection(), torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
                loss = compute(self._batch)
                found = torch.autograd.grad(loss * self._factor, parameters, allow_unused=True)
                pairs = zip(parameters, found, strict=True)
                self.learned = [parameter for parameter, gradient in pairs if gradient is not None]
                torch._foreach_add_(
                    [gradients[parameter] for parameter in self.learned],
                    [gradient for gradient in found if gradient is not None],
                )
                self._loss = loss.detach()
        except RuntimeError as error:
            raise RuntimeError(
                f"This step cannot be captured as a CUDA graph ({str(error).splitlines()[0]}). Train without "
                "cuda_graphs."
            ) from error
        self.memory = self._graph.pool()

    def replay(self, batch: Batch, factor: Tensor) -> Tensor:
        """Compute another batch of the shape; gives its loss. Shape: ()."""
        for name, values in batch.items():
            self._batch[name].copy_(values)
        self._factor.copy_(factor)
        self._graph.replay()
        return self._loss.clone()
