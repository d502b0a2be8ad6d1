"""The flags that every example has in common: the model to start from, and what of it is trained and how."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from transformers import PreTrainedTokenizerBase, TrainingArguments
from transformers.utils.secrets import is_secret

from .lora_flags import LoraFlags, lora_option_fields
from .quantization_flags import QuantizationFlags, check_quantization

__all__ = [
    "ModelArguments",
    "check_model_arguments",
    "check_texts",
    "flag_help",
    "method_fields",
    "refuse_flags_of_classifiers",
]


def flag_help(text: str, **more: Any) -> dict[str, Any]:
    """Give a field's metadata: its help, and what else `HfArgumentParser` reads there (aliases, choices)."""
    return {"help": text, **more}


@dataclass
class ModelArguments(LoraFlags, QuantizationFlags):
    """Which model to start from, how LoRA goes in, and what else is trained and how."""

    model_name_or_path: str = field(
        metadata=flag_help("A hub id such as roberta-base, a folder, or an adapter's folder (which knows its base).")
    )
    config_name: str | None = field(default=None, metadata=flag_help("A configuration other than the model's own."))
    tokenizer_name: str | None = field(default=None, metadata=flag_help("A tokenizer other than the model's own."))
    cache_dir: str | None = field(default=None, metadata=flag_help("Where downloads are kept."))
    use_fast_tokenizer: bool = field(default=True, metadata=flag_help("Kept for old command lines; all are fast."))
    model_revision: str = field(default="main", metadata=flag_help("Branch, tag or commit on the hub."))
    use_auth_token: bool | str = field(
        default=False,
        metadata=flag_help(
            "An access token of the hub; without a value the one of `hf auth login`. No record holds it.",
            aliases=["--token"],
        ),
    )
    apply_lora: bool = field(
        default=False,
        metadata=flag_help("Freeze the encoder and train low-rank updates of query and value, and the head."),
    )
    lora_r: int | None = field(
        default=None, metadata=flag_help("Rank of the updates; the published adapters use 8 and 16.")
    )
    lora_alpha: float | None = field(
        default=None,
        metadata=flag_help("Updates are scaled by lora_alpha / lora_r; the published adapters use 2 r."),
    )
    lora_dropout: float = field(default=0.0, metadata=flag_help("Dropout in front of the updates."))
    lora_position_query: bool | None = field(
        default=None,
        metadata=flag_help(
            "DeBERTa: feed the adapted query to the relative positions too, as PEFT does, which can then read the "
            "adapter. The original does not (the default)."
        ),
    )
    lora_path: str | None = field(
        default=None,
        metadata=flag_help("Start from this adapter: a folder, or an original .bin. Its r and alpha are taken."),
    )
    apply_adapter: bool = field(
        default=False,
        metadata=flag_help("Freeze the encoder; train bottleneck adapters in every layer, and the head."),
    )
    adapter_type: str | None = field(
        default=None,
        metadata=flag_help("Which ones: houlsby (the default) or pfeiffer.", choices=["houlsby", "pfeiffer"]),
    )
    adapter_size: int | None = field(
        default=None, metadata=flag_help("Width of the bottleneck, such as 8, 16, 32 or 64 (the default).")
    )
    adapter_path: str | None = field(
        default=None,
        metadata=flag_help("Start from these bottleneck adapters: a folder of AdapterHub's, or of a run like this."),
    )
    apply_bitfit: bool = field(
        default=False, metadata=flag_help("Freeze the encoder and train its biases (BitFit), and the head.")
    )
    consistency: str | None = field(
        default=None,
        metadata=flag_help(
            "Train two passes of every batch to agree: cutoff (the default with --reg_loss_wgt) or rdrop.",
            choices=["cutoff", "rdrop"],
        ),
    )
    reg_loss_wgt: float = field(
        default=0.0, metadata=flag_help("Weight of the passes' disagreement in the loss; the original uses 1.0.")
    )
    masking_prob: float = field(
        default=0.0, metadata=flag_help("Cutoff's share of tokens that the second pass sees as unknown.")
    )
    ignore_mismatched_sizes: bool = field(
        default=False, metadata=flag_help("Start tensors of another shape anew instead of stopping.")
    )


