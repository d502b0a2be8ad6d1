"""The one place that decides where LoRA goes in, and the layer that it puts there.

An attention block builds each of its linear layers through `lora_linear`. The configuration says whether the layer is
a plain `torch.nn.Linear` or a `LoraLinear`, which is loralib's `Linear`: a subclass of `torch.nn.Linear` that owns
``weight`` and ``bias`` under the base checkpoint's own keys, with ``lora_A`` and ``lora_B`` beside them
(LoRA: Hu et al., 2021, section 4.1: ``h = W·x + (alpha / r)·B·A·x``).

Letters in shapes: ``I`` input features, ``O`` output features, ``r`` rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import loralib
import torch
from loralib import lora_state_dict, mark_only_lora_as_trainable
from torch import Tensor, nn
from torch.nn import functional

from ...base.record import digest_values
from ...configuration_utils import PretrainedConfig
from ...layers.dropout import Dropout

__all__ = [
    "DEFAULT_ADAPTER",
    "MIX",
    "AdapterMix",
    "LoraLinear",
    "LoraUpdate",
    "init_lora_parameter",
    "inject_lora",
    "lora_layers",
    "lora_linear",
    "lora_parameter_names",
    "lora_state_dict",
    "mark_only_lora_as_trainable",
]

DEFAULT_ADAPTER = "default"  # the name of the adapter that a model was made or loaded with


@dataclass
class LoraUpdate:
    """One adapter's part in one layer.

    Attributes:
        lora_A: Shape: (r, I).
        lora_B: Shape: (O, r).
        lora_alpha: Numerator of the scaling.
    """

    lora_A: nn.Parameter
    lora_B: nn.Parameter
    lora_alpha: float

    @property
    def r(self) -> int:
        """The rank."""
        return self.lora_A.shape[0]

    @property
    def scaling(self) -> float:
        """What ``B·A·x`` is multiplied by."""
        return self.lora_alpha / self.r

    def delta(self) -> Tensor:
        """Give the update of the weight in fp32. Shape: (O, I)."""
        return (self.lora_B.detach().float() @ self.lora_A.detach().float()) * self.scaling


@dataclass(frozen=True)
class AdapterMix:
    """Which places of a packed batch belong to which adapter.

    Attributes:
        tokens_of: By adapter, its tokens among the packed tokens. Shape of each: (tokens of the adapter,).
        rows_of: By adapter, its rows in the packed order of rows. Shape of each: (rows of the adapter,).
        tokens: Number of packed tokens, which tells the two apart.
    """

    tokens_of: dict[str, Tensor]
    rows_of: dict[str, Tensor]
    tokens: int


# Which adapters the running call wants. It belongs to the call, not to the layers: another thread's is its own.
MIX: ContextVar[AdapterMix | None] = ContextVar("MIX", default=None)


class LoraLinear(loralib.Linear):
    """loralib's linear layer, never merged implicitly, safe in half precision, and able to hold several adapters.

    The state dict is the same in training and evaluation, merged or not: loralib's habit of folding ``B·A`` into the
    weight on ``eval()`` is switched off (``merge_weights=False``), and `merge` keeps the original weight, which is
    what the state dict shows. The frozen weight may be stored in bf16 or fp16 while ``lora_A`` and ``lora_B`` stay
    fp32; the two small matrices are cast to the input's dtype at use.

    ``lora_A`` and ``lora_B`` are the active adapter's; those of the others wait in ``waiting``, outside of the state
    dict (`transformers.adapters.switching`).

    Args:
        in_features: ``I``.
        out_features: ``O``.
        r: Rank of the update.
        lora_alpha: Numerator of the scaling.
        lora_dropout: Dropout in front of ``lora_A``.
        bias: Give the layer a bias.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    lora_A: nn.Parameter
    lora_B: nn.Parameter
    lora_alpha: float
    merged: bool

    def __init__(
        self,
        in_features: int,
        out_features: int,
        r: int,
        lora_alpha: float,
        lora_dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__(in_features, out_features, r=r, lora_alpha=lora_alpha, merge_weights=False, bias=bias)
        self.lora_alpha = lora_alpha  # as it was given: `scaling` is made of it
        self.lora_dropout = Dropout(lora_dropout)  # loralib's is a lambda at 0, which cannot be pickled
        self.enabled = True
        self.active = DEFAULT_ADAPTER
        self.waiting: dict[str, LoraUpdate] = {}  # by adapter's name, without the active one's
        self._original: Tensor | None = None  # the weight without the update, while merged
        self._merged_digest = b""

    @property
    def scaling(self) -> float:
        """What ``B·A·x`` is multiplied by; setting it sets ``lora_alpha``, of which it is made."""
        return self.lora_alpha / self.r

    @scaling.setter
    def scaling(self, value: float) -> None:
        self.lora_alpha = value * self.r

    def train(self, mode: bool = True) -> LoraLinear:
        """Set the mode and give the layer back, as every module does (loralib's gives None, and may merge)."""
        nn.Module.train(self, mode)
        return self

    def base_forward(self, x: Tensor) -> Tensor:
        """Apply the frozen layer alone, merged or not. Shape: (…, I) to (…, O)."""
        return functional.linear(x, self.weight if self._original is None else self._original, self._cast_bias())

    def forward(self, x: Tensor, base_only: bool = False) -> Tensor:
        """Apply the layer with its update, or the frozen layer alone. Shape: (…, I) to (…, O).

        Raises:
            ValueError: If the layer is merged and in training: the update would get no gradient.
        """
        if base_only:
            return self.base_forward(x)
        if self.merged and self.training:
            raise ValueError("The adapter is merged into the weights, so it cannot be trained; unmerge it first.")
        if self.merged and self.enabled:
            return functional.linear(x, self.weight, self._cast_bias())
        result = self.base_forward(x)
        if not self.enabled:
            return result
        mix = MIX.get()
        if mix is not None:
            return self._add_mixed_updates(result, x, mix)
        low_rank = functional.linear(self.lora_dropout(x), self.lora_A.to(x.dtype))  # (…, r)
        update = self.lora_B.to(x.dtype).t()  # (r, O)
        rows = result.reshape(-1, self.out_features)
        return torch.addmm(rows, low_rank.reshape(-1, self.r), update, alpha=self.scaling).view_as(result)

    def _add_mixed_updates(self, result: Tensor, x: Tensor, mix: AdapterMix) -> Tensor:
        """Add to each token the update of its row's adapter. Shape: (Q, O) and (Q, I) to (Q, O)."""
        places = mix.tokens_of if x.shape[0] == mix.tokens else mix.rows_of
        for name, chosen in places.items():
            update = self.update_of(name)
            low_rank = functional.linear(x[chosen], update.lora_A.to(x.dtype))  # (chosen, r)
            added = functional.linear(low_rank, update.lora_B.to(x.dtype)) * update.scaling  # (chosen, O)
            result = result.index_add(0, chosen, added)
        return result

    def _cast_bias(self) -> Tensor | None:
        """Give the bias in the weight's dtype: BitFit trains it in fp32 beside a frozen weight in bf16 or fp16."""
        return None if self.bias is None else self.bias.to(self.weight.dtype)

    def current_update(self) -> LoraUpdate:
        """Give the active adapter's part in this layer."""
        return LoraUpdate(self.lora_A, self.lora_B, self.lora_alpha)

    @property
    def adapter_names(self) -> list[str]:
        """Names of the adapters that have a part in this layer."""
        return [self.active, *self.waiting]

    def update_of(self, adapter_name: str) -> LoraUpdate:
        """Give an adapter's part in this layer."""
        return self.current_update() if adapter_name == self.active else self.waiting[adapter_name]

    def enter(self, adapter_name: str, update: LoraUpdate) -> None:
        """Give an adapter its part in this layer: in place where it is the active one, else waiting."""
        self.waiting[adapter_name] = update
        if adapter_name == self.active:
            self._put_in_place(adapter_name)

    def activate(self, adapter_name: str) -> None:
        """Let another adapter's part be this layer's, and the active one's wait; no weight is moved."""
        if adapter_name == self.active:
            return
        self.waiting[self.active] = self.current_update()
        self._put_in_place(adapter_name)

    def _put_in_place(self, adapter_name: str) -> None:
        update = self.waiting.pop(adapter_name)
        self._parameters["lora_A"], self._parameters["lora_B"] = update.lora_A, update.lora_B
        self.active, self.r, self.lora_alpha = adapter_name, update.r, update.lora_alpha

    def merged_weight(self) -> Tensor:
        """Compute ``W + (alpha / r)·B·A`` in fp32 and give it in the weight's own dtype. Shape: (O, I)."""
        return (self.weight.detach().float() + self.current_update().delta()).to(self.weight.dtype)

    def merge(self, weight: Tensor) -> None:
        """Compute with a weight that holds the update already, and keep the original. Shape: (O, I)."""
        self._original = self.weight.data
        self.weight.data = weight
        self._merged_digest = digest_values(weight)
        self.merged = True

    def unmerge(self) -> None:
        """Put the original weight back, bit by bit.

        Raises:
            ValueError: As of `check_unwritten`.
        """
        self.check_unwritten()
        if self._original is not None:
            self.weight.data = self._original
        self._original = None
        self.merged = False

    def check_unwritten(self) -> None:
        """Make sure that nobody wrote into the weight while an adapter was merged into it.

        Raises:
            ValueError: If somebody did: unmerging, or saving the original, would lose what was written.
        """
        if self._original is not None and digest_values(self.weight) != self._merged_digest:
            raise ValueError(
                "A weight was written to while an adapter was merged into it, so the original weight beside it is not "
                "the right one any more. Load the model anew, and unmerge_adapter() before you change weights."
            )

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        self.check_unwritten()
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self._original is not None:
            destination[f"{prefix}weight"] = self._original

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take what a state dict has; a merged layer takes it for the original weight, and merges anew."""
        merged = self.merged
        self.unmerge()
        super()._load_from_state_dict(state_dict, prefix, *args)
        if merged:
            self.merge(self.merged_weight())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LoraLinear:
        """Move or cast the waiting adapters and the kept weight with the layer."""
        self.check_unwritten()
        super()._apply(fn, recurse)
        for update in self.waiting.values():
            for matrix in (update.lora_A, update.lora_B):
                matrix.data = fn(matrix.data)
        if self._original is not None:
            self._original = fn(self._original)
            self._merged_digest = digest_values(self.weight)
        return self

    def extra_repr(self) -> str:
        """Show rank and scaling when the model is printed."""
        return f"{super().extra_repr()}, r={self.r}, lora_alpha={self.lora_alpha}"


def lora_linear(
    config: PretrainedConfig, name: str, in_features: int, out_features: int, bias: bool = True
) -> nn.Linear:
    """Build one linear layer of an attention block, with LoRA where the configuration wants it.

    Args:
        config: Its ``apply_lora``, ``lora_r``, ``lora_alpha``, ``lora_dropout`` and the class's ``lora_targets``.
        name: The layer's attribute name in the block, such as ``"query"``.
        in_features: ``I``.
        out_features: ``O``.
        bias: Give the layer a bias.

    Returns:
        A `LoraLinear` where ``apply_lora`` is set and ``name`` is among the targets; else an `nn.Linear`.

    Raises:
        ValueError: If the LoRA fields are out of range, or not there.
    """
    if not config.apply_lora or name not in config.lora_targets:
        return nn.Linear(in_features, out_features, bias=bias)
    r, alpha = config.check_lora()  # fields may have been set since the configuration was made
    return LoraLinear(in_features, out_features, r, alpha, config.lora_dropout, bias)


def inject_lora(
    model: nn.Module,
    targets: Collection[str],
    r: int,
    lora_alpha: float,
    lora_dropout: float,
    adapter_name: str = DEFAULT_ADAPTER,
) -> None:
    """Put LoRA layers in place of a plain model's linear layers, around the very same weights, which are frozen.

    Args:
        model: Any module.
        targets: Attribute names of the layers.
        r: Rank of the update.
        lora_alpha: Numerator of the scaling.
        lora_dropout: Dropout in front of ``lora_A``.
        adapter_name: Whose part the layers hold.
    """
    for path, plain in list(model.named_modules()):
        where, _, name = path.rpartition(".")
        if name not in targets or not isinstance(plain, nn.Linear) or isinstance(plain, LoraLinear):
            continue
        with torch.device("meta"):
            layer = LoraLinear(
                plain.in_features, plain.out_features, r, lora_alpha, lora_dropout, bias=plain.bias is not None
            )
        layer._parameters.update(plain._parameters)  # the very weight and bias
        layer.active = adapter_name
        layer.train(plain.training)
        setattr(model.get_submodule(where), name, layer)


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """Go through a model's LoRA layers, each with its path."""
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            yield name, module


def lora_parameter_names(model: nn.Module) -> set[str]:
    """Give the paths of all ``lora_A`` and ``lora_B`` of a model."""
    return {f"{name}.{matrix}" for name, _ in lora_layers(model) for matrix in ("lora_A", "lora_B")}


def init_lora_parameter(name: str, parameter: Tensor, config: PretrainedConfig) -> None:
    """Give one LoRA matrix its starting values, in place: ``lora_B`` zero, ``lora_A`` as the model type does.

    The original's RoBERTa takes loralib's Kaiming-uniform with ``a = sqrt(5)``, its DeBERTa a normal distribution of
    standard deviation ``initializer_range``.

    Args:
        name: ``"lora_A"`` or ``"lora_B"``.
        parameter: The matrix. Shape: (r, I) or (O, r).
        config: Its ``lora_initialization`` decides.
    """
    with torch.no_grad():
        if name == "lora_B":
            parameter.zero_()
        elif config.lora_initialization == "normal":
            parameter.normal_(0.0, config.initializer_range)
        else:
            nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))
