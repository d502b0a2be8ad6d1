#!/usr/bin/env python
r"""Fine-tune an encoder to find the answers to questions in texts (SQuAD), with LoRA or in full.

For example:

    python run_qa.py --model_name_or_path roberta-base --train_file train-v1.1.json --validation_file dev-v1.1.json \
        --apply_lora --lora_r 8 --lora_alpha 16 --do_train --do_eval --learning_rate 1e-3 --output_dir output/qa
"""

# Read `work` below: data, model, train, report.

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where common/ is, from whatever folder this is run

from common.process import behave

if __name__ == "__main__":
    behave()  # before the imports, which take seconds

import common.installed  # says so where another transformers is installed  # noqa: F401
from common.command_line import Arguments, parse, run_to_its_end
from common.endings import values_to_come
from common.models import longest_text
from common.records import holds_training
from common.report import NextStep, Subject, next_steps, print_report
from common.sharing import share
from common.training import check_metric, run, start_of_run
from qa_arguments import DataTrainingArguments, check_arguments
from qa_data import load_questions
from qa_features import make_features
from qa_model import make_model
from qa_predictions import FILES, Scorer, read_threshold, write_threshold
from qa_report import examine
from qa_scores import METRICS
from transformers import DataCollatorWithPadding, PreTrainedModel, PreTrainedTokenizerBase, Trainer
from transformers.training.devices import end_process
from transformers.utils import logging

logger = logging.get_logger("transformers.examples.run_qa")


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
    data = load_questions(data_args, args)
    check_metric(args, METRICS[data.with_null], ["HasAns_total", "NoAns_total"])
    threshold = _threshold(arguments)
    with values_to_come(checkpoint):
        model, tokenizer = make_model(arguments)
    task = "question answering" + (" with --version_2_with_negative" if data.with_null else "")
    start = start_of_run(checkpoint, model, arguments.model, args, task, data.hashes)
    features = make_features(data, tokenizer, longest_text(model, tokenizer), data_args, args)
    scorer = Scorer(data, features, data_args, threshold)
    trainer = make_trainer(arguments, model, tokenizer, scorer)
    validation = {name: split for name, split in features.items() if name == "validation"}
    results = run(trainer, start, validation, lambda: predict(trainer, scorer), FILES)
    if trainer.is_world_process_zero():
        if args.do_eval:
            keep_evaluation(trainer, scorer, results)
        report(trainer, arguments, scorer, results)
    share(trainer)


def _threshold(arguments: Arguments[DataTrainingArguments]) -> float:
    """Give the threshold of "no answer": as given, as the model's folder has it where it is not trained on, or 0."""
    given = arguments.data.null_score_diff_threshold
    if given is None and arguments.data.version_2_with_negative and not arguments.training.do_train:
        given = read_threshold(arguments.model.model_name_or_path)
    return 0.0 if given is None else given


def make_trainer(
    arguments: Arguments[DataTrainingArguments],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    scorer: Scorer,
) -> Trainer:
    """Put model, windows, metrics and collator together."""
    return Trainer(
        model=model,
        args=arguments.training,
        train_dataset=scorer.features.get("train"),
        eval_dataset=scorer.features.get("validation"),
        compute_metrics=scorer,
        tokenizer=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
    )


def keep_evaluation(trainer: Trainer, scorer: Scorer, results: dict[str, float]) -> None:
    """Write the answers to the validation questions, and the threshold that was best for them."""
    folder = Path(trainer.args.output_dir)
    if scorer.answers is None or (holds_training(folder) and not trainer.args.do_train):
        return
    path = scorer.write(scorer.answers, "validation", scorer.threshold, folder, "eval_")
    logger.info("Answers to the validation questions: %s", path)
    if scorer.chosen is not None and trainer.args.do_train:  # it belongs to the model in this folder
        write_threshold(folder, scorer.chosen, results["eval_best_f1"], scorer.data.sources["validation"])
        logger.info('Evaluations and predictions take this threshold of "no answer" from here on: %.4g', scorer.chosen)


def predict(trainer: Trainer, scorer: Scorer) -> dict[str, float]:
    """Answer the test questions and write the answers; give their figures where the right ones are known."""
    answers = scorer.find(trainer.predict(scorer.features["test"]).predictions, "test")
    chosen = scorer.chosen if scorer.data_args.null_score_diff_threshold is None else None
    threshold = scorer.threshold if chosen is None else chosen
    figures: dict[str, float] = {}
    if scorer.data.scored:
        found, _ = scorer.score(answers, "test", threshold)
        figures = {f"predict_{name}": value for name, value in found.items() if not name.startswith("best_")}
        trainer.log_metrics("predict", figures)
        trainer.save_metrics("predict", figures)
    if trainer.is_world_process_zero():
        path = scorer.write(answers, "test", threshold, Path(trainer.args.output_dir))
        logger.info("Answers to %d questions: %s", len(answers.begins), path)
    return figures


def report(
    trainer: Trainer, arguments: Arguments[DataTrainingArguments], scorer: Scorer, results: dict[str, float]
) -> None:
    """Print the table and the next commands, and leave record and report."""
    data = scorer.data
    source = next(iter(data.sources.values()))
    shown = (*METRICS[data.with_null], *(["best_f1_thresh"] if data.with_null else []))
    steps = steps_from_here(trainer, scorer) if trainer.args.do_train else []
    subject = Subject(f"Answers: {source}", source, shown)
    print_report(trainer, subject, results, arguments, steps, lambda: examine(scorer))


def steps_from_here(trainer: Trainer, scorer: Scorer) -> list[NextStep]:
    """Give the commands that go on from here; answers are found as in this run."""
    data_args = scorer.data_args
    words = ["--test_file", "QUESTIONS.json"]
    for name in ("max_seq_length", "doc_stride", "n_best_size", "max_answer_length"):
        words += [f"--{name}", str(getattr(data_args, name))]
    words += ["--version_2_with_negative"] if data_args.version_2_with_negative else []
    choice = ", handle_impossible_answer=True" if data_args.version_2_with_negative else ""
    code = f'pipeline("question-answering", model={json.dumps(trainer.args.output_dir)}{choice})'
    steps = next_steps(trainer, words, code)
    if trainer.model.config.freezes_base:
        folder = shlex.quote(str(Path(trainer.args.output_dir).resolve().parent))
        steps.append(NextStep("serve", f"transformers-cli serve --adapters {folder}"))
    return steps


if __name__ == "__main__":
    end_process(main())
