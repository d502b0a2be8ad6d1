"""What becomes of every argument when a training goes on from a checkpoint: one table, which the log follows.

An argument that differs from the checkpoint's is taken (from the next step on), refused, or kept as it was, and the
log says which in one line. Arguments that change no number of the training are taken without a word.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..trainer_utils import SchedulerType
from ..utils import logging
from ..utils.json_files import load_json

if TYPE_CHECKING:
    from ..training_args import TrainingArguments

__all__ = ["FREE", "KEPT", "OF_OPTIMIZER", "REFUSED", "TAKEN", "changed_arguments", "report_changes", "settle"]

logger = logging.get_logger(__name__)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The checkpoint's value stays: with another one the run would meet examples twice, and others never.
KEPT = _names("seed data_seed dataloader_drop_last group_by_length length_column_name train_tokens_per_batch")

# The state of one optimizer means nothing to another.
REFUSED = _names("optim adafactor")

# The optimizer and the schedule are made of these; those of the script's own go on as they were saved.
OF_OPTIMIZER = _names(
    "learning_rate weight_decay adam_beta1 adam_beta2 adam_epsilon lr_scheduler_type lr_scheduler_kwargs warmup_ratio "
    "warmup_steps"
)

TAKEN = OF_OPTIMIZER | _names(
    "max_grad_norm label_smoothing_factor fp16 bf16 cls_dropout use_deterministic_algorithms label_names "
    "remove_unused_columns metric_for_best_model greater_is_better load_best_model_at_end fp16_full_eval "
    "bf16_full_eval prediction_loss_only eval_delay on_nonfinite cuda_graphs"
)

# Taken without a word of this table's: what the run is for, where it runs, how often it tells and saves. Steps, epochs
# and batch sizes are taken as well; ``CheckpointingTrainer`` says how they move the run's position.
FREE = _names(
    "output_dir overwrite_output_dir do_train do_eval do_predict evaluation_strategy per_device_train_batch_size "
    "per_device_eval_batch_size per_gpu_train_batch_size per_gpu_eval_batch_size gradient_accumulation_steps "
    "eval_accumulation_steps num_train_epochs max_steps logging_dir logging_strategy logging_first_step logging_steps "
    "save_strategy save_steps save_total_limit no_cuda fp16_opt_level fp16_backend local_rank tpu_num_cores "
    "tpu_metrics_debug debug eval_steps dataloader_num_workers past_index run_name disable_tqdm ignore_data_skip "
    "sharded_ddp deepspeed report_to ddp_find_unused_parameters dataloader_pin_memory skip_memory_metrics "
    "eval_on_start save_only_model save_safetensors resume_from_checkpoint gradient_checkpointing ddp_timeout fsdp "
    "include_for_metrics save_on_preemption push_to_hub hub_model_id hub_strategy hub_token hub_private_repo "
    "hub_always_push hub_revision num_threads compile_kernels"
)

Changes = dict[str, tuple[Any, Any]]
"""The arguments that differ: the checkpoint's value and this run's, by name."""


def changed_arguments(checkpoint: Path, args: TrainingArguments) -> Changes:
    """Find the arguments that the table knows and that differ from a checkpoint's.

    Args:
        checkpoint: A checkpoint; where a script's own saving wrote no arguments, none differ.
        args: The arguments of this run.
    """
    path = checkpoint / "training_args.json"
    if not path.is_file():
        return {}
    before, now = load_json(path, allow_nan=True), json.loads(args.to_json_string())
    watched = [name for name in now if name in KEPT | REFUSED | TAKEN and name in before]
    return {name: (before[name], now[name]) for name in watched if before[name] != now[name]}


def settle(changes: Changes, args: TrainingArguments, checkpoint: Path) -> None:
    """Refuse what cannot change, and put the checkpoint's value back where it is kept.

    Args:
        changes: What differs.
        args: The arguments of this run; changed in place.
        checkpoint: The checkpoint, for messages.

    Raises:
        ValueError: If an argument differs that cannot change within a training.
    """
    for name, (before, now) in changes.items():
        plateau = name == "lr_scheduler_type" and SchedulerType.REDUCE_ON_PLATEAU.value in (before, now)
        if name in REFUSED or plateau:
            raise ValueError(
                f"--{name} was {before} in '{checkpoint}' and is {now} now, whose state is another one. Go on with "
                f"{before}, or start anew with the checkpoint's weights only."
            )
        if name in KEPT:
            setattr(args, name, before)
            logger.warning(
                "--%s was %s in %s and is %s now: it is ignored, the training goes on with %s.",
                name,
                before,
                checkpoint,
                now,
                before,
            )


def report_changes(changes: Changes, checkpoint: Path, *, own_optimizer: bool) -> None:
    """Say of every argument that may change what has become of it.

    Args:
        changes: What differs.
        checkpoint: The checkpoint, for messages.
        own_optimizer: Whether optimizer and schedule are those that the arguments name.
    """
    for name, (before, now) in changes.items():
        if name in KEPT:
            continue
        what = "it is taken from here on"
        if name in OF_OPTIMIZER and not own_optimizer:
            what = "it is ignored, the optimizer and the schedule of the script's own go on as they were saved"
        logger.warning("--%s was %s in %s and is %s now: %s.", name, before, checkpoint, now, what)
