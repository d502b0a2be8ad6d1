"""Where figures go beside the log: TensorBoard (through tensorboardX) and Weights & Biases."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from .deepspeed import (
    HfDeepSpeedConfig,
    deepspeed_config,
    is_deepspeed_zero3_enabled,
    unset_hf_deepspeed_config,
)
from .trainer_callback import TrainerCallback, TrainerControl, TrainerState
from .training.reports import (
    get_available_reporting_integrations,
    is_tensorboard_available,
    is_wandb_available,
    resolve_report_to,
)
from .training.search_spaces import (
    default_hp_search_backend,
    hp_params,
    is_optuna_available,
    is_ray_available,
    is_ray_tune_available,
)
from .utils import logging
from .utils.lazy_names import LazyNames
from .utils.writing import unless_failing

if TYPE_CHECKING:
    from .training_args import TrainingArguments

_SEARCHES = {
    ".training.search_optuna": ("run_hp_search_optuna",),
    ".training.search_ray": ("run_hp_search_ray",),
}
__getattr__ = LazyNames(globals(), _SEARCHES).load  # says of 4.4.2's other names what to use

__all__ = [
    "HfDeepSpeedConfig",
    "TensorBoardCallback",
    "WandbCallback",
    "deepspeed_config",
    "default_hp_search_backend",
    "get_available_reporting_integrations",
    "get_reporting_integration_callbacks",
    "hp_params",
    "is_azureml_available",
    "is_comet_available",
    "is_deepspeed_available",
    "is_deepspeed_zero3_enabled",
    "is_fairscale_available",
    "is_mlflow_available",
    "is_optuna_available",
    "is_ray_available",
    "is_ray_tune_available",
    "is_tensorboard_available",
    "is_wandb_available",
    "resolve_report_to",
    "rewrite_logs",
    "unset_hf_deepspeed_config",
]

logger = logging.get_logger(__name__)

_TENSORBOARD = "TensorBoard's file"


def is_comet_available() -> bool:
    """Say that Comet is not reported to here; so do the others below of what else 4.4.2 could use."""
    return False


is_azureml_available = is_fairscale_available = is_mlflow_available = is_comet_available


def is_deepspeed_available() -> bool:
    """Say whether DeepSpeed is installed."""
    return importlib.util.find_spec("deepspeed") is not None


def get_reporting_integration_callbacks(report_to: Iterable[str]) -> list[type[TrainerCallback]]:
    """Give the callbacks of the named reports.

    Raises:
        ValueError: If a name is unknown, or what it needs is not installed.
    """
    names = resolve_report_to(report_to)
    missing = [name for name in names if name not in get_available_reporting_integrations()]
    if missing:
        package = {"tensorboard": "tensorboardX"}.get(missing[0], missing[0])
        raise ValueError(f"report_to: '{missing[0]}' needs {package}: pip install {package}, or leave it out.")
    return [_CALLBACKS[name] for name in names]


def rewrite_logs(d: dict[str, Any]) -> dict[str, Any]:
    """Sort figures into sections: ``eval_x`` -> ``eval/x``, ``test_x`` -> ``test/x``, any other -> ``train/x``."""
    renamed = {}
    for name, value in d.items():
        section = next((prefix for prefix in ("eval", "test") if name.startswith(f"{prefix}_")), None)
        renamed[f"train/{name}" if section is None else f"{section}/{name[len(section) + 1 :]}"] = value
    return renamed


class TensorBoardCallback(TrainerCallback):
    """Writes scalars, hyper-parameters and the text of the arguments to ``args.logging_dir``.

    Args:
        tb_writer: A ``tensorboardX.SummaryWriter`` to use; one is made at the start of training by default.
    """

    def __init__(self, tb_writer: Any = None) -> None:
        self.tb_writer = tb_writer
        self._final_metrics: dict[str, float] = {}
        self._is_training = False

    @unless_failing(_TENSORBOARD)
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the writer and note what the run is."""
        if not state.is_world_process_zero:
            return
        self._is_training = True
        self._open(args)
        self.tb_writer.add_text("args", _as_code(args.to_json_string()))
        config: Any = getattr(kwargs.get("model"), "config", None)
        if hasattr(config, "to_json_string"):
            self.tb_writer.add_text("model_config", _as_code(config.to_json_string()))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the figures of a log as scalars at the current step."""
        self._write(args, state, logs or {})

    def on_predict(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the figures of predictions likewise."""
        self._write(args, state, metrics or {})

    @unless_failing(_TENSORBOARD)
    def _write(self, args: TrainingArguments, state: TrainerState, figures: dict[str, Any]) -> None:
        if not state.is_world_process_zero:
            return
        self._open(args)
        for name, value in rewrite_logs(figures).items():
            if isinstance(value, int | float):
                self.tb_writer.add_scalar(name, value, state.global_step)
                if not name.startswith("train/"):
                    self._final_metrics[name] = float(value)
        if self._is_training:
            self.tb_writer.flush()
        else:  # nothing will tell of the end, and what is still in the writer's queue would be lost
            self._close()

    @unless_failing(_TENSORBOARD)
    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the hyper-parameters beside the last evaluation's figures, and close the writer."""
        self._is_training = False
        if self.tb_writer is None:
            return
        values = {name: value for name, value in args.to_sanitized_dict().items() if name not in _NOT_COMPARED}
        # A folder of its own: add_hparams opens a second file, which could get the first one's name.
        metrics = self._final_metrics or {"train/global_step": state.global_step}
        self.tb_writer.add_hparams(values, metrics, name="hparams")
        self._close()

    def _close(self) -> None:
        self.tb_writer.close()
        self.tb_writer = None

    def _open(self, args: TrainingArguments) -> None:
        if self.tb_writer is None:
            from tensorboardX import SummaryWriter

            # tensorboardX names files by the second: an evaluation right after a training must not share its file.
            self.tb_writer = SummaryWriter(logdir=args.logging_dir, filename_suffix=f".{uuid4().hex[:8]}")


_NOT_COMPARED = frozenset({"output_dir", "logging_dir", "run_name", "local_rank", "report_to"})  # no hyper-parameters


def _as_code(text: str) -> str:
    """Mark JSON as Markdown code, which is how TensorBoard shows text."""
    return "\n".join(f"    {line}" for line in json.dumps(json.loads(text), indent=2).splitlines())


class WandbCallback(TrainerCallback):
    """Sends the figures to Weights & Biases; ``WANDB_PROJECT`` and the like are wandb's own to read.

    A training has a run of its own, which what is evaluated or predicted after it belongs to; wandb closes it when the
    process ends. An evaluation without a training opens one as well.
    """

    def __init__(self) -> None:
        self._run: Any = None
        self._holds_training = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the run with the arguments as its configuration; close an earlier training's."""
        if self._run is not None and self._holds_training:
            self._run.finish()
            self._run = None
        self._open(args, state)
        self._holds_training = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Send the figures of a log."""
        self._send(args, state, logs or {})

    def on_predict(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Send the figures of predictions."""
        self._send(args, state, metrics or {})

    def _send(self, args: TrainingArguments, state: TrainerState, figures: dict[str, Any]) -> None:
        self._open(args, state)
        if self._run is not None:
            self._run.log({**rewrite_logs(figures), "train/global_step": state.global_step})

    def _open(self, args: TrainingArguments, state: TrainerState) -> None:
        if state.is_world_process_zero and self._run is None:
            import wandb

            self._run = wandb.init(name=args.run_name, config=args.to_sanitized_dict())


_CALLBACKS: dict[str, type[TrainerCallback]] = {"tensorboard": TensorBoardCallback, "wandb": WandbCallback}
