"""``TrainingArguments``: every setting of a training run, as a dataclass whose fields are also flags.

The fields carry the names of Transformers 4.4.2; where 5.x calls one differently, the newer name works as an init
argument, as a flag and as an attribute too (``_aliases``). What cannot work is refused before anything is loaded.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass, fields
from datetime import datetime
from enum import Enum
from typing import Any

from .trainer_utils import HubStrategy, IntervalStrategy, OnNonfinite, SaveStrategy, SchedulerType
from .training.argument_checks import check_training_arguments
from .training.argument_fields import ArgumentFields, OptimizerNames
from .training.devices import launcher_deepspeed
from .training.process_arguments import ParallelMode
from .training.reports import resolve_report_to
from .utils import logging
from .utils.json_files import parse_json
from .utils.secrets import without_secrets

__all__ = ["OptimizerNames", "ParallelMode", "TrainingArguments", "default_logdir"]

logger = logging.get_logger(__name__)


def default_logdir() -> str:
    """Name a TensorBoard folder that no other run has: ``runs/<date>_<time>_<host>``."""
    return os.path.join("runs", f"{datetime.now():%b%d_%H-%M-%S}_{socket.gethostname()}")


@dataclass
class TrainingArguments(ArgumentFields):
    """How the model is trained, evaluated, logged and saved.

    The help text of each field says what it does; ``HfArgumentParser`` turns each into a flag.

    Raises:
        ValueError: If a value cannot work, alone or beside the others; the message says what would.
    """

    def __post_init__(self) -> None:
        """Read the values into their types, fill in what follows from others, and check them all."""
        self._read_values()
        self._fill_defaults()
        check_training_arguments(self)

    def _read_values(self) -> None:
        self.output_dir = os.path.expanduser(self.output_dir)
        self.evaluation_strategy = IntervalStrategy(self.evaluation_strategy)
        self.logging_strategy = IntervalStrategy(self.logging_strategy)
        self.save_strategy = SaveStrategy(self.save_strategy)
        self.on_nonfinite = OnNonfinite(self.on_nonfinite)
        self.hub_strategy = HubStrategy(self.hub_strategy)
        self.lr_scheduler_type = SchedulerType(self.lr_scheduler_type)
        self.optim = OptimizerNames("adafactor" if self.adafactor else self.optim)
        if isinstance(self.include_for_metrics, str):
            self.include_for_metrics = self.include_for_metrics.split()
        if isinstance(self.lr_scheduler_kwargs, str):
            self.lr_scheduler_kwargs = parse_json(self.lr_scheduler_kwargs, "lr_scheduler_kwargs")
        for old, new in (
            ("per_gpu_train_batch_size", "per_device_train_batch_size"),
            ("per_gpu_eval_batch_size", "per_device_eval_batch_size"),
        ):
            if getattr(self, old) is not None:
                logger.warning("--%s is the old name of --%s; please use the new one.", old, new)
                setattr(self, new, getattr(self, old))
                setattr(self, old, None)
        self.local_rank = int(os.environ.get("LOCAL_RANK", self.local_rank))
        self.fsdp = " ".join([self.fsdp] if isinstance(self.fsdp, str) else self.fsdp or []).replace(",", " ")
        self.deepspeed = launcher_deepspeed(self.deepspeed)

    def _fill_defaults(self) -> None:
        if self.do_eval is None:
            self.do_eval = self.evaluation_strategy != IntervalStrategy.NO
        if self.eval_steps is None and self.evaluation_strategy == IntervalStrategy.STEPS:
            self.eval_steps = self.logging_steps
        watches = self.load_best_model_at_end or self.lr_scheduler_type == SchedulerType.REDUCE_ON_PLATEAU
        if watches and self.metric_for_best_model is None:
            self.metric_for_best_model = "loss"
        if self.greater_is_better is None and self.metric_for_best_model is not None:
            self.greater_is_better = not self.metric_for_best_model.endswith("loss")
        if self.logging_dir is None:
            self.logging_dir = os.path.join(self.output_dir, default_logdir())
        if self.run_name is None:
            self.run_name = self.output_dir
        if self.disable_tqdm is None:
            self.disable_tqdm = logging.get_verbosity() > logging.WARNING
        for name in ("logging_steps", "eval_steps", "save_steps"):
            value = getattr(self, name)
            if isinstance(value, float) and value.is_integer():  # the flags are read as fractions
                setattr(self, name, int(value))
        self.report_to = resolve_report_to(self.report_to)

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as values that JSON takes; of a field that holds a token (``…_token``) its name alone."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        plain = {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}
        return without_secrets(plain)

    def to_json_string(self) -> str:
        """Give all fields as a JSON object."""
        return json.dumps(self.to_dict(), indent=2, default=str)

    def to_sanitized_dict(self) -> dict[str, Any]:
        """Give all fields, and the batch sizes of the process, as bool, int, float or text, for reports."""
        values = {**self.to_dict(), "train_batch_size": self.train_batch_size, "eval_batch_size": self.eval_batch_size}
        return {
            name: value if type(value) in (bool, int, float, str) else str(value) for name, value in values.items()
        }
