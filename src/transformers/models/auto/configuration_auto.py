"""`AutoConfig`, and the classes of `transformers.models.table` by model type or by configuration."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from ...configuration.labels import drop_other_labels
from ...configuration_utils import PretrainedConfig
from ...utils.hub import split_hub_options
from ...utils.lazy_names import LazyNames
from ..table import MODEL_TYPES, module_of

__getattr__ = LazyNames(globals(), {}).load  # says of 4.4.2's other names what to use

__all__ = ["CONFIG_MAPPING", "AutoConfig", "ClassesByConfig", "ConfigMapping", "model_class"]


def model_class(model_type: str, task: str) -> Any:
    """Import and give one class of the table.

    Args:
        model_type: As in ``config.json``.
        task: A key of the table's rows.

    Raises:
        ValueError: If the model type or the task is not in the table.
    """
    if model_type not in MODEL_TYPES:
        raise ValueError(
            f"Model type '{model_type}' is not part of this package, which holds {', '.join(MODEL_TYPES)}: the "
            "types with LoRA inside. A BERT checkpoint can be converted: see "
            "`python -m transformers.models.roberta.convert_bert_to_roberta --help`."
        )
    if task not in MODEL_TYPES[model_type]:
        raise ValueError(f"Model type '{model_type}' has no class for '{task}'.")
    module = module_of(model_type, "configuration" if task == "config" else "modeling")
    return getattr(importlib.import_module(f"..{module}", __package__), MODEL_TYPES[model_type][task])


class ConfigMapping(MutableMapping[str, type[PretrainedConfig]]):
    """Model type to configuration class: those of the table, imported when asked for, and those registered."""

    def __init__(self) -> None:
        self._registered: dict[str, type[PretrainedConfig]] = {}

    def __getitem__(self, model_type: str) -> type[PretrainedConfig]:
        if model_type in self._registered:
            return self._registered[model_type]
        if model_type not in MODEL_TYPES:
            raise KeyError(model_type)
        config_class: type[PretrainedConfig] = model_class(model_type, "config")
        return config_class

    def __setitem__(self, model_type: str, config_class: type[PretrainedConfig]) -> None:
        self._registered[model_type] = config_class

    def __delitem__(self, model_type: str) -> None:
        del self._registered[model_type]

    def __iter__(self) -> Iterator[str]:
        return iter({**MODEL_TYPES, **self._registered})

    def __len__(self) -> int:
        return len({**MODEL_TYPES, **self._registered})

    def __contains__(self, model_type: object) -> bool:
        return model_type in MODEL_TYPES or model_type in self._registered


CONFIG_MAPPING = ConfigMapping()


class ClassesByConfig(Mapping[type[PretrainedConfig], Any]):
    """Configuration class to what goes with it: a view of the table, imported when asked for.

    Args:
        model_types: The model types that it holds.
        load: Gives what goes with a model type.
    """

    def __init__(self, model_types: Sequence[str], load: Callable[[str], Any]) -> None:
        self._model_types = model_types
        self._load = load

    def __getitem__(self, config_class: type[PretrainedConfig]) -> Any:
        for model_type in self._model_types:
            if CONFIG_MAPPING[model_type] is config_class:
                return self._load(model_type)
        raise KeyError(config_class)

    def __iter__(self) -> Iterator[type[PretrainedConfig]]:
        return (CONFIG_MAPPING[model_type] for model_type in self._model_types)

    def __len__(self) -> int:
        return len(self._model_types)


def _config_class(model_type: str) -> type[PretrainedConfig]:
    """Give the configuration class of a model type, or say which model types there are."""
    found: type[PretrainedConfig] | None = CONFIG_MAPPING.get(model_type)
    return model_class(model_type, "config") if found is None else found


class AutoConfig:
    """Makes the configuration of whatever model type a checkpoint has."""

    def __init__(self) -> None:
        raise TypeError("AutoConfig is not made itself; call AutoConfig.from_pretrained(name) or .for_model(type).")

    @classmethod
    def for_model(cls, model_type: str, **kwargs: Any) -> PretrainedConfig:
        """Make a configuration from a model type and field values.

        Args:
            model_type: Such as ``"roberta"``.
            **kwargs: Fields of that type's configuration.

        Raises:
            ValueError: If the model type is unknown, or a value out of range.
        """
        return _config_class(model_type)(**kwargs)

    @classmethod
    def register(cls, model_type: str, config: type[PretrainedConfig]) -> None:
        """Let `from_pretrained` know one more model type.

        Args:
            model_type: Its name, as ``config.json`` will state it.
            config: Its class.

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
        from ...adapters.folder import adapter_config_overrides, base_options
        from ...adapters.reading import is_adapter

        own_base = kwargs.pop("base_model_name_or_path", None)
        options, rest = split_hub_options(kwargs)
        if is_adapter(pretrained_model_name_or_path, **options):
            base, overrides = adapter_config_overrides(pretrained_model_name_or_path, own_base, **options)
            drop_other_labels(overrides, rest)
            try:
                return cls._of_model(base, **base_options(options), **{**overrides, **rest})
            except OSError as error:
                raise OSError(
                    f"The adapter '{os.fspath(pretrained_model_name_or_path)}' belongs to the base '{base}', which "
                    f"cannot be loaded: {error} If it has moved, pass base_model_name_or_path=…, or correct that "
                    "entry of the adapter's adapter_config.json."
                ) from error
        return cls._of_model(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def _of_model(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Read the configuration of a whole model, whatever lies beside it."""
        config_dict, rest = PretrainedConfig.get_config_dict(pretrained_model_name_or_path, **kwargs)
        model_type = config_dict.get("model_type")
        if not isinstance(model_type, str):
            raise ValueError(
                f"The configuration of '{pretrained_model_name_or_path}' names no model_type; one of "
                f"{', '.join(MODEL_TYPES)} was expected."
            )
        return _config_class(model_type).from_dict(config_dict, **rest)
