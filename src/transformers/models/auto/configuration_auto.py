"""Which classes belong to which model type: the one table that the Auto classes read."""

from __future__ import annotations

import importlib
import os
from typing import Any

from ...configuration_utils import PretrainedConfig, split_hub_options

__all__ = ["CONFIG_MAPPING", "MODEL_CLASSES", "AutoConfig", "model_class"]

# model_type -> package, then the class of each task in it.
MODEL_CLASSES: dict[str, dict[str, str]] = {
    "roberta": {
        "config": "models.roberta.configuration_roberta:RobertaConfig",
        "base": "models.roberta.modeling_roberta:RobertaModel",
        "masked-lm": "models.roberta.modeling_roberta:RobertaForMaskedLM",
        "sequence-classification": "models.roberta.modeling_roberta:RobertaForSequenceClassification",
    },
    "deberta-v2": {
        "config": "models.deberta_v2.configuration_deberta_v2:DebertaV2Config",
        "base": "models.deberta_v2.modeling_deberta_v2:DebertaV2Model",
        "masked-lm": "models.deberta_v2.modeling_deberta_v2:DebertaV2ForMaskedLM",
        "sequence-classification": "models.deberta_v2.modeling_deberta_v2:DebertaV2ForSequenceClassification",
    },
}


def model_class(model_type: str, task: str) -> Any:
    """Import and give one class of the table.

    Args:
        model_type: As in ``config.json``.
        task: A key of the table's rows.

    Raises:
        ValueError: If the model type or the task is not in the table.
    """
    if model_type not in MODEL_CLASSES:
        raise ValueError(
            f"Model type '{model_type}' is not part of this package, which holds {', '.join(MODEL_CLASSES)}: the "
            "types with LoRA inside. A BERT checkpoint can be converted: see "
            "`python -m transformers.models.roberta.convert_bert_to_roberta --help`."
        )
    if task not in MODEL_CLASSES[model_type]:
        raise ValueError(f"Model type '{model_type}' has no class for '{task}'.")
    module, _, name = MODEL_CLASSES[model_type][task].partition(":")
    return getattr(importlib.import_module(f"transformers.{module}"), name)


class _ConfigMapping(dict[str, type[PretrainedConfig]]):
    """Model type to configuration class; classes are imported when asked for."""

    def __missing__(self, model_type: str) -> type[PretrainedConfig]:
        config_class: type[PretrainedConfig] = model_class(model_type, "config")
        self[model_type] = config_class
        return config_class


CONFIG_MAPPING = _ConfigMapping()


class AutoConfig:
    """Makes the configuration of whatever model type a checkpoint has."""

    def __init__(self) -> None:
        raise TypeError("AutoConfig is not made itself; call AutoConfig.from_pretrained(name) or .for_model(type).")

    @classmethod
    def for_model(cls, model_type: str, **kwargs: Any) -> PretrainedConfig:
        """Make a configuration from a model type and field values.

        Raises:
            ValueError: If the model type is unknown, or a value out of range.
        """
        return CONFIG_MAPPING[model_type](**kwargs)

    @classmethod
    def register(cls, model_type: str, config: type[PretrainedConfig]) -> None:
        """Let `from_pretrained` know one more model type.

        Raises:
            ValueError: If ``config.model_type`` is another.
        """
        if config.model_type != model_type:
            raise ValueError(f"{config.__name__}.model_type is '{config.model_type}', not '{model_type}'.")
        CONFIG_MAPPING[model_type] = config

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Read a checkpoint's configuration; an adapter's folder gives its base's, with the adapter's LoRA fields.

        Args:
            pretrained_model_name_or_path: A folder, a ``config.json`` itself, or a hub id.
            **kwargs: See `PretrainedConfig.from_pretrained`; LoRA is switched on here: ``apply_lora=True, lora_r=8,
                lora_alpha=16``. ``base_model_name_or_path`` says where the base of an adapter is now.

        Returns:
            The configuration, or the pair with what no field took (``return_unused_kwargs=True``).

        Raises:
            OSError: If the model is not found.
            ValueError: If its model type is not part of this package, or a value is out of range.
        """
        from ...lora.adapter import adapter_config_overrides, base_options
        from ...lora.reading import is_adapter

        own_base = kwargs.pop("base_model_name_or_path", None)
        options, rest = split_hub_options(kwargs)
        if is_adapter(pretrained_model_name_or_path, **options):
            base, overrides = adapter_config_overrides(pretrained_model_name_or_path, own_base, **options)
            return cls.from_pretrained(base, **base_options(options), **{**overrides, **rest})
        config_dict, rest = PretrainedConfig.get_config_dict(pretrained_model_name_or_path, **kwargs)
        model_type = config_dict.get("model_type")
        if not isinstance(model_type, str):
            raise ValueError(
                f"The configuration of '{pretrained_model_name_or_path}' names no model_type; one of "
                f"{', '.join(MODEL_CLASSES)} was expected."
            )
        return CONFIG_MAPPING[model_type].from_dict(config_dict, **rest)
