"""The flags that say in how many bits the frozen base is kept; see `docs/quantised.md`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from transformers import BitsAndBytesConfig, TrainingArguments

__all__ = ["QuantizationFlags", "check_quantization", "quantization_of", "quantization_words"]


@dataclass(kw_only=True)
class QuantizationFlags:
    """In how many bits the encoder's linear layers are kept, by bitsandbytes."""

    load_in_4bit: bool = field(
        default=False,
        metadata={"help": "Keep the frozen base in 4 bits (QLoRA), an eighth of fp32; needs bitsandbytes."},
    )
    load_in_8bit: bool = field(
        default=False, metadata={"help": "Keep the frozen base in 8 bits (LLM.int8()); needs bitsandbytes."}
    )
    bnb_4bit_quant_type: str | None = field(
        default=None,
        metadata={"help": "Which 4 bits: nf4 (the default here, as in QLoRA) or fp4.", "choices": ["nf4", "fp4"]},
    )
    bnb_4bit_use_double_quant: bool = field(default=False, metadata={"help": "Quantise the scales of the 4 bits too."})
    bnb_4bit_compute_dtype: str | None = field(
        default=None,
        metadata={
            "help": "What 4-bit layers multiply in; that of --bf16 or --fp16, else fp32, where it is not given.",
            "choices": ["float32", "bfloat16", "float16"],
        },
    )


def check_quantization(flags: QuantizationFlags, args: TrainingArguments, *, freezes_base: bool) -> None:
    """Refuse flags of bits that contradict each other or the training.

    Args:
        flags: As they were given.
        args: Say whether the run trains.
        freezes_base: Whether something beside the base's own weights is trained.

    Raises:
        ValueError: If they do.
    """
    given = [each.name for each in fields(QuantizationFlags) if getattr(flags, each.name) not in (None, False)]
    of_four_bits = [name for name in given if name.startswith("bnb_4bit_")]
    if of_four_bits and not flags.load_in_4bit:
        raise ValueError(
            f"--{of_four_bits[0]} is given without --load_in_4bit, so it would have no effect; add --load_in_4bit."
        )
    if flags.load_in_4bit and flags.load_in_8bit:
        raise ValueError("--load_in_4bit and --load_in_8bit are both given; the base is kept once. Choose one.")
    if given and args.do_train and not freezes_base:
        raise ValueError(
            f"--{given[0]} keeps the base in few bits, which cannot be trained: add --apply_lora (or --apply_adapter, "
            "or --apply_bitfit)."
        )


def quantization_words(quantization: BitsAndBytesConfig | None) -> list[str]:
    """Give the words of a command line that keeps a base in the same bits.

    Args:
        quantization: How a model's base is kept.
    """
    if quantization is None or quantization.bits is None:
        return []
    if quantization.load_in_8bit:
        return ["--load_in_8bit"]
    computes = str(quantization.bnb_4bit_compute_dtype).removeprefix("torch.")
    words = ["--load_in_4bit", "--bnb_4bit_quant_type", quantization.bnb_4bit_quant_type]
    words += ["--bnb_4bit_use_double_quant"] * quantization.bnb_4bit_use_double_quant
    return [*words, "--bnb_4bit_compute_dtype", computes]


def quantization_of(flags: QuantizationFlags, args: TrainingArguments) -> BitsAndBytesConfig | None:
    """Give what ``from_pretrained`` is told; None for a base in full precision.

    Args:
        flags: As they were given.
        args: Their precision is the default of what 4-bit layers multiply in.
    """
    if not (flags.load_in_4bit or flags.load_in_8bit):
        return None
    usual = "bfloat16" if args.bf16 else "float16" if args.fp16 else "float32"
    return BitsAndBytesConfig(
        load_in_4bit=flags.load_in_4bit,
        load_in_8bit=flags.load_in_8bit,
        bnb_4bit_quant_type=flags.bnb_4bit_quant_type or "nf4",
        bnb_4bit_use_double_quant=flags.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=flags.bnb_4bit_compute_dtype or usual,
    )
