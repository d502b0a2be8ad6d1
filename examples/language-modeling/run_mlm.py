#!/usr/bin/env python
r"""Adapt an encoder to texts of your own by letting it find hidden words, with LoRA or in full.

For example:

    python run_mlm.py --model_name_or_path roberta-base --train_file texts.txt --apply_lora --lora_r 8 \
        --lora_alpha 16 --do_train --do_eval --learning_rate 5e-4 --max_seq_length 256 --output_dir output/texts
"""

# Read `work` below: model, data, train, report.

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where common/ is, from whatever folder this is run

from common.process import behave

if __name__ == "__main__":
    behave()  # before the imports, which take seconds

import common.installed  # says so where another transformers is installed  # noqa: F401
from common.arguments import ModelArguments
from common.command_line import Arguments, parse, run_to_its_end
from common.endings import values_to_come
from common.lora_flags import lora_option_words
from common.report import NextStep, Subject, next_steps, print_report
from common.reporting.examined import Evaluations, Examined
from common.sharing import share
from common.training import check_metric, run, start_of_run
from mlm_arguments import DataTrainingArguments, check_arguments
from mlm_data import MaskedData, load_texts
from mlm_model import make_model, sequence_length
from mlm_report import examine
from mlm_scores import METRICS, compute_metrics, figures_of_rows
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, Trainer
from transformers.data.data_collator import DataCollatorForTokenClassification
from transformers.training.devices import end_process


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: Its words; those of the process where None.

    Returns:
        The exit code, by `common.command_line.run_to_its_end`.
    """
    return run_to_its_end(parse(words, DataTrainingArguments, check_arguments, __doc__), work)


def work(arguments: Arguments[DataTrainingArguments], checkpoint: str | None) -> None:
    """Train and evaluate, as the flags say; go on from a checkpoint where there is one."""
    data_args, args = arguments.data, arguments.training
    check_metric(args, METRICS)
    with values_to_come(checkpoint):
        model, tokenizer = make_model(arguments)
    length = sequence_length(data_args.max_seq_length, model, tokenizer)
    with args.main_process_first(desc="making sequences of the texts"):
        data = load_texts(data_args, args, tokenizer, length)
    what = "words" if data_args.whole_word_mask else "tokens"
    task = f"masked language modelling with {data_args.mlm_probability:.1%} of the {what} hidden"
    start = start_of_run(checkpoint, model, arguments.model, args, task, data.hashes)
    evaluations = Evaluations(compute_metrics)
    trainer = make_trainer(arguments, data, model, tokenizer, length, evaluations)
    results = run(trainer, start, data.validation, lambda: None, evaluated=evaluations.keep)
    if trainer.is_world_process_zero():
        report(trainer, arguments, data, results, lambda: examine(data, evaluations, length))
    share(trainer)


def make_trainer(
    arguments: Arguments[DataTrainingArguments],
    data: MaskedData,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    evaluations: Evaluations,
) -> Trainer:
    """Put model, data, metrics and collator together; the data mask by themselves, and are only padded."""
    padded: dict[str, Any] = {}
    if arguments.data.pad_to_max_length:
        padded = {"padding": "max_length", "max_length": length}
    return Trainer(
        model=model,
        args=arguments.training,
        train_dataset=data.train,
        eval_dataset=next(iter(data.validation.values()), None),
        compute_metrics=evaluations,
        preprocess_logits_for_metrics=figures_of_rows,
        tokenizer=tokenizer,
        data_collator=DataCollatorForTokenClassification(tokenizer, **padded),
    )


def report(
    trainer: Trainer,
    arguments: Arguments[DataTrainingArguments],
    data: MaskedData,
    results: dict[str, float],
    examined: Callable[[], Examined],
) -> None:
    """Print the table and the next commands, and leave record and report."""
    source = next(iter(data.sources.values()))
    steps = steps_from_here(trainer, arguments) if trainer.args.do_train else []
    print_report(trainer, Subject(f"Hidden words: {source}", source, METRICS), results, arguments, steps, examined)


def steps_from_here(trainer: Trainer, arguments: Arguments[DataTrainingArguments]) -> list[NextStep]:
    """Give the commands that go on from here: the first one trains a classifier that starts from what was learned."""
    folder = trainer.args.output_dir
    code = f'pipeline("fill-mask", model={json.dumps(folder)})'
    steps = next_steps(trainer, None, code)
    start = start_of_classifier(trainer.model.config, arguments.model, folder)
    if start is None:
        return steps
    script = Path(__file__).resolve().parents[1] / "text-classification" / "run_glue.py"
    words = ["python", os.path.relpath(script), "--model_name_or_path", *start]
    words += ["--train_file", "LABELLED.csv", "--do_train", "--output_dir", f"{folder}-classifier"]
    return [NextStep("classify", shlex.join(words)), *steps]


def start_of_classifier(config: PretrainedConfig, flags: ModelArguments, folder: str) -> list[str] | None:
    """Give the words that let `run_glue.py` start from what was learned; None where it has no flag for some of it.

    Args:
        config: The model's.
        flags: As they were given.
        folder: Holds what was learned.
    """
    if not config.freezes_base:
        return [folder]
    if config.apply_bitfit:
        return None
    words = [flags.model_name_or_path]
    if config.apply_lora:
        words += ["--apply_lora", "--lora_path", folder, *lora_option_words(flags)]
        words += ["--lora_position_query"] * bool(flags.lora_position_query)
    if config.apply_adapter:
        words += ["--apply_adapter", "--adapter_type", config.adapter_type, "--adapter_size", str(config.adapter_size)]
        words += ["--adapter_path", folder]
    return words


if __name__ == "__main__":
    end_process(main())
