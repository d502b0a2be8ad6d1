"""The matrix products of a step: which they are, how many operations, and how long they take alone.

Letters in shapes: ``N`` matrices of a batch, ``M``, ``K``, ``P`` sides of the matrices.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from transformers.layers.half_products import linear

__all__ = ["Product", "products_of", "time_alone", "timed"]

_aten = torch.ops.aten
_FIRST_FACTOR = {
    _aten.mm.default: 0,
    _aten.addmm.default: 1,
    _aten.addmm_.default: 1,
    _aten.bmm.default: 0,
    _aten.baddbmm.default: 1,
}
_BY_ONE_DNN = {torch.ops.mkldnn._linear_pointwise.default: linear}  # a bias too, in bf16; the weight is (P, K)
_INTO = {_aten.mm.out: _aten.mm.default, _aten.bmm.out: _aten.bmm.default}
_COPIES = 12  # sets of operands that take turns, as a step's layers have weights of their own


@dataclass(frozen=True)
class Operand:
    """A tensor as a product gets it: the order of its memory decides which kernel computes it."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> Operand:
        """Describe a tensor."""
        return cls(tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype)

    def turned(self) -> Operand:
        """Describe the transposed matrix."""
        return Operand(self.shape[::-1], self.stride[::-1], self.dtype)

    def make(self, device: str) -> Tensor:
        """Make one like it, of other values."""
        size = 1 + sum((side - 1) * step for side, step in zip(self.shape, self.stride, strict=True))
        memory = torch.rand(size, device=device).to(self.dtype)
        return memory.as_strided(self.shape, self.stride)


@dataclass(frozen=True)
class Product:
    """A product of matrices.

    Attributes:
        function: Which of PyTorch's.
        operands: Its tensors, in order.
    """

    function: Callable[..., Tensor]
    operands: tuple[Operand, ...]

    @property
    def factors(self) -> tuple[Operand, Operand]:
        """The two matrices, or batches of them. Shapes: ((N,) M, K) and ((N,) K, P)."""
        if self.function is linear:
            return self.operands[0], self.operands[1].turned()
        place = _FIRST_FACTOR[self.function]
        return self.operands[place], self.operands[place + 1]

    @property
    def operations(self) -> int:
        """Multiplications and additions."""
        first, second = self.factors
        matrices = first.shape[0] if len(first.shape) == 3 else 1
        return 2 * matrices * first.shape[-2] * first.shape[-1] * second.shape[-1]

    @property
    def is_attention(self) -> bool:
        """Whether each row and head of a batch has matrices of its own."""
        return len(self.factors[0].shape) == 3


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[Product] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        alone = _BY_ONE_DNN.get(func, _INTO.get(func, func))
        operands = tuple(Operand.of(each) for each in args if isinstance(each, Tensor))
        if (alone is linear or alone in _FIRST_FACTOR) and all(len(each.shape) for each in operands):
            self.found[Product(alone, operands)] += 1
        return func(*args, **(kwargs or {}))


def products_of(step: Callable[[], Any]) -> Counter[Product]:
    """Run a step once, and give its products, each with how often it is computed."""
    with _Recorder() as recorder:
        step()
    return recorder.found


def time_alone(products: Counter[Product], device: str) -> Callable[[], float]:
    """Prepare to compute a step's products and nothing else.

    Args:
        products: By `products_of`.
        device: Where.

    Returns:
        A function that computes them all once and gives the seconds.
    """
    ready = [
        (each.function, [[o.make(device) for o in each.operands] for _ in range(min(number, _COPIES))], number)
        for each, number in products.items()
    ]

    def run() -> None:
        for function, sets, number in ready:
            for turn in range(number):
                function(*sets[turn % len(sets)])

    return lambda: timed(run, device)


def timed(function: Callable[[], Any], device: str) -> float:
    """Call a function, and give the seconds until the device has done what it asks."""
    if device == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    function()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin
