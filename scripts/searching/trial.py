"""One trial: a run of run_glue.py inside this process, on a base and data that all trials of the process share."""

from __future__ import annotations

import io
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from typing import Any

import torch

from common.command_line import Arguments, parse
from common.lacking import what_is_lacking
from common.metrics import make_compute_metrics
from common.reporting.examined import Evaluations
from common.training import check_metric, evaluate
from glue_arguments import DataTrainingArguments, check_arguments
from glue_data import TextData, load_data
from glue_model import make_model
from glue_tokens import tokenize_data
from run_glue import make_trainer
from transformers import PrinterCallback, Trainer, TrainerCallback
from transformers.base.sharing import SharedBases, sharing_bases

__all__ = ["FailedTrialError", "Outcome", "Sources", "read_words", "train"]

Report = Callable[[float, int, bool], bool]
"""Is told of an evaluation: its value, its epoch or step, and whether it is the last; says whether to end there."""


class FailedTrialError(Exception):
    """A trial could not come to its end for a reason of its own: its values, or the memory that they take."""


@dataclass(frozen=True)
class Outcome:
    """What came out of a trial.

    Attributes:
        value: The metric that is searched by; the last reported one where it was pruned.
        metrics: All metrics of the last evaluation.
        pruned: Whether it ended early.
        seconds: How long it took.
        threads: How many threads computed on the CPU: with another number sums are rounded in another way.
    """

    value: float
    metrics: dict[str, float]
    pruned: bool
    seconds: float
    threads: int


@dataclass
class Sources:
    """What the trials of one process share.

    Attributes:
        bases: The base's weights and hash.
        data_loaded: How often data was read.
        data_tokenized: How often it was tokenized.
    """

    bases: SharedBases = field(default_factory=SharedBases)
    data_loaded: int = 0
    data_tokenized: int = 0
    _data: dict[str, TextData] = field(default_factory=dict)
    _tokenized: set[str] = field(default_factory=set)

    def counts(self) -> dict[str, int]:
        """Say how often this process has read a base's files, hashed a tensor, read data and tokenized it."""
        return {
            "process": os.getpid(),
            "base_files_read": self.bases.files_read,
            "base_tensors_hashed": self.bases.tensors_hashed,
            "data_loaded": self.data_loaded,
            "data_tokenized": self.data_tokenized,
        }

    def data_of(self, arguments: Arguments[DataTrainingArguments]) -> TextData:
        """Give the data that a run is about, read once."""
        key = _data_key(arguments)
        if key not in self._data:
            self._data[key] = load_data(arguments.data, arguments.training, arguments.model.cache_dir)
            self.data_loaded += 1
        return self._data[key]

    def trainer_of(self, arguments: Arguments[DataTrainingArguments]) -> tuple[Trainer, TextData]:
        """Do what run_glue.py does up to its Trainer."""
        data = self.data_of(arguments)
        check_metric(arguments.training, data.metrics, ["combined_score"] if data.combined else [])
        with sharing_bases(self.bases):
            model, tokenizer = make_model(arguments, data)
        key = _data_key(arguments)
        if key not in self._tokenized:
            tokenize_data(data, tokenizer, model.config.label2id, arguments.data, arguments.training)
            self._tokenized.add(key)
            self.data_tokenized += 1
        problem = data.problem or "single_label_classification"
        evaluations = Evaluations(make_compute_metrics(data.metrics, problem, data.combined))
        return make_trainer(arguments, data, model, tokenizer, evaluations), data


def _data_key(arguments: Arguments[DataTrainingArguments]) -> str:
    """Name what data and tokens depend on."""
    model, training = arguments.model, arguments.training
    names = (model.model_name_or_path, model.tokenizer_name, model.model_revision, model.cache_dir)
    return repr((vars(arguments.data), names, training.do_eval, training.do_predict, training.load_best_model_at_end))


def read_words(words: Sequence[str]) -> Arguments[DataTrainingArguments]:
    """Read the flags of a trial, and seed as run_glue.py does.

    Raises:
        ValueError: If they contradict each other.
    """
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return parse(words, DataTrainingArguments, check_arguments, None)
    except SystemExit as refused:
        lines = said.getvalue().strip().splitlines() or ["the flags cannot be read."]
        raise ValueError(lines[-1].partition("error: ")[2] or lines[-1]) from refused


def train(
    words: Sequence[str], sources: Sources, metric: str, report: Report, keep: Callable[[Trainer, float], None]
) -> Outcome:
    """Train one trial.

    Args:
        words: All flags of the run.
        sources: What the process shares.
        metric: Its name among an evaluation's, with ``eval_``.
        report: See `Report`.
        keep: Called with the Trainer and the value of a trial that came to its end.

    Raises:
        FailedTrialError: If the trial cannot come to its end.
        OSError: If nothing can be written or a file is lacking, which would be so for each trial.
    """
    start = time.monotonic()
    try:
        trainer, data = sources.trainer_of(read_words(words))
        watch = _Watch(metric, report)
        trainer.add_callback(watch)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        last = watch.metrics if watch.is_last(trainer) else None
        if last is None and not watch.pruned:
            last = evaluate(trainer, dict(list(data.validation.items())[:1]))
        metrics = watch.metrics if last is None else last
        value = _value(metrics, metric)
        if not watch.pruned:
            keep(trainer, value)
    except (FloatingPointError, ValueError) as error:
        raise FailedTrialError(" ".join(str(error).split())[:300]) from error
    except (MemoryError, RuntimeError) as error:
        if what_is_lacking(error) is None:
            raise  # a fault of the program
        raise FailedTrialError(f"not enough memory, threads or files: {str(error).splitlines()[0][:200]}") from error
    return Outcome(value, metrics, watch.pruned, time.monotonic() - start, torch.get_num_threads())


def _value(metrics: dict[str, float], metric: str) -> float:
    """Read the metric that is searched by.

    Raises:
        ValueError: If there is none of this name, or it is no number.
    """
    if metric not in metrics:
        known = ", ".join(name.removeprefix("eval_") for name in metrics if name.startswith("eval_"))
        raise ValueError(f"--metric {metric.removeprefix('eval_')} is not among the metrics: {known}.")
    if not math.isfinite(metrics[metric]):
        raise ValueError(f"{metric} is {metrics[metric]}.")
    return float(metrics[metric])


class _Watch(TrainerCallback):
    """Reports the evaluations of a training, and ends it where it promises too little."""

    def __init__(self, metric: str, report: Report) -> None:
        self._metric, self._report = metric, report
        self.metrics: dict[str, float] = {}
        self.pruned, self._step = False, -1

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Report an evaluation."""
        if self._metric not in (metrics or {}) or state.global_step in (0, self._step):
            return
        self.metrics, self._step = dict(metrics), state.global_step
        step = round(state.epoch) if args.evaluation_strategy == "epoch" else state.global_step
        last = state.global_step >= state.max_steps
        self.pruned = self._report(_value(self.metrics, self._metric), step, last) and not last
        control.should_training_stop |= self.pruned

    def is_last(self, trainer: Trainer) -> bool:
        """Say whether the last evaluation was of the weights that the training ended with."""
        return self._step == trainer.state.global_step and not trainer.args.load_best_model_at_end
