#!/usr/bin/env python
r"""Fine-tune an encoder on a GLUE task, or on files of your own, with LoRA or in full.

Read `main`: parse, data, model, train, report. For example::

    python run_glue.py --model_name_or_path roberta-base --task_name mrpc --apply_lora --lora_r 8 --lora_alpha 16 \
        --do_train --do_eval --learning_rate 4e-4 --num_train_epochs 30 --output_dir output/mrpc
"""

from __future__ import annotations

import logging as python_logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glue_arguments import DataTrainingArguments, ModelArguments, check_arguments
from glue_data import TextData, load_data, tokenize_data
from glue_metrics import make_compute_metrics, predicted_values
from glue_report import print_report, write_predictions
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    HfArgumentParser,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging

logger = logging.get_logger("transformers.examples.run_glue")


@dataclass
class Arguments:
    """All flags of one run."""

    model: ModelArguments
    data: DataTrainingArguments
    training: TrainingArguments


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: Its words; those of the process where None.

    Returns:
        The exit code: 0, or 2 where the input cannot be used, or training cannot go on: its values explode, the disk
        is full, another process died (one line on standard error says why).
    """
    arguments = parse(words)
    try:
        checkpoint = prepare_output(arguments)
        data = load_data(arguments.data, arguments.training, arguments.model.cache_dir)
        model, tokenizer = make_model(arguments, data)
        tokenize_data(data, tokenizer, model.config.label2id, arguments.data, arguments.training)
        trainer = make_trainer(arguments, data, model, tokenizer)
        results = run(trainer, arguments, data, checkpoint)
    except (ValueError, OSError, FloatingPointError) as error:
        return give_up(error)
    if trainer.is_world_process_zero():
        print_report(trainer, arguments.model, arguments.data, data, results)
    return 0


def give_up(error: Exception) -> int:
    """Say in one line why the run ends; with TRANSFORMERS_VERBOSITY=debug, where.

    What is wrong with the input is wrong in every process alike, and said by the first.

    Returns:
        The exit code, 2.
    """
    if logging.get_verbosity() <= logging.DEBUG:
        raise error
    process = int(os.environ.get("RANK", 0))
    if process == 0 or isinstance(error, OSError):
        print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr, flush=True)
    return 2


def parse(words: Sequence[str] | None) -> Arguments:
    """Read the flags, or the JSON file that stands in for them, and set up logging and seed."""
    parser = HfArgumentParser((ModelArguments, DataTrainingArguments, TrainingArguments), description=__doc__)
    model_args, data_args, training_args = parser.parse_args_into_dataclasses(words)
    try:
        check_arguments(model_args, data_args, training_args)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    set_up_logging(training_args)
    set_seed(training_args.seed, deterministic=bool(training_args.use_deterministic_algorithms))
    return Arguments(model_args, data_args, training_args)


def set_up_logging(args: TrainingArguments) -> None:
    """Show what happens on the first process, and errors only on the others."""
    if "TRANSFORMERS_VERBOSITY" not in os.environ:
        logging.set_verbosity(logging.INFO if args.local_rank in (-1, 0) else logging.ERROR)
    python_logging.getLogger("httpx").setLevel(python_logging.WARNING)


def prepare_output(arguments: Arguments) -> str | None:
    """Find out whether this run goes on from a checkpoint, and refuse to write over another one.

    Returns:
        The checkpoint to go on from, or None.
    """
    args = arguments.training
    if args.resume_from_checkpoint is not None:
        return args.resume_from_checkpoint
    folder = Path(args.output_dir)
    if folder.is_file():
        raise ValueError(f"--output_dir {folder} is a file; a folder was expected.")
    if args.do_train and folder.resolve() == Path(arguments.model.model_name_or_path).resolve():
        raise ValueError(f"--output_dir {folder} is the folder of the model to start from; give another one.")
    if not args.do_train or args.overwrite_output_dir or not folder.is_dir():
        return None
    last = get_last_checkpoint(args.output_dir)
    if last is not None:
        logger.info("Going on from %s. To start anew, give --overwrite_output_dir or another --output_dir.", last)
        return last
    if any(folder.iterdir()):
        raise ValueError(
            f"--output_dir {folder} is not empty and holds no checkpoint to go on from. Give another one, or "
            "--overwrite_output_dir to write into it."
        )
    return None


# Model --------------------------------------------------------------------------------------------------------


def make_model(arguments: Arguments, data: TextData) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load configuration, tokenizer and model; start from another task's adapter where one is given."""
    model_args = arguments.model
    options = {
        "cache_dir": model_args.cache_dir,
        "revision": model_args.model_revision,
        "token": True if model_args.use_auth_token else None,
    }
    name = model_args.model_name_or_path
    tokenizer = AutoTokenizer.from_pretrained(model_args.tokenizer_name or name, **options)
    config = make_config(arguments, data, tokenizer, options)
    check_tokenizer(tokenizer, config, model_args.tokenizer_name or name)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        name, config=config, ignore_mismatched_sizes=model_args.ignore_mismatched_sizes, **options
    )
    if model_args.lora_path is not None:
        from transformers.lora.adapter import start_from_adapter

        logger.info("%s", start_from_adapter(model, model_args.lora_path))
    if arguments.training.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    return model, tokenizer


