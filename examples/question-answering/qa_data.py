"""The questions of a run, with every problem named before training starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from common.identity import hash_rows
from common.splits import on_disk
from qa_arguments import DataTrainingArguments
from qa_files import Questions, read_questions
from transformers import TrainingArguments
from transformers.utils import logging

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["ANSWERS", "CONTEXT", "ID", "QUESTION", "STARTS", "QuestionData", "load_questions"]

logger = logging.get_logger("transformers.examples.qa_data")

ID, QUESTION, CONTEXT, ANSWERS, STARTS = "id", "question", "context", "answers", "answer_starts"


@dataclass
class QuestionData:
    """Questions with their contexts; each split has the columns `ID`, `QUESTION`, `CONTEXT`, `ANSWERS`, `STARTS`.

    Attributes:
        questions: By the split's name: ``train``, ``validation``, ``test``, as far as they are needed.
        sources: The files, by the split's name.
        with_null: Whether a question may have no answer.
        scored: Whether the test questions have answers to score by.
        hashes: Of the content of the training and the validation questions, by name.
    """

    questions: dict[str, Dataset]
    sources: dict[str, str]
    with_null: bool
    scored: bool
    hashes: dict[str, str] = field(default_factory=dict)


def load_questions(data_args: DataTrainingArguments, args: TrainingArguments) -> QuestionData:
    """Read the files that the run needs.

    Args:
        data_args: The files.
        args: Says which are needed.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If one holds no questions or broken ones, or no answers where they are needed.
    """
    with_null = data_args.version_2_with_negative
    paths = {
        "train": data_args.train_file if args.do_train else None,
        "validation": data_args.validation_file if args.do_eval or args.evaluation_strategy != "no" else None,
        "test": data_args.test_file if args.do_predict else None,
    }
    found = {name: read_questions(path, data_args.file_encoding) for name, path in paths.items() if path is not None}
    for name in found.keys() & {"train", "validation"}:
        _check_answers(found[name], with_null)
    limits = {"train": data_args.max_train_samples, "validation": data_args.max_val_samples}
    limits["test"] = data_args.max_test_samples
    data = QuestionData(
        questions={name: _to_split(questions, limits[name]) for name, questions in found.items()},
        sources={name: questions.source for name, questions in found.items()},
        with_null=with_null,
        scored="test" in found and _can_be_scored(found["test"], with_null),
    )
    if "train" in found:
        data.hashes = _hashes(data.questions, args)
    return data


def _check_answers(found: Questions, with_null: bool) -> None:
    """Refuse questions that cannot be learned from or scored by."""
    without = found.unanswered()
    if not found.with_answers:
        raise ValueError(f"'{found.source}' has no answers; they are needed to train and to evaluate.")
    if without and not with_null:
        raise ValueError(
            f"{len(without)} of the {len(found.ids)} questions of '{found.source}' have no answer (the first is "
            f"'{found.ids[without[0]]}'); --version_2_with_negative reads those as questions that have none."
        )
    if len(without) == len(found.ids):
        raise ValueError(f"None of the {len(without)} questions of '{found.source}' has an answer.")
    if with_null and not without:
        logger.warning("'%s': every question has an answer, in spite of --version_2_with_negative.", found.source)


def _can_be_scored(test: Questions, with_null: bool) -> bool:
    """Say whether all questions have answers, or may have none."""
    without = test.unanswered()
    if not test.with_answers or len(without) == len(test.ids):
        return False
    if without and not with_null:
        logger.warning(
            "The predictions are not scored: %d of %d questions of '%s' have no answer, and --version_2_with_negative "
            "is not given.",
            len(without),
            len(test.ids),
            test.source,
        )
        return False
    return True


def _hashes(questions: Mapping[str, Dataset], args: TrainingArguments) -> dict[str, str]:
    names = {"train": "training"} | ({"validation": "validation"} if args.load_best_model_at_end else {})
    columns = (QUESTION, CONTEXT, ANSWERS, STARTS)
    return {name: hash_rows(questions[split], columns) for split, name in names.items()}


def _to_split(found: Questions, limit: int | None) -> Dataset:
    from datasets import Dataset, Features, List, Value

    content: dict[str, Any] = {
        ID: found.ids[:limit],
        QUESTION: found.questions[:limit],
        CONTEXT: found.contexts[:limit],
        ANSWERS: found.answers[:limit],
        STARTS: found.starts[:limit],
    }
    text = Value("string")
    kinds = {ID: text, QUESTION: text, CONTEXT: text, ANSWERS: List(text), STARTS: List(Value("int64"))}
    return on_disk(Dataset.from_dict(content, features=Features(kinds)))
