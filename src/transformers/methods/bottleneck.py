"""Bottleneck adapters: a narrow network inside each layer, the rest of which stays frozen.

Houlsby et al. (2019) put one behind both sub-layers, Pfeiffer et al. (2021) one behind the feed-forward network. The
formulas are those of the original LoRA example. Weights start from a normal distribution of standard deviation
``initializer_range``, biases at zero, as every new layer does: the product of two such matrices is small, so training
starts near the frozen model.

Letters in shapes: ``Q`` tokens, ``D`` hidden size, ``m`` width of the bottleneck.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ..configuration.checks import check_bottleneck
from ..configuration_utils import PretrainedConfig
from ..layers.activations import get_activation

__all__ = [
    "BottleneckAdapter",
    "HoulsbyAdapter",
    "PfeifferAdapter",
    "attention_adapter",
    "bottleneck_parameter_names",
    "feed_forward_adapter",
]


class _CastLinear(nn.Linear):
    """A linear layer whose parameters stay fp32 beside a frozen base in bf16 or fp16."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer in the dtype of ``x``. Shape: (Q, I) to (Q, O)."""
        return functional.linear(x, self.weight.to(x.dtype), self.bias.to(x.dtype))


class BottleneckAdapter(nn.Module):
    """``B(act(A(x)))``, and how it goes into a sub-layer.

    Args:
        hidden_size: ``D``.
        adapter_size: ``m``.
    """

    activation = "linear"

    def __init__(self, hidden_size: int, adapter_size: int) -> None:
        super().__init__()
        self.adapter_A = _CastLinear(hidden_size, adapter_size)
        self.adapter_B = _CastLinear(adapter_size, hidden_size)
        self.act = get_activation(self.activation)

    def bottleneck(self, x: Tensor) -> Tensor:
        """Narrow, activate and widen, in the dtype of ``x``. Shape: (Q, D) to (Q, D)."""
        return self.adapter_B(self.act(self.adapter_A(x)))

    def forward(self, hidden_states: Tensor, input_tensor: Tensor, norm: nn.LayerNorm) -> Tensor:
        """Give the sub-layer's output.

        Args:
            hidden_states: What the sub-layer computed, after its dropout. Shape: (Q, D).
            input_tensor: The sub-layer's input, which is added. Shape: (Q, D).
            norm: The sub-layer's normalisation.

        Returns:
            Shape: (Q, D).

        Raises:
            NotImplementedError: Here; each kind has its own formula.
        """
        raise NotImplementedError


class HoulsbyAdapter(BottleneckAdapter):
    """``LayerNorm(B(swish(A(h))) + h + input)``."""

    activation = "swish"

    def forward(self, hidden_states: Tensor, input_tensor: Tensor, norm: nn.LayerNorm) -> Tensor:
        """Adapt what the sub-layer computed, then add its input and normalise; arguments as of `BottleneckAdapter`."""
        adapted = self.bottleneck(hidden_states) + hidden_states
        output: Tensor = norm(adapted + input_tensor)
        return output


class PfeifferAdapter(BottleneckAdapter):
    """``LayerNorm(B(relu(A(LayerNorm(h + input)))) + h + input)``, twice the same LayerNorm."""

    activation = "relu"

    def forward(self, hidden_states: Tensor, input_tensor: Tensor, norm: nn.LayerNorm) -> Tensor:
        """Adapt the normalised sum, add the sum itself and normalise again; arguments as of `BottleneckAdapter`."""
        total = hidden_states + input_tensor
        output: Tensor = norm(self.bottleneck(norm(total)) + total)
        return output


def attention_adapter(config: PretrainedConfig) -> BottleneckAdapter | None:
    """Build the adapter behind an attention sub-layer: Houlsby's; None where the configuration wants none.

    Raises:
        ValueError: If the fields of bottleneck adapters are out of range, or not there.
    """
    if not config.apply_adapter:
        return None
    kind, size = check_bottleneck(config)  # fields may have been set since the configuration was made
    return HoulsbyAdapter(config.hidden_size, size) if kind == "houlsby" else None


def feed_forward_adapter(config: PretrainedConfig) -> BottleneckAdapter | None:
    """Build the adapter behind a feed-forward sub-layer; None where the configuration wants none.

    Raises:
        ValueError: If the fields of bottleneck adapters are out of range, or not there.
    """
    if not config.apply_adapter:
        return None
    kind, size = check_bottleneck(config)
    return (HoulsbyAdapter if kind == "houlsby" else PfeifferAdapter)(config.hidden_size, size)


def bottleneck_parameter_names(model: nn.Module) -> set[str]:
    """Give the paths of all parameters of a model's bottleneck adapters."""
    return {
        f"{path}.{name}"
        for path, module in model.named_modules()
        if isinstance(module, BottleneckAdapter)
        for name, _ in module.named_parameters()
    }
