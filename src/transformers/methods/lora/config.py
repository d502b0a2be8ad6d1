"""PEFT's way of saying which LoRA: `LoraConfig`, `TaskType` and `get_peft_model`, over this package's configuration.

A `LoraConfig` is a thin spelling of the fields of a model's configuration (`transformers.configuration.fields`);
nothing is decided here but what PEFT has and this package has not, which is refused by name.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Protocol, TypeVar

from ...configuration.lora_options import LORA_OPTIONS, PEFT_NAMES, check_start

__all__ = ["NOT_OFFERED", "LoraConfig", "TaskType", "as_lora_config", "check_task", "get_peft_model"]

# Fields of PEFT's LoraConfig that this package does not offer, at the values that switch them off.
NOT_OFFERED: dict[str, Any] = {
    "alora_invocation_tokens": None,
    "arrow_config": None,
    "corda_config": None,
    "ensure_weight_tying": False,
    "eva_config": None,
    "fan_in_fan_out": False,
    "kasa_config": None,
    "layer_replication": None,
    "loftq_config": {},
    "lora_bias": False,
    "lora_ga_config": None,
    "megatron_config": None,
    "megatron_core": "megatron.core",
    "monteclora_config": None,
    "qalora_group_size": 16,
    "target_parameters": None,
    "trainable_token_indices": None,
    "use_bdlora": None,
    "use_qalora": False,
    "velora_config": None,
}

# Those that say nothing about how the weights are to be used.
_WITHOUT_EFFECT = (
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "peft_version",
    "revision",
    "runtime_config",
)


class TaskType(StrEnum):
    """What a model is trained to do, in PEFT's words."""

    SEQ_CLS = "SEQ_CLS"
    TOKEN_CLS = "TOKEN_CLS"
    QUESTION_ANS = "QUESTION_ANS"
    CAUSAL_LM = "CAUSAL_LM"
    FEATURE_EXTRACTION = "FEATURE_EXTRACTION"
    SEQ_2_SEQ_LM = "SEQ_2_SEQ_LM"


class LoraConfig:
    """One adapter's options under PEFT's names; see `docs/lora_options.md` for what each does.

    Args:
        r: Rank.
        lora_alpha: Numerator of the scaling.
        lora_dropout: Dropout in front of ``lora_A``.
        target_modules: Where LoRA goes in; the model type's own targets where None.
        exclude_modules: Where it does not all the same.
        bias: ``"none"``, ``"all"`` or ``"lora_only"``.
        use_rslora: Scale by the root of the rank.
        use_dora: Train the outputs' lengths apart.
        modules_to_save: What else is trained in full; a head is always.
        init_lora_weights: True, ``"gaussian"``, ``"orthogonal"``, ``"pissa"``, ``"pissa_niter_N"`` or ``"olora"``.
        layers_to_transform: Numbers of the layers that get LoRA.
        layers_pattern: What stands in front of a layer's number in its path.
        rank_pattern: Ranks of chosen layers.
        alpha_pattern: Alphas of chosen layers.
        task_type: A `TaskType`, or its name.
        **others: PEFT's other fields, at the values that switch them off.

    Raises:
        ValueError: If a field asks for what this package does not have; the message names it.
        TypeError: If PEFT's LoraConfig has no such field.
    """

    peft_type = "LORA"

    def __init__(
        self,
        *,
        r: int = 8,
        lora_alpha: float = 8,
        lora_dropout: float = 0.0,
        target_modules: str | list[str] | None = None,
        exclude_modules: str | list[str] | None = None,
        bias: str = "none",
        use_rslora: bool = False,
        use_dora: bool = False,
        modules_to_save: list[str] | None = None,
        init_lora_weights: bool | str | None = True,
        layers_to_transform: int | list[int] | None = None,
        layers_pattern: str | list[str] | None = None,
        rank_pattern: dict[str, int] | None = None,
        alpha_pattern: dict[str, float] | None = None,
        task_type: TaskType | str | None = None,
        **others: Any,
    ) -> None:
        _refuse_others({name: value for name, value in others.items() if name not in PEFT_NAMES})
        self.r = r
        self.lora_alpha = lora_alpha
        self.lora_dropout = lora_dropout
        self.target_modules = _as_list(target_modules)
        self.exclude_modules = _as_list(exclude_modules)
        self.bias = bias
        self.use_rslora = use_rslora
        self.use_dora = use_dora
        self.modules_to_save = _as_list(modules_to_save)
        self.init_lora_weights = init_lora_weights
        self.layers_to_transform = layers_to_transform
        self.layers_pattern = layers_pattern or None
        self.rank_pattern = dict(rank_pattern or {})
        self.alpha_pattern = dict(alpha_pattern or {})
        self.task_type = _task(task_type)
        vars(self).update({name: value for name, value in others.items() if name in PEFT_NAMES})
        _start(init_lora_weights)

    def to_dict(self) -> dict[str, Any]:
        """Give the fields by PEFT's names."""
        return dict(vars(self))

    def config_fields(self) -> dict[str, Any]:
        """Give the fields of a model's configuration that mean the same."""
        return {
            "lora_r": self.r,
            "lora_alpha": self.lora_alpha,
            "lora_dropout": self.lora_dropout,
            "lora_target_modules": self.target_modules,
            "lora_bias": self.bias,
            "lora_modules_to_save": self.modules_to_save,
            "lora_init": _start(self.init_lora_weights),
            **{ours: vars(self).get(peft, LORA_OPTIONS[ours]) for peft, ours in PEFT_NAMES.items()},
        }

    def __repr__(self) -> str:
        return f"LoraConfig({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class _TakesAdapters(Protocol):
    def add_adapter(self, adapter_config: LoraConfig, adapter_name: str) -> None: ...


