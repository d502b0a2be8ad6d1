"""Auto classes: the model type in the configuration chooses the class."""

from __future__ import annotations

import os
from functools import partial
from typing import Any, ClassVar

from ...configuration_utils import PretrainedConfig
from ...modeling_utils import PreTrainedModel
from ...utils.hub import split_hub_options
from ...utils.lazy_names import LazyNames
from ..table import MODEL_TYPES, TASKS
from .configuration_auto import AutoConfig, ClassesByConfig, model_class

__getattr__ = LazyNames(globals(), {}).load  # says of 4.4.2's other names what to use

__all__ = [name for task in TASKS.values() for name in (task.auto_class, task.mapping)]


class _AutoModelBase:
    """What the Auto classes share; each names its task in the table."""

    task: ClassVar[str] = ""

    def __init__(self) -> None:
        name = type(self).__name__
        raise TypeError(f"{name} is not made itself; call {name}.from_pretrained(name) or {name}.from_config(config).")

    @classmethod
    def from_config(cls, config: PretrainedConfig, **kwargs: Any) -> Any:
        """Make a model with new weights.

        Raises:
            ValueError: If the configuration's model type has no class for this task.
        """
        return model_class(config.model_type, cls.task)(config, **kwargs)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *model_args: Any, **kwargs: Any
    ) -> Any:
        """Load a model; arguments, result and errors as of `PreTrainedModel.from_pretrained`."""
        config = kwargs.get("config")
        if not isinstance(config, PretrainedConfig):
            options, rest = split_hub_options(kwargs)
            where = config if config is not None else pretrained_model_name_or_path
            base = rest.get("base_model_name_or_path")
            config = AutoConfig.from_pretrained(where, base_model_name_or_path=base, **options)
        found: type[PreTrainedModel] = model_class(config.model_type, cls.task)
        return found.from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)


def _auto_class(task: str) -> type[_AutoModelBase]:
    """Make the Auto class of a task."""
    name, _, purpose = TASKS[task]
    doc = f"{purpose} of any model type: ``{name}.from_pretrained(name)``."
    return type(name, (_AutoModelBase,), {"task": task, "__doc__": doc, "__module__": __name__})


def _by_config(task: str) -> ClassesByConfig:
    """Show the table's classes of one task by their configurations."""
    model_types = [model_type for model_type, classes in MODEL_TYPES.items() if task in classes]
    return ClassesByConfig(model_types, partial(model_class, task=task))


# The Auto classes, and 4.4.2's names for scripts that list which model types there are.
for _task, _names in TASKS.items():
    globals()[_names.auto_class] = _auto_class(_task)
    globals()[_names.mapping] = _by_config(_task)
