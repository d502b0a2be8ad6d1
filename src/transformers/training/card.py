"""What a training adds to a model card: settings, results of these very weights, data, and where it was computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from ..adapters.card import describe_saved
from ..modeling_utils import PreTrainedModel
from ..utils.model_card import CardContent, as_table
from .environment import describe_environment
from .foreign_models import is_peft_model, saves_itself
from .state import TrainerState

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from ..training_args import TrainingArguments

__all__ = ["CardWishes", "describe_training", "results_of"]

_NOT_METRICS = ("runtime", "samples_per_second", "steps_per_second", "samples")


@dataclass(frozen=True)
class CardWishes:
    """What only the user knows; the arguments of ``Trainer.create_model_card``.

    Attributes:
        language: Code of the language.
        license: Name of the license.
        tags: Further tags.
        model_name: The model's name for people.
        finetuned_from: Name of the base; what the model was loaded from otherwise.
        tasks: The hub's names of the tasks; the model's own otherwise.
        dataset_tags: The hub's names of the data sets.
        dataset: Their names for people.
        dataset_args: Their configurations.
    """

    language: str | None = None
    license: str | None = None
    tags: str | Sequence[str] | None = None
    model_name: str | None = None
    finetuned_from: str | None = None
    tasks: str | Sequence[str] | None = None
    dataset_tags: str | Sequence[str] | None = None
    dataset: str | Sequence[str] | None = None
    dataset_args: str | Sequence[str] | None = None


def describe_training(
    model: nn.Module,
    folder: Path,
    args: TrainingArguments,
    state: TrainerState,
    wishes: CardWishes,
    repo_id: str | None = None,
) -> CardContent:
    """Describe a model that was trained and saved.

    Args:
        model: The model.
        folder: Where it was saved.
        args: The arguments of its training.
        state: How far that came.
        wishes: What only the user knows.
        repo_id: Its name on the hub, where it goes there.

    Raises:
        OSError: If an adapter's metadata cannot be read.
        ValueError: If it is damaged.
    """
    tags = _listed(wishes.tags)
    saved = CardContent(type(model).__name__, {"tags": tags})
    if isinstance(model, PreTrainedModel) and not is_peft_model(model) and not saves_itself(model):
        saved = describe_saved(model, folder, repo_id=repo_id, tags=tags)
    results = results_of(state, args)
    title = wishes.model_name or saved.title
    stated = {
        "language": wishes.language,
        "license": wishes.license,
        "base_model": wishes.finetuned_from,
        "pipeline_tag": next(iter(_listed(wishes.tasks)), None),
        "datasets": _listed(wishes.dataset_tags),
        "metrics": [name for name in results if name != "loss"],
    }
    metadata = {**saved.metadata, **{name: value for name, value in stated.items() if value}}
    if results:
        metadata |= {"model_name": title, "eval_results": _for_hub(results, wishes, metadata.get("pipeline_tag"))}
    new = {
        "Results": as_table({"data": _data_name(wishes), **{name: f"{value:.6g}" for name, value in results.items()}}),
        "Training": as_table(_settings(args, state)),
        "Environment": as_table(_environment(args)),
    }
    new = new if results else {name: text for name, text in new.items() if name != "Results"}
    left_out = {*new, "License"} if wishes.license else set(new)
    kept = [(heading, text) for heading, text in saved.sections if heading not in left_out]
    return replace(saved, title=title, metadata=metadata, sections=[*kept, *new.items()])


def results_of(state: TrainerState, args: TrainingArguments) -> dict[str, float]:
    """Give the metrics of the very weights that are saved, by name; none where these were not evaluated.

    Args:
        state: Its log holds every evaluation with its step.
        args: Say whether a training ends with the best weights.
    """
    ends = [number for number, entry in enumerate(state.log_history) if "train_runtime" in entry]
    later = state.log_history[ends[-1] + 1 :] if ends else []
    evaluated = [entry for entry in later if any(name.startswith("eval_") for name in entry)]
    step = state.global_step
    if ends and not evaluated and args.load_best_model_at_end and state.best_model_checkpoint is not None:
        step = int(Path(state.best_model_checkpoint).name.rpartition("-")[2])
    entries = evaluated or [entry for entry in state.log_history if entry.get("step") == step]
    figures = {
        name.removeprefix("eval_"): value for entry in entries for name, value in entry.items() if _is_metric(name)
    }
    return {name: float(value) for name, value in figures.items() if math.isfinite(value)}


def _is_metric(name: str) -> bool:
    return name.startswith("eval_") and not name.startswith("eval_mem_") and not name.endswith(_NOT_METRICS)


def _for_hub(results: Mapping[str, float], wishes: CardWishes, task: str | None) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    dataset = next(iter(_listed(wishes.dataset_tags)), "unknown")
    return [
        EvalResult(
            task_type=task or "other",
            dataset_type=dataset,
            dataset_name=_data_name(wishes),
            dataset_config=next(iter(_listed(wishes.dataset_args)), None),
            metric_type=name,
            metric_value=value,
        )
        for name, value in results.items()
    ]


def _data_name(wishes: CardWishes) -> str:
    return ", ".join(_listed(wishes.dataset) or _listed(wishes.dataset_tags)) or "the evaluation set"


def _listed(value: str | Sequence[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _settings(args: TrainingArguments, state: TrainerState) -> dict[str, object]:
    precision = "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32"
    warmup = args.get_warmup_steps(state.max_steps) if state.max_steps else None
    return {
        "learning rate": args.learning_rate,
        "schedule": f"{args.lr_scheduler_type}" + (f", {warmup} steps of warm-up" if warmup else ""),
        "optimizer": args.optim,
        "weight decay": args.weight_decay,
        "steps": f"{state.global_step} of {state.max_steps}" if state.max_steps else None,
        "epochs": args.num_train_epochs if args.max_steps <= 0 else None,
        "global batch": args.global_batch_size,
        "label smoothing": args.label_smoothing_factor or None,
        "precision": precision,
        "seed": args.seed,
    }


def _environment(args: TrainingArguments) -> dict[str, object]:
    found = describe_environment(args.device)
    versions = {name: version for name, version in found["versions"].items() if version != "not installed"}
    return {**versions, "python": found["python"], "platform": found["platform"], "device": found["device"]}