def make_config(
    arguments: Arguments, data: TextData, tokenizer: PreTrainedTokenizerBase, options: dict[str, Any]
) -> PretrainedConfig:
    """Read the model's configuration and put labels, what is trained and how, and dropout into it."""
    model_args = arguments.model
    fields: dict[str, Any] = {"finetuning_task": arguments.data.task_name, **method_fields(model_args, tokenizer)}
    if arguments.training.cls_dropout is not None:
        fields["cls_dropout"] = arguments.training.cls_dropout
    name = model_args.config_name or model_args.model_name_or_path
    own = AutoConfig.from_pretrained(name, **options)
    if data.regression:
        fields["num_labels"] = 1
    elif data.labels and {label.lower() for label in own.label2id} != {label.lower() for label in data.labels}:
        fields["id2label"] = dict(enumerate(data.labels))
        fields["label2id"] = {label: index for index, label in enumerate(data.labels)}
    config: PretrainedConfig = AutoConfig.from_pretrained(name, **fields, **options)
    return config


def method_fields(model_args: ModelArguments, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Give the configuration's fields for LoRA, bottleneck adapters, BitFit and consistency training."""
    names = ["consistency", "reg_loss_wgt", "masking_prob"]
    if model_args.apply_lora:
        names += ["apply_lora", "lora_r", "lora_alpha", "lora_dropout"]
    if model_args.apply_adapter:
        names += ["apply_adapter", "adapter_type", "adapter_size", "adapter_path"]
    if model_args.apply_bitfit:
        names += ["apply_bitfit"]
    special = ("cls_token_id", "sep_token_id", "unk_token_id") if model_args.masking_prob > 0 else ()
    return {name: getattr(model_args, name) for name in names} | {name: getattr(tokenizer, name) for name in special}


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, name: str) -> None:
    """Refuse a tokenizer whose ids mean other words to the model."""
    if len(tokenizer) > config.vocab_size:
        raise ValueError(
            f"The tokenizer of '{name}' has {len(tokenizer)} words, but the model's vocabulary only "
            f"{config.vocab_size}: they do not belong together. Give the model's own with --tokenizer_name."
        )
    if tokenizer.pad_token_id != config.pad_token_id:
        raise ValueError(
            f"The tokenizer of '{name}' pads with id {tokenizer.pad_token_id}, but the model expects "
            f"{config.pad_token_id}: they do not belong together. Give the model's own with --tokenizer_name."
        )


# Training -----------------------------------------------------------------------------------------------------


def make_trainer(
    arguments: Arguments, data: TextData, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> Trainer:
    """Put model, data, metrics and collator together."""
    return Trainer(
        model=model,
        args=arguments.training,
        train_dataset=data.train,
        eval_dataset=next(iter(data.validation.values()), None),
        compute_metrics=make_compute_metrics(data.metrics, data.regression),
        tokenizer=tokenizer,
        data_collator=default_data_collator
        if arguments.data.pad_to_max_length
        else DataCollatorWithPadding(tokenizer),
    )


def run(trainer: Trainer, arguments: Arguments, data: TextData, checkpoint: str | None) -> dict[str, float]:
    """Train, evaluate and predict, as the flags say.

    Returns:
        All metrics, and ``minutes`` of the whole.
    """
    args = arguments.training
    results: dict[str, float] = {}
    begin = time.monotonic()
    if args.do_train:
        results |= train(trainer, checkpoint)
    if args.do_eval:
        results |= evaluate(trainer, data)
    if args.do_predict:
        predict(trainer, data)
    results["minutes"] = (time.monotonic() - begin) / 60
    return results


def train(trainer: Trainer, checkpoint: str | None) -> dict[str, float]:
    """Train, and save model, metrics and state."""
    result = trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model()
    metrics = {**result.metrics, "train_samples": len(trainer.train_dataset)}  # type: ignore[arg-type]
    trainer.log_metrics("train", metrics)
    trainer.save_metrics("train", metrics)
    trainer.save_state()
    return metrics


def evaluate(trainer: Trainer, data: TextData) -> dict[str, float]:
    """Evaluate every validation split; those after the first keep their figures under names of their own."""
    metrics: dict[str, float] = {}
    for number, (name, split) in enumerate(data.validation.items()):
        logger.info("Evaluating on %s: %d examples", name, len(split))
        ending = "_mm" if number else ""
        found = trainer.evaluate(eval_dataset=split)
        metrics |= {f"{key}{ending}": value for key, value in found.items()}
        metrics[f"eval_samples{ending}"] = len(split)
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)
    return metrics


def predict(trainer: Trainer, data: TextData) -> None:
    """Predict every test split, and write a file for each."""
    for number, split in enumerate(data.test.values()):
        predictions = trainer.predict(split).predictions
        values = predicted_values(predictions, data.regression)
        if trainer.is_world_process_zero():
            path = write_predictions(
                trainer.args.output_dir, values, split, data, number, trainer.model.config.id2label
            )
            logger.info("Predictions of %d examples: %s", len(split), path)


if __name__ == "__main__":
    sys.exit(main())
