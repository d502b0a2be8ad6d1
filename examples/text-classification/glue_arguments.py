"""The flags of run_glue.py beside the Trainer's, and the checks that need no data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glue_tasks import TASKS
from transformers import TrainingArguments

__all__ = ["Arguments", "DataTrainingArguments", "ModelArguments", "check_arguments"]

FILE_FORMATS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json"}


def _help(text: str, **more: Any) -> dict[str, Any]:
    return {"help": text, **more}


@dataclass
class DataTrainingArguments:
    """Which texts to train on: a GLUE task by name, or files of your own."""

    task_name: str | None = field(default=None, metadata=_help(f"A GLUE task: {', '.join(TASKS)}."))
    glue_dataset: str = field(
        default="nyu-mll/glue",
        metadata=_help("Where the GLUE tasks are: a hub id, or a local folder laid out like it."),
    )
    train_file: str | None = field(
        default=None,
        metadata=_help("Your own training texts (csv, tsv, json, jsonl): a column 'label' and one or two of text."),
    )
    validation_file: str | None = field(default=None, metadata=_help("Your own validation texts, labelled."))
    test_file: str | None = field(default=None, metadata=_help("Your own texts to predict; a 'label' is not needed."))
    max_seq_length: int = field(default=128, metadata=_help("Longer texts are cut to this many tokens."))
    pad_to_max_length: bool = field(
        default=False,
        metadata=_help("Pad every text to max_seq_length. Padding costs no computation here, so results are equal."),
    )
    overwrite_cache: bool = field(default=False, metadata=_help("Tokenize again instead of reading the cache."))
    max_train_samples: int | None = field(default=None, metadata=_help("Use the first so many training examples."))
    max_val_samples: int | None = field(
        default=None,
        metadata=_help("Use the first so many validation examples.", aliases=["--max_eval_samples"]),
    )
    max_test_samples: int | None = field(
        default=None, metadata=_help("Predict the first so many test examples.", aliases=["--max_predict_samples"])
    )


@dataclass
class ModelArguments:
    """Which model to start from, how LoRA goes in, and what else is trained and how."""

    model_name_or_path: str = field(
        metadata=_help("A hub id such as roberta-base, a folder, or an adapter's folder (which knows its base).")
    )
    config_name: str | None = field(default=None, metadata=_help("A configuration other than the model's own."))
    tokenizer_name: str | None = field(default=None, metadata=_help("A tokenizer other than the model's own."))
    cache_dir: str | None = field(default=None, metadata=_help("Where downloads are kept."))
    use_fast_tokenizer: bool = field(default=True, metadata=_help("Kept for old command lines; all are fast."))
    model_revision: str = field(default="main", metadata=_help("Branch, tag or commit on the hub."))
    use_auth_token: bool = field(
        default=False, metadata=_help("Use the token of `hf auth login`.", aliases=["--token"])
    )
    apply_lora: bool = field(
        default=False,
        metadata=_help("Freeze the encoder and train low-rank updates of query and value, and the head."),
    )
    lora_r: int | None = field(
        default=None, metadata=_help("Rank of the updates; the published adapters use 8 and 16.")
    )
    lora_alpha: float | None = field(
        default=None, metadata=_help("The updates are scaled by lora_alpha / lora_r; the published adapters use 2 r.")
    )
    lora_dropout: float = field(default=0.0, metadata=_help("Dropout in front of the updates."))
    lora_path: str | None = field(
        default=None,
        metadata=_help("Start from this adapter: a folder, or an original .bin. Its r and alpha are taken from it."),
    )
    apply_adapter: bool = field(
        default=False, metadata=_help("Freeze the encoder and train bottleneck adapters in every layer, and the head.")
    )
    adapter_type: str | None = field(
        default=None,
        metadata=_help("Which ones: houlsby (the default) or pfeiffer.", choices=["houlsby", "pfeiffer"]),
    )
    adapter_size: int | None = field(
        default=None, metadata=_help("Width of the bottleneck, such as 8, 16, 32 or 64 (the default).")
    )
    adapter_path: str | None = field(
        default=None,
        metadata=_help("Start from these bottleneck adapters: a folder of AdapterHub's, or of a run of this script."),
    )
    apply_bitfit: bool = field(
        default=False, metadata=_help("Freeze the encoder and train its biases (BitFit), and the head.")
    )
    consistency: str | None = field(
        default=None,
        metadata=_help(
            "Train two passes of every batch to agree: cutoff (the default with --reg_loss_wgt) or rdrop.",
            choices=["cutoff", "rdrop"],
        ),
    )
    reg_loss_wgt: float = field(
        default=0.0, metadata=_help("Weight of the passes' disagreement in the loss; the original uses 1.0.")
    )
    masking_prob: float = field(
        default=0.0, metadata=_help("Cutoff's share of tokens that the second pass sees as unknown.")
    )
    ignore_mismatched_sizes: bool = field(
        default=False, metadata=_help("Start tensors of another shape anew instead of stopping.")
    )


@dataclass
class Arguments:
    """All flags of one run."""

    model: ModelArguments
    data: DataTrainingArguments
    training: TrainingArguments


def check_arguments(model_args: ModelArguments, data_args: DataTrainingArguments, args: TrainingArguments) -> None:
    """Refuse flags that contradict each other, before anything is loaded.

    Raises:
        ValueError: If something is missing or contradictory; the message says what to do.
        OSError: If a file does not exist.
    """
    if not (args.do_train or args.do_eval or args.do_predict):
        raise ValueError("there is nothing to do: give --do_train, --do_eval or --do_predict (or several).")
    for flag, value in (("--output_dir", args.output_dir), ("--glue_dataset", data_args.glue_dataset)):
        if not value.strip():
            raise ValueError(f"{flag} is empty; a name was expected.")
    _check_data(data_args, args)
    _check_lora(model_args)
    _check_bottleneck(model_args)
    _check_consistency(model_args, args)


def _check_data(data_args: DataTrainingArguments, args: TrainingArguments) -> None:
    files = {
        "--train_file": (data_args.train_file, args.do_train),
        "--validation_file": (data_args.validation_file, args.do_eval),
        "--test_file": (data_args.test_file, args.do_predict),
    }
    if data_args.task_name is not None:
        data_args.task_name = data_args.task_name.lower()
        if data_args.task_name not in TASKS:
            raise ValueError(f"--task_name {data_args.task_name} is no GLUE task; choose from {', '.join(TASKS)}.")
        given = [flag for flag, (path, _) in files.items() if path is not None]
        if given:
            raise ValueError(f"--task_name and {given[0]} exclude each other: a GLUE task, or files of your own.")
    else:
        lacking = [flag for flag, (path, needed) in files.items() if needed and path is None]
        if lacking:
            raise ValueError(f"give --task_name (a GLUE task), or {' and '.join(lacking)} (files of your own).")
    for flag, (path, _) in files.items():
        if path is not None and not Path(path).is_file():
            raise OSError(f"{flag} {path}: there is no such file.")
        if path is not None and Path(path).suffix.lower() not in FILE_FORMATS:
            raise ValueError(f"{flag} {path}: expected a file that ends in {', '.join(FILE_FORMATS)}.")
    if data_args.max_seq_length < 4:
        raise ValueError(f"--max_seq_length is {data_args.max_seq_length}; no text fits into that.")
    for name in ("max_train_samples", "max_val_samples", "max_test_samples"):
        number = getattr(data_args, name)
        if number is not None and number < 1:
            raise ValueError(f"--{name} is {number}; at least 1 was expected.")


def _check_lora(model_args: ModelArguments) -> None:
    for name in ("lora_r", "lora_alpha", "lora_path"):
        if getattr(model_args, name) is not None and not model_args.apply_lora:
            raise ValueError(f"--{name} is given without --apply_lora, so it would have no effect; add --apply_lora.")
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
