"""Names that PEFT imports from Transformers but that mean nothing for encoders.

With them a PEFT that is installed beside this package imports, and wraps, trains and saves our models. Each refuses
when it is used. (`tests/reference/test_peft_beside.py` holds this list to what PEFT really asks for.)
"""

from __future__ import annotations

from typing import Any, NoReturn

from torch import nn

from .absent import explain

__all__ = [
    "AutoModelForSeq2SeqLM",
    "BloomPreTrainedModel",
    "Cache",
    "Conv1D",
    "DynamicCache",
    "EncoderDecoderCache",
    "GenerationConfig",
    "GenerationMixin",
    "deepspeed_config",
    "http_user_agent",
    "is_deepspeed_zero3_enabled",
]


def _refuse(name: str) -> NoReturn:
    raise NotImplementedError(
        explain(f"transformers.{name}")
        or f"transformers.{name} is not part of this package, which holds RoBERTa and DeBERTa encoders; upstream "
        "Transformers has it."
    )


class _NotHere:
    """A class that exists by name only."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse(type(self).__name__)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse.

        Raises:
            NotImplementedError: Always.
        """
        _refuse(cls.__name__)


class AutoModelForSeq2SeqLM(_NotHere):
    """Encoder-decoders: not here."""


class BloomPreTrainedModel(_NotHere):
    """Bloom: not here."""


class Cache(_NotHere):
    """Keys and values of a decoder: not here."""


class DynamicCache(Cache):
    """Keys and values of a decoder: not here."""


class EncoderDecoderCache(Cache):
    """Keys and values of an encoder-decoder: not here."""


class GenerationConfig(_NotHere):
    """How text is written: not here."""


class GenerationMixin:
    """What models that write inherit from; none here does."""


class Conv1D(nn.Module):
    """GPT-2's transposed linear layer, which no encoder has; PEFT asks each layer whether it is one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        _refuse("pytorch_utils.Conv1D")


def http_user_agent(user_agent: dict[str, Any] | str | None = None) -> str:
    """Say who asks, in requests to the hub.

    Args:
        user_agent: What the caller adds.
    """
    from ..version import __version__

    if isinstance(user_agent, dict):
        user_agent = "; ".join(f"{key}/{value}" for key, value in user_agent.items())
    return f"transformers/{__version__}" + (f"; {user_agent}" if user_agent else "")


def deepspeed_config() -> None:
    """Give DeepSpeed's configuration for building a model in parts: none, models here are built whole."""
    return None


def is_deepspeed_zero3_enabled() -> bool:
    """Say whether models are built in parts under ZeRO-3: they are not."""
    return False