ModelType = TypeVar("ModelType", bound=_TakesAdapters)


def get_peft_model(model: ModelType, peft_config: Any, adapter_name: str = "default") -> ModelType:
    """Put a fresh adapter into a model, as PEFT's function of that name does.

    Args:
        model: A model of this package; changed in place.
        peft_config: A `LoraConfig`, or PEFT's own.
        adapter_name: What to call the adapter.

    Returns:
        The same model: there is no wrapper around it. ``save_adapter`` writes the adapter's folder.

    Raises:
        ValueError: As of `transformers.adapters.methods.AdapterMethods.add_adapter`. The model is then unchanged.
    """
    model.add_adapter(as_lora_config(peft_config), adapter_name)
    return model


def as_lora_config(config: Any) -> LoraConfig:
    """Give a `LoraConfig` for this package's or PEFT's.

    Raises:
        ValueError: If it is a configuration of another method than LoRA, or asks for what is not offered.
    """
    if isinstance(config, LoraConfig):
        return config
    fields = config.to_dict() if hasattr(config, "to_dict") else None
    kind = getattr(config, "peft_type", None)
    if not isinstance(fields, dict) or str(getattr(kind, "value", kind)) != "LORA":
        raise ValueError(f"A LoraConfig was expected, not {type(config).__name__} (peft_type {kind!r}).")
    return LoraConfig(**{name: value for name, value in fields.items() if name != "peft_type"})


def check_task(model: object, task_type: TaskType | None) -> None:
    """Refuse a task that a model's head does not do.

    Raises:
        ValueError: If it is so.
    """
    own = getattr(model, "task_type", None)
    if task_type is not None and own != task_type.value:
        raise ValueError(
            f"task_type is {task_type.value}, but this model is a {type(model).__name__}, whose task PEFT calls "
            f"{own or 'nothing'}. Load it with a class for that task, or leave task_type out."
        )


def _task(value: TaskType | str | None) -> TaskType | None:
    if value is None:
        return None
    names = [task.value for task in TaskType if task is not TaskType.SEQ_2_SEQ_LM]
    name = str(getattr(value, "value", value))
    if name == TaskType.SEQ_2_SEQ_LM:
        raise ValueError(
            "task_type SEQ_2_SEQ_LM is for models with an encoder and a decoder; RoBERTa and DeBERTa have no decoder. "
            f"Here are {', '.join(names)}."
        )
    if name not in names:
        raise ValueError(f"task_type is {value!r}; one of {', '.join(names)} was expected, or None.")
    return TaskType(name)


def _start(value: bool | str | None) -> str:
    """Give this package's name of a start."""
    start = "default" if value is True else value
    check_start("init_lora_weights", start)
    return str(start)


def _refuse_others(fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if name in _WITHOUT_EFFECT:
            continue
        if name not in NOT_OFFERED:
            raise TypeError(f"LoraConfig() got an unexpected keyword argument '{name}'.")
        if value and value != NOT_OFFERED[name]:
            raise ValueError(f"{name} is {value!r}, a PEFT feature that is not part of this package.")


def _as_list(value: Any) -> Any:
    """Give a list for PEFT's sets and tuples."""
    return sorted(value) if isinstance(value, (set, frozenset)) else list(value) if isinstance(value, tuple) else value
