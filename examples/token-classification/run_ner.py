#!/usr/bin/env python
r"""Fine-tune an encoder to find entities in sentences of your own, with LoRA or in full.

For example:

    python run_ner.py --model_name_or_path roberta-base --train_file train.txt --validation_file validation.txt \
        --apply_lora --lora_r 8 --lora_alpha 16 --do_train --do_eval --learning_rate 1e-3 --output_dir output/ner
"""

# Read `work` below: data, model, train, report.

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where common/ is, from whatever folder this is run

from common.process import behave

if __name__ == "__main__":
    behave()  # before the imports, which take seconds

import common.installed  # says so where another transformers is installed  # noqa: F401
from common.command_line import Arguments, parse, run_to_its_end
from common.endings import values_to_come
from common.models import longest_text
from common.report import Subject, next_steps, print_report
from common.reporting.examined import Evaluations
from common.sharing import share
from common.splits import column
from common.training import check_metric, run, start_of_run
from ner_arguments import DataTrainingArguments, check_arguments
from ner_data import TAGS, WORDS, SentenceData, load_sentences
from ner_model import labels_of_model, make_model
from ner_predictions import best_labels, make_compute_metrics, tags_of, write_predictions
from ner_report import examine
from ner_scores import score
from ner_tokens import tokenize_sentences
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer
from transformers.data.data_collator import DataCollatorForTokenClassification
from transformers.training.devices import end_process
from transformers.utils import logging

logger = logging.get_logger("transformers.examples.run_ner")


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: Its words; those of the process where None.

    Returns:
        The exit code, by `common.command_line.run_to_its_end`.
    """
    return run_to_its_end(parse(words, DataTrainingArguments, check_arguments, __doc__), work)


def work(arguments: Arguments[DataTrainingArguments], checkpoint: str | None) -> None:
    """Train, evaluate and predict, as the flags say; go on from a checkpoint where there is one."""
    data_args, args = arguments.data, arguments.training
    data = load_sentences(data_args, args, labels_of_model(arguments))
    check_metric(args, data.metrics)
    with values_to_come(checkpoint):
        model, tokenizer = make_model(arguments, data)
    task = "token classification" + (" with --label_all_tokens" if data_args.label_all_tokens else "")
    start = start_of_run(checkpoint, model, arguments.model, args, task, data.hashes)
    longest = longest_text(model, tokenizer)
    tokenize_sentences(data, tokenizer, model.config.label2id, longest, data_args, args)
    evaluations = Evaluations(make_compute_metrics(data, model.config.id2label))
    trainer = make_trainer(arguments, data, model, tokenizer, longest, evaluations)
    results = run(trainer, start, data.validation, lambda: predict(trainer, data), evaluated=evaluations.keep)
    if trainer.is_world_process_zero():
        report(trainer, arguments, data, results, evaluations)
    share(trainer)


def make_trainer(
    arguments: Arguments[DataTrainingArguments],
    data: SentenceData,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    longest: int,
    evaluations: Evaluations,
) -> Trainer:
    """Put model, data, metrics and collator together."""
    padded: dict[str, Any] = {}
    if arguments.data.pad_to_max_length:
        padded = {"padding": "max_length", "max_length": min(arguments.data.max_seq_length or longest, longest)}
    return Trainer(
        model=model,
        args=arguments.training,
        train_dataset=data.train,
        eval_dataset=next(iter(data.validation.values()), None),
        compute_metrics=evaluations,
        preprocess_logits_for_metrics=best_labels,
        tokenizer=tokenizer,
        data_collator=DataCollatorForTokenClassification(tokenizer, **padded),
    )


def predict(trainer: Trainer, data: SentenceData) -> dict[str, float]:
    """Predict the test sentences and write the tags; give their figures where the right ones are known."""
    split = data.test["test"]
    tags = tags_of(trainer.predict(split).predictions[0], split, trainer.model.config.id2label)
    figures: dict[str, float] = {}
    if TAGS in split.column_names:
        found = score(column(split, TAGS), tags, data.strict, data.types)
        figures = {f"predict_{name}": value for name, value in found.items()} | {"predict_samples": len(split)}
        trainer.log_metrics("predict", figures)
        trainer.save_metrics("predict", figures)
    if trainer.is_world_process_zero():
        path = Path(trainer.args.output_dir) / "predictions.txt"
        write_predictions(path, column(split, WORDS), tags)
        logger.info("Predictions of %d sentences: %s", len(split), path)
    return figures


def report(
    trainer: Trainer,
    arguments: Arguments[DataTrainingArguments],
    data: SentenceData,
    results: dict[str, float],
    evaluations: Evaluations,
) -> None:
    """Print the table and the next commands, and leave record and report."""
    source = next(iter(data.sources.values()))
    length = arguments.data.max_seq_length
    words = ["--test_file", "SENTENCES.txt", *(["--max_seq_length", str(length)] if length else [])]
    for name in ("token_column", "label_column"):
        if getattr(arguments.data, name) is not None:
            words += [f"--{name}", shlex.quote(getattr(arguments.data, name))]
    code = f'pipeline("ner", model={json.dumps(trainer.args.output_dir)}, aggregation_strategy="first")'
    steps = next_steps(trainer, words, code) if trainer.args.do_train else []
    shown = tuple(
        name for name in data.metrics if not name.startswith(("precision_", "recall_", "strict_p", "strict_r"))
    )
    names = trainer.model.config.id2label
    subject = Subject(f"Entities: {source}", source, shown)
    print_report(trainer, subject, results, arguments, steps, lambda: examine(data, evaluations, names, length))


if __name__ == "__main__":
    end_process(main())