def method_fields(model_args: ModelArguments, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Give the configuration's fields for LoRA, bottleneck adapters, BitFit and consistency training."""
    names = ["consistency", "reg_loss_wgt", "masking_prob"]
    options: dict[str, Any] = {}
    if model_args.apply_lora:
        names += ["apply_lora", "lora_r", "lora_alpha", "lora_dropout"]
        names += ["lora_position_query"] if model_args.lora_position_query is not None else []
        options = lora_option_fields(model_args)
    if model_args.apply_adapter:
        names += ["apply_adapter", "adapter_type", "adapter_size", "adapter_path"]
    if model_args.apply_bitfit:
        names += ["apply_bitfit"]
    special = ("cls_token_id", "sep_token_id", "unk_token_id") if model_args.masking_prob > 0 else ()
    fields = {name: getattr(model_args, name) for name in names}
    return fields | options | {name: getattr(tokenizer, name) for name in special}


def check_texts(*groups: Any) -> None:
    """Refuse flags with a text that no file can be named by and no record can hold: NUL bytes, and no Unicode.

    Args:
        *groups: Dataclasses of flags.

    Raises:
        ValueError: If one has such a text.
    """
    for name, value in ((name, value) for group in groups for name, value in vars(group).items()):
        for text in value if isinstance(value, list | tuple) else [value]:
            if isinstance(text, str) and ("\0" in text or _is_no_unicode(text)):
                what = "a NUL byte" if "\0" in text else "bytes that are no UTF-8"
                shown = f"--{name}" if is_secret(name) else f"--{name} {text!r}"
                raise ValueError(f"{shown} holds {what}; give it without.")


def _is_no_unicode(text: str) -> bool:
    """Say whether a text cannot be written in UTF-8: Python shows bytes that are none as halves of surrogate pairs."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def check_model_arguments(model_args: ModelArguments, args: TrainingArguments) -> None:
    """Refuse flags of the model and of its training that contradict each other; settle what follows from others.

    Raises:
        ValueError: If something is missing or contradictory; the message says what to do.
        OSError: If a file that is named does not exist.
    """
    if not (args.do_train or args.do_eval or args.do_predict):
        raise ValueError("there is nothing to do: give --do_train, --do_eval or --do_predict (or several).")
    if not args.output_dir.strip():
        raise ValueError("--output_dir is empty; a name was expected.")
    _check_lora(model_args)
    _check_bottleneck(model_args)
    _check_consistency(model_args, args)
    freezes_base = model_args.apply_lora or model_args.apply_adapter or model_args.apply_bitfit
    check_quantization(model_args, args, freezes_base=freezes_base)


_OF_CLASSIFIERS = ("cls_dropout", "consistency", "reg_loss_wgt", "masking_prob")


def refuse_flags_of_classifiers(*groups: Any) -> None:
    """Refuse flags that only a classifier of whole texts heeds, where another head is trained.

    Args:
        *groups: Dataclasses of flags.

    Raises:
        ValueError: If one was given.
    """
    for group in groups:
        default = {each.name: each.default for each in fields(group)}
        for name in _OF_CLASSIFIERS:
            if name in default and getattr(group, name) != default[name]:
                raise ValueError(f"--{name} is for classifiers of whole texts; leave it out.")


def _check_lora(model_args: ModelArguments) -> None:
    for name in ("lora_r", "lora_alpha", "lora_position_query", "lora_path"):
        if getattr(model_args, name) is not None and not model_args.apply_lora:
            raise ValueError(f"--{name} is given without --apply_lora, so it would have no effect; add --apply_lora.")
    if model_args.lora_dropout and not model_args.apply_lora:
        raise ValueError("--lora_dropout is given without --apply_lora, so it would have no effect; add --apply_lora.")
    given = lora_option_fields(model_args)
    if given and not model_args.apply_lora:
        raise ValueError(
            f"--{min(given)} is given without --apply_lora, so it would have no effect; add --apply_lora."
        )
    if model_args.apply_lora and model_args.lora_path is not None:
        _take_settings_of_adapter(model_args, model_args.lora_path)
    if model_args.apply_lora and (model_args.lora_r is None or model_args.lora_alpha is None):
        raise ValueError("--apply_lora needs --lora_r and --lora_alpha; 8 and 16 are what the published adapters use.")


def _take_settings_of_adapter(model_args: ModelArguments, path: str) -> None:
    """Let r and alpha that were not given be the adapter's; alpha must be given where the adapter does not say it."""
    from transformers.adapters.folder import adapter_settings

    r, alpha = adapter_settings(path)
    if model_args.lora_r is None:
        model_args.lora_r = r
    if model_args.lora_alpha is None and alpha is None:
        raise ValueError(f"--lora_path {path} does not say its alpha; give --lora_alpha as it was trained with.")
    if model_args.lora_alpha is None:
        model_args.lora_alpha = alpha


def _check_bottleneck(model_args: ModelArguments) -> None:
    """Settle type and size: as given, as the adapters in ``--adapter_path`` have it, or the original's defaults."""
    for name in ("adapter_type", "adapter_size", "adapter_path"):
        if getattr(model_args, name) is not None and not model_args.apply_adapter:
            raise ValueError(
                f"--{name} is given without --apply_adapter, so it would have no effect; add --apply_adapter."
            )
    if not model_args.apply_adapter:
        return
    kind, size = "houlsby", 64
    if model_args.adapter_path is not None:
        from transformers.adapters.adapterhub import read_bottleneck

        found = read_bottleneck(model_args.adapter_path)
        kind, size = found.adapter_type, found.adapter_size
    model_args.adapter_type = model_args.adapter_type or kind
    model_args.adapter_size = size if model_args.adapter_size is None else model_args.adapter_size


def _check_consistency(model_args: ModelArguments, args: TrainingArguments) -> None:
    """Refuse what would have no effect; the rest is the configuration's to check."""
    if model_args.consistency is not None and model_args.reg_loss_wgt == 0:
        raise ValueError(
            f"--consistency {model_args.consistency} needs --reg_loss_wgt above 0; the original uses 1.0."
        )
    if model_args.reg_loss_wgt > 0 and args.label_smoothing_factor > 0:
        raise ValueError(
            "--reg_loss_wgt and --label_smoothing_factor exclude each other: the smoothed loss is that of one pass."
        )
