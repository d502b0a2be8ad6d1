"""How a frozen base is stored in 4 or 8 bits, under upstream's names: `BitsAndBytesConfig`.

It says how the encoder's linear layers are kept in memory, not what the model is: no ``config.json`` holds it.
4 bits: Dettmers et al., 2023 (QLoRA); 8 bits: Dettmers et al., 2022 (LLM.int8()).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["BitsAndBytesConfig", "names_layer", "take_quantization"]

_COMPUTE = (torch.float32, torch.bfloat16, torch.float16)
_TYPES = ("fp4", "nf4")
_METHOD = "bitsandbytes"
_FLAGS = ("load_in_8bit", "load_in_4bit", "bnb_4bit_use_double_quant")


class BitsAndBytesConfig:
    """Which bits, and how they are made; names and defaults are upstream's.

    Args:
        load_in_8bit: Keep 8 bits of each weight.
        load_in_4bit: Keep 4 bits of each weight.
        llm_int8_threshold: With 8 bits, inputs from this size on are multiplied in the input's own precision; 0 for
            none. Training on a CPU has no need of it.
        llm_int8_skip_modules: Layers that stay as they are: whole paths, their beginnings or their ends, from a dot
            on. Heads, poolers and embeddings always stay.
        llm_int8_enable_fp32_cpu_offload: Not offered.
        llm_int8_has_fp16_weight: Not offered: the weights are frozen.
        bnb_4bit_compute_dtype: What 4-bit layers multiply in: a torch dtype or its name; fp32 where None.
        bnb_4bit_quant_type: ``"fp4"``, or ``"nf4"``, which fits weights better.
        bnb_4bit_use_double_quant: Quantise the scales too, which saves 0.4 bits a weight.
        bnb_4bit_quant_storage: ``torch.uint8`` or its name; no other is offered.
        quant_method: ``"bitsandbytes"``, where a dictionary of upstream's names it.

    Raises:
        ValueError: If a value is none of these, both numbers of bits are asked for, or what is asked for is not
            offered.
    """

    def __init__(
        self,
        load_in_8bit: bool = False,
        load_in_4bit: bool = False,
        llm_int8_threshold: float = 6.0,
        llm_int8_skip_modules: list[str] | None = None,
        llm_int8_enable_fp32_cpu_offload: bool = False,
        llm_int8_has_fp16_weight: bool = False,
        bnb_4bit_compute_dtype: torch.dtype | str | None = None,
        bnb_4bit_quant_type: str = "fp4",
        bnb_4bit_use_double_quant: bool = False,
        bnb_4bit_quant_storage: torch.dtype | str | None = None,
        *,
        quant_method: str = _METHOD,
    ) -> None:
        if str(getattr(quant_method, "value", quant_method)) != _METHOD:
            raise ValueError(f"quant_method is {quant_method!r}; this package has '{_METHOD}' alone.")
        self.load_in_8bit = load_in_8bit
        self.load_in_4bit = load_in_4bit
        self.llm_int8_threshold = llm_int8_threshold
        self.llm_int8_skip_modules = llm_int8_skip_modules
        self.bnb_4bit_compute_dtype = _dtype("bnb_4bit_compute_dtype", bnb_4bit_compute_dtype, torch.float32)
        self.bnb_4bit_quant_type = bnb_4bit_quant_type
        self.bnb_4bit_use_double_quant = bnb_4bit_use_double_quant
        self._check()
        if _dtype("bnb_4bit_quant_storage", bnb_4bit_quant_storage, torch.uint8) != torch.uint8:
            raise ValueError(
                f"bnb_4bit_quant_storage is {bnb_4bit_quant_storage!r}; bits are kept as uint8 alone here (others "
                "are for upstream's FSDP). Leave it out."
            )
        for name, value in (
            ("llm_int8_enable_fp32_cpu_offload", llm_int8_enable_fp32_cpu_offload),
            ("llm_int8_has_fp16_weight", llm_int8_has_fp16_weight),
        ):
            if value:
                raise ValueError(f"{name}={value!r} is not part of this package; leave it out.")

    def _check(self) -> None:
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r}; true or false was expected.")
        if self.load_in_4bit and self.load_in_8bit:
            raise ValueError("load_in_4bit and load_in_8bit are both asked for; a weight is kept once. Choose one.")
        if self.bnb_4bit_quant_type not in _TYPES:
            raise ValueError(
                f"bnb_4bit_quant_type is {self.bnb_4bit_quant_type!r}; {' or '.join(_TYPES)} was expected."
            )
        if self.bnb_4bit_compute_dtype not in _COMPUTE:
            names = ", ".join(_name(dtype) for dtype in _COMPUTE)
            raise ValueError(f"bnb_4bit_compute_dtype is {self.bnb_4bit_compute_dtype}; {names} were expected.")
        threshold = self.llm_int8_threshold
        if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not threshold >= 0:
            raise ValueError(f"llm_int8_threshold is {threshold!r}; a number from 0 on was expected.")
        skipped = self.llm_int8_skip_modules
        named = isinstance(skipped, (list, tuple)) and all(isinstance(each, str) for each in skipped)
        if skipped is not None and not named:
            raise ValueError(f"llm_int8_skip_modules is {skipped!r}; a list of layers' names was expected.")

    @property
    def bits(self) -> int | None:
        """4, 8, or None where neither is asked for."""
        return 4 if self.load_in_4bit else 8 if self.load_in_8bit else None

    @property
    def storage(self) -> tuple[Any, ...]:
        """What decides about the values that the base is kept in: of two that are kept alike it is the same."""
        kind = (self.bnb_4bit_quant_type, self.bnb_4bit_use_double_quant) if self.load_in_4bit else ()
        return self.bits, *kind, *sorted(self.llm_int8_skip_modules or () if self.bits else ())

    def is_quantizable(self) -> bool:
        """Say whether bits are asked for."""
        return self.bits is not None

    def quantization_method(self) -> str | None:
        """Give upstream's name of the way: ``llm_int8``, ``fp4`` or ``nf4``; None where no bits are asked for."""
        return "llm_int8" if self.load_in_8bit else self.bnb_4bit_quant_type if self.load_in_4bit else None

    def skips(self, path: str) -> bool:
        """Say whether a layer stays as it is.

        Args:
            path: Its path in the model.
        """
        return any(names_layer(name, path) for name in self.llm_int8_skip_modules or ())

    def to_dict(self) -> dict[str, Any]:
        """Give all that matters, JSON-ready."""
        return {**vars(self), "bnb_4bit_compute_dtype": _name(self.bnb_4bit_compute_dtype), "quant_method": _METHOD}

    def to_diff_dict(self) -> dict[str, Any]:
        """Give what differs from the defaults, JSON-ready."""
        usual = BitsAndBytesConfig().to_dict()
        return {name: value for name, value in self.to_dict().items() if value != usual[name]}

    def to_json_string(self, use_diff: bool = True) -> str:
        """Write it as JSON.

        Args:
            use_diff: Leave the defaults out.
        """
        return json.dumps(self.to_diff_dict() if use_diff else self.to_dict(), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> BitsAndBytesConfig:
        """Make one of a dictionary, upstream's too.

        Args:
            fields: By name; those that begin with an underline are upstream's copies of others.

        Raises:
            ValueError: As of the class; or if a name is not known.
        """
        known = {name: value for name, value in fields.items() if not name.startswith("_")}
        try:
            return cls(**known)
        except TypeError as error:
            raise ValueError(f"quantization_config: {str(error).rpartition(' got ')[2]}.") from error

    def __eq__(self, other: object) -> bool:
        """Say whether another one is the same in all fields."""
        return isinstance(other, BitsAndBytesConfig) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # fields may be set

    def __repr__(self) -> str:
        """Show the fields."""
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    def __str__(self) -> str:
        """Say it in words, such as "4 bits (NF4, double quantisation, without query)"."""
        if not self.bits:
            return "full precision"
        how = [self.bnb_4bit_quant_type.upper()] if self.load_in_4bit else []
        how += ["double quantisation"] if self.load_in_4bit and self.bnb_4bit_use_double_quant else []
        how += [f"without {', '.join(self.llm_int8_skip_modules)}"] if self.llm_int8_skip_modules else []
        return f"{self.bits} bits" + (f" ({', '.join(how)})" if how else "")


def names_layer(name: str, path: str) -> bool:
    """Say whether an entry of ``llm_int8_skip_modules`` means a layer: its path, the beginning or the end of it."""
    return path == name or path.startswith(f"{name}.") or path.endswith(f".{name}")


def take_quantization(kwargs: dict[str, Any]) -> BitsAndBytesConfig | None:
    """Take what ``from_pretrained`` is told of bits out of its keywords.

    Args:
        kwargs: ``load_in_4bit``, ``load_in_8bit`` and ``quantization_config`` are taken out.

    Returns:
        How the base is to be stored; None for as it is.

    Raises:
        ValueError: If they contradict each other, or as of `BitsAndBytesConfig`.
    """
    given = kwargs.pop("quantization_config", None)
    flags = {name: kwargs.pop(name) for name in ("load_in_4bit", "load_in_8bit") if name in kwargs}
    flags = {name: value for name, value in flags.items() if value not in (None, False)}
    if given is None:
        return BitsAndBytesConfig(**flags) if flags else None
    if flags:
        raise ValueError(f"quantization_config and {min(flags)} are both given; the former says it all. Take one.")
    if isinstance(given, BitsAndBytesConfig):
        quantization = given
    elif isinstance(given, Mapping):
        quantization = BitsAndBytesConfig.from_dict(given)
    else:
        raise ValueError(f"quantization_config is a {type(given).__name__}; a BitsAndBytesConfig was expected.")
    if quantization.bits is None:
        raise ValueError("quantization_config asks for neither load_in_4bit nor load_in_8bit; set one of them.")
    return quantization


def _dtype(name: str, value: torch.dtype | str | None, otherwise: torch.dtype) -> torch.dtype:
    found = otherwise if value is None else value
    if isinstance(found, str):
        found = getattr(torch, found.removeprefix("torch."), found)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"{name} is {value!r}; a torch dtype or its name was expected.")
    return found


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
