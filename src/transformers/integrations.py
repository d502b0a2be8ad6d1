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
from .utils import logging
from .utils.lazy_names import LazyNames

if TYPE_CHECKING:
    from .training_args import TrainingArguments

__getattr__ = LazyNames(globals(), {}).load  # says of 4.4.2's other names what to use

__all__ = [
    "HfDeepSpeedConfig",
    "TensorBoardCallback",
    "WandbCallback",
    "deepspeed_config",
    "get_available_reporting_integrations",
    "get_reporting_integration_callbacks",
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


def is_tensorboard_available() -> bool:
    """Say whether tensorboardX is installed."""
    return importlib.util.find_spec("tensorboardX") is not None


def is_wandb_available() -> bool:
    """Say whether wandb is installed."""
    return importlib.util.find_spec("wandb") is not None


def is_comet_available() -> bool:
    """Say that Comet is not reported to here; so do the others below of what else 4.4.2 could use."""
    return False


is_azureml_available = is_fairscale_available = is_mlflow_available = is_comet_available
is_optuna_available = is_ray_available = is_ray_tune_available = is_comet_available


def is_deepspeed_available() -> bool:
    """Say whether DeepSpeed is installed."""
    return importlib.util.find_spec("deepspeed") is not None


def get_available_reporting_integrations() -> list[str]:
    """Name the reports that could be written with what is installed."""
    found = {"tensorboard": is_tensorboard_available(), "wandb": is_wandb_available()}
    return [name for name, available in found.items() if available]


def resolve_report_to(report_to: str | Iterable[str] | None) -> list[str]:
    """Turn ``--report_to`` into the list of reports.

    Args:
        report_to: ``none``, ``all``, or names; None means TensorBoard if tensorboardX is installed.

    Raises:
        ValueError: If a name is unknown.
    """
    if report_to is None:
        return ["tensorboard"] if is_tensorboard_available() else []
    names = [report_to] if isinstance(report_to, str) else list(report_to)
    if names in ([], ["none"]):
        return []
    if names == ["all"]:
        return get_available_reporting_integrations()
    for name in names:
        if name not in _CALLBACKS:
            raise ValueError(f"report_to: '{name}' is unknown; choose none, all, or some of {', '.join(_CALLBACKS)}.")
    return names


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

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the writer and note what the run is."""
        if not state.is_world_process_zero:
            return
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
        if not state.is_world_process_zero:
            return
        self._open(args)
        for name, value in rewrite_logs(logs or {}).items():
            if isinstance(value, int | float):
                self.tb_writer.add_scalar(name, value, state.global_step)
                if not name.startswith("train/"):
                    self._final_metrics[name] = float(value)
        self.tb_writer.flush()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the hyper-parameters beside the last evaluation's figures, and close the writer."""
        if self.tb_writer is None:
            return
        values = {name: value for name, value in args.to_sanitized_dict().items() if name not in _NOT_COMPARED}
        # A folder of its own: add_hparams opens a second file, which could get the first one's name.
        metrics = self._final_metrics or {"train/global_step": state.global_step}
        self.tb_writer.add_hparams(values, metrics, name="hparams")
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
    """Sends the figures to Weights & Biases; ``WANDB_PROJECT`` and the like are wandb's own to read."""

    def __init__(self) -> None:
        self._run: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the run with the arguments as its configuration."""
        if state.is_world_process_zero and self._run is None:
            import wandb

            self._run = wandb.init(name=args.run_name, config=args.to_sanitized_dict())

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Send the figures of a log."""
        if self._run is not None:
            self._run.log({**rewrite_logs(logs or {}), "train/global_step": state.global_step})

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the run."""
        if self._run is not None:
            self._run.finish()
            self._run = None


_CALLBACKS: dict[str, type[TrainerCallback]] = {"tensorboard": TensorBoardCallback, "wandb": WandbCallback}
