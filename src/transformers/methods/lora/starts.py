"""How the matrices of LoRA start.

``default`` leaves ``lora_B`` at zero; PiSSA (Meng et al., 2024, equations 2 to 4) and OLoRA (Büyükakyüz, 2024, section
3) begin with the base's own strongest, or orthogonal, directions; what they take is subtracted again by
`transformers.methods.lora.update`, so that every start but the base's own output is the base's own output.

Letters in shapes: ``I`` input features, ``O`` output features, ``r`` rank.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor, nn

from ...configuration.lora_options import start_takes_from_base
from ...configuration_utils import PretrainedConfig
from .layers import LoraEmbedding, LoraLayer, lora_layers

__all__ = ["init_lora_parameter", "start_lora", "start_lora_anew"]


def start_lora(model: nn.Module, config: PretrainedConfig, paths: list[str]) -> None:
    """Give the parts of the active adapter in some layers their starting values, in place.

    Args:
        model: Holds the layers; their weights have their values.
        config: Its ``lora_init`` decides.
        paths: Of the layers.
    """
    chosen = set(paths)
    for path, layer in lora_layers(model):
        if path in chosen:
            for name in layer.NAMES.values():
                parameter = layer._parameters.get(name)
                if parameter is not None:
                    init_lora_parameter(layer, name, parameter, config)


def start_lora_anew(model: nn.Module, config: PretrainedConfig, given: Collection[str]) -> None:
    """Give starts that depend on the base's weights their values again, now that these are the base's.

    Args:
        model: Holds the layers.
        config: As of `start_lora`.
        given: Paths of the parameters that a checkpoint had, which keep their values.
    """
    if config.lora_use_dora or start_takes_from_base(config.lora_init):
        layers = [path for path, layer in lora_layers(model) if f"{path}.{layer.NAMES['lora_A']}" not in given]
        start_lora(model, config, layers)


def init_lora_parameter(layer: nn.Module, name: str, parameter: Tensor, config: PretrainedConfig) -> None:
    """Give one parameter of a LoRA layer its starting values, in place.

    By default ``lora_B`` is zero and ``lora_A`` as the model type does: the original's RoBERTa takes loralib's
    Kaiming-uniform with ``a = sqrt(5)``, its DeBERTa a normal distribution of standard deviation
    ``initializer_range``. An embedding's ``lora_embedding_A`` is zero and its other matrix normal, as in loralib.

    Args:
        layer: The layer, whose weight has its values.
        name: The parameter's name in it, one of `LoraLayer.NAMES`.
        parameter: What to fill. ``lora_A`` comes before the others of a layer.
        config: Its ``lora_init``, and ``lora_initialization`` for the default.
    """
    with torch.no_grad():
        if name == "lora_magnitude_vector":
            parameter.copy_(_lengths(layer))
        elif isinstance(layer, LoraEmbedding):
            parameter.zero_() if name == "lora_embedding_A" else parameter.normal_()
        elif isinstance(layer, LoraLayer) and (
            config.lora_init == "orthogonal" or start_takes_from_base(config.lora_init)
        ):
            parameter.copy_(_together(layer, name, config.lora_init))
        elif name == "lora_B":
            parameter.zero_()
        elif config.lora_init == "gaussian":
            parameter.normal_(0.0, 1 / parameter.shape[0])
        elif config.lora_initialization == "normal":
            parameter.normal_(0.0, config.initializer_range)
        else:
            nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))


def _lengths(layer: nn.Module) -> Tensor:
    """Give the length of each output's weights, the update included. Shape: (O,)."""
    assert isinstance(layer, LoraLayer)
    weight = layer.base_weight().detach().float()
    update = layer.current_update()
    started = update is not None and not any(each.is_meta for each in update.parameters)
    adapted = weight + update.delta() if update is not None and started else weight
    return torch.linalg.vector_norm(adapted, dim=1)


def _together(layer: LoraLayer, name: str, start: str) -> Tensor:
    """Give one of several matrices that are drawn at once: with ``lora_A``, and kept until the last was asked for."""
    drawn: dict[str, Tensor] = layer.__dict__.setdefault("_drawn", {})
    if name not in drawn:
        lora_A, lora_B = _draw(layer, start)
        drawn.update(lora_A=lora_A, lora_B=lora_B, lora_start_A=lora_A, lora_start_B=lora_B)
    value = drawn.pop(name)
    if not drawn or (start == "orthogonal" and name == "lora_B"):
        del layer.__dict__["_drawn"]
    return value


def _draw(layer: LoraLayer, start: str) -> tuple[Tensor, Tensor]:
    """Give ``lora_A`` and ``lora_B`` of a start. Shapes: (r, I) and (O, r)."""
    weight = layer.base_weight().detach().float()
    if start == "orthogonal":
        return _orthogonal(layer.r, weight.shape[1], weight.shape[0])
    if start == "olora":
        q, upper = torch.linalg.qr(weight)
        return upper[: layer.r].contiguous(), q[:, : layer.r].contiguous()
    if start == "pissa":
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        left, values, right = left[:, : layer.r], values[: layer.r], right[: layer.r]
    else:
        left, values, columns = torch.svd_lowrank(weight, layer.r, niter=int(start.removeprefix("pissa_niter_")))
        right = columns.t()
    root = (values / float(layer.scaling)).sqrt()  # type: ignore[arg-type]
    return root[:, None] * right, left * root


def _orthogonal(r: int, inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
    """Draw two matrices in orthogonal halves of the rank, so that their product is zero, as PEFT does."""
    q = torch.linalg.qr(torch.randn(r, r)).Q
    lora_A = (torch.randn(inputs, r // 2) @ q[0::2]).t() / 10
    lora_B = torch.randn(outputs, r // 2) @ q[1::2] / 10
    return lora_A, lora_B
