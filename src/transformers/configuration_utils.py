"""The configuration of a model: read from and written to ``config.json``, LoRA fields checked once.

The LoRA switch is part of the configuration: ``apply_lora``, ``lora_r``, ``lora_alpha`` and ``lora_dropout`` go from
the command line through here to `transformers.methods.lora.layers.lora_linear`, which every attention layer calls. So
are the switches of bottleneck adapters (`transformers.methods.bottleneck`), BitFit and consistency training
(`transformers.methods.consistency`).
"""

from __future__ import annotations

import copy
import inspect
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from .configuration.checks import NEUTRAL_FIELDS, check_bottleneck, check_consistency, check_lora
from .configuration.fields import MethodFields
from .configuration.labels import drop_other_labels
from .configuration.lora_options import LORA_OPTIONS, check_lora_options, lora_scaling
from .configuration.shapes import COMMON, place_of
from .utils import logging
from .utils.hub import cached_file, split_hub_options
from .utils.hub_upload import PushToHubMixin, pushing
from .utils.json_files import load_json
from .utils.shapes import Record, shown
from .utils.writing import write_text
from .version import __version__

if TYPE_CHECKING:
    import torch

__all__ = ["CONFIG_NAME", "PretrainedConfig"]

logger = logging.get_logger(__name__)

CONFIG_NAME = "config.json"

# Dropouts that have a value always; those of other names may be None, which leaves the choice to the model.
_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "lora_dropout")

# What a class says of its model type, which no file changes.
_CLASS_FIELDS = ("field_shapes", "lora_initialization", "lora_targets", "takes_bottleneck_adapters")

ConfigType = TypeVar("ConfigType", bound="PretrainedConfig")


class PretrainedConfig(MethodFields, PushToHubMixin):
    """Base of all configurations: labels, output switches, special token ids and LoRA.

    Keyword arguments that no class knows are kept as attributes and written back, so that nothing of a foreign
    ``config.json`` is lost.

    Args:
        output_hidden_states: Return every layer's output.
        output_attentions: Return every layer's attention probabilities.
        return_dict: Return a `ModelOutput`; a tuple otherwise.
        tie_word_embeddings: Let the masked-LM head share the word embeddings.
        architectures: Class names that the checkpoint was made for.
        finetuning_task: The task's name, such as ``"mnli"``.
        num_labels: Number of classes; 1 is regression. Taken from ``id2label`` where that is given.
        id2label: Names of the classes by id, or a list of them; keys may be strings (JSON has no other).
        label2id: The reverse; made from ``id2label`` where it is not given.
        problem_type: See `transformers.layers.losses`; None means that labels decide.
        tokenizer_class: Name of the tokenizer's class.
        bos_token_id: Id of the token that begins a text.
        pad_token_id: Id of the padding token.
        eos_token_id: Id of the token that ends a text.
        sep_token_id: Id of the token between two texts.
        cls_token_id: Id of the token that stands for the whole text.
        unk_token_id: Id of the token for what is no word.
        apply_lora: Build LoRA layers at the places that the class names in `lora_targets`.
        lora_r: Rank of the update, a positive integer. Needed with ``apply_lora``.
        lora_alpha: Numerator of the scaling ``lora_alpha / lora_r`` (LoRA paper, section 4.1), positive. Needed with
            ``apply_lora``.
        lora_dropout: Dropout in front of ``lora_A``, in [0, 1).
        apply_adapter: Put bottleneck adapters into every layer.
        adapter_type: ``"houlsby"`` or ``"pfeiffer"``. Needed with ``apply_adapter``.
        adapter_size: Width of the bottleneck; the original offers 8, 16, 32 and 64. Needed with ``apply_adapter``.
        adapter_path: A folder of bottleneck adapters that ``from_pretrained`` starts from; not written back.
        apply_bitfit: Train the biases (BitFit: Ben Zaken et al., 2021).
        consistency: In training, compare two passes: ``"cutoff"`` or ``"rdrop"``; None for plain training, or for
            cutoff where ``reg_loss_wgt`` is above 0.
        reg_loss_wgt: Weight of that comparison, at least 0.
        masking_prob: Cutoff's share of tokens that the second pass sees as unknown, in [0, 1].
        cls_dropout: Dropout in the classification head; the model type's own default where None.
        dtype: The dtype that the weights were saved in, by name or a torch dtype (kept by name); ``torch_dtype`` is
            its older name.
        name_or_path: Where the configuration came from.
        **kwargs: Kept as attributes. Among them LoRA's options, from ``lora_target_modules`` to
            ``lora_plus_lr_ratio`` (`transformers.configuration.fields.MethodFields` describes each),
            ``gradient_checkpointing`` (recompute activations in training), ``torchscript`` (return tuples), and the
            other fields of `NEUTRAL_FIELDS`, which have 4.4.2's defaults.

    Raises:
        ValueError: If fields or labels contradict each other or are out of range.
    """

    field_shapes: ClassVar[Record] = Record(COMMON)
    """What the fields are; of a file's other fields all is kept."""

    gradient_checkpointing: bool
    torchscript: bool
    initializer_range: float
    hidden_size: int
    num_hidden_layers: int
    vocab_size: int
    dtype: str | None

    def __init__(
        self,
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool = True,
        tie_word_embeddings: bool = True,
        architectures: list[str] | None = None,
        finetuning_task: str | None = None,
        num_labels: int | None = None,
        id2label: dict[int, str] | dict[str, str] | list[str] | None = None,
        label2id: dict[str, int] | None = None,
        problem_type: str | None = None,
        tokenizer_class: str | None = None,
        bos_token_id: int | None = None,
        pad_token_id: int | None = None,
        eos_token_id: int | None = None,
        sep_token_id: int | None = None,
        cls_token_id: int | None = None,
        unk_token_id: int | None = None,
        apply_lora: bool = False,
        lora_r: int | None = None,
        lora_alpha: float | None = None,
        lora_dropout: float = 0.0,
        apply_adapter: bool = False,
        adapter_type: str | None = None,
        adapter_size: int | None = None,
        adapter_path: str | None = None,
        apply_bitfit: bool = False,
        consistency: str | None = None,
        reg_loss_wgt: float = 0.0,
        masking_prob: float = 0.0,
        cls_dropout: float | None = None,
        dtype: str | torch.dtype | None = None,
        name_or_path: str = "",
        **kwargs: Any,
    ) -> None:
        self.output_hidden_states = output_hidden_states
        self.output_attentions = output_attentions
        self.return_dict = return_dict
        self.tie_word_embeddings = tie_word_embeddings
        self.architectures = architectures
        self.finetuning_task = finetuning_task
        self.problem_type = problem_type
        self.tokenizer_class = tokenizer_class
        self.bos_token_id = bos_token_id
        self.pad_token_id = pad_token_id
        self.eos_token_id = eos_token_id
        self.sep_token_id = sep_token_id
        self.cls_token_id = cls_token_id
        self.unk_token_id = unk_token_id
        self.apply_lora = bool(apply_lora)
        self.lora_r = lora_r
        self.lora_alpha = _whole_where_possible(lora_alpha)
        self.lora_dropout = lora_dropout
        self.apply_adapter = bool(apply_adapter)
        self.adapter_type = adapter_type
        self.adapter_size = adapter_size
        self.adapter_path = adapter_path
        self.apply_bitfit = bool(apply_bitfit)
        self.consistency = consistency
        self.reg_loss_wgt = reg_loss_wgt
        self.masking_prob = masking_prob
        self.cls_dropout = cls_dropout
        older_dtype = kwargs.pop("torch_dtype", None)
        dtype = older_dtype if dtype is None else dtype
        self.dtype = None if dtype is None else str(dtype).removeprefix("torch.")
        older_name = kwargs.pop("_name_or_path", None)  # 4.4.2 writes it; where the file lies now counts more
        self.name_or_path = name_or_path or older_name or ""
        self._set_labels(num_labels, id2label, label2id)
        self._set_others(kwargs)
        self._check_dropouts()
        self._check_methods()
        self.check_fields()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field; one of NumPy's numbers becomes Python's, which the checks and JSON know."""
        is_numpys = type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0
        super().__setattr__(name, value.item() if is_numpys else value)

    def _set_others(self, fields: dict[str, Any]) -> None:
        """Keep what no class knows, and give the neutral fields that are not set their defaults."""
        neutral = copy.deepcopy({**LORA_OPTIONS, **NEUTRAL_FIELDS})
        unset = {name: value for name, value in neutral.items() if not hasattr(self, name)}
        for name, value in {**unset, **fields}.items():
            if name in ("model_type", "transformers_version"):  # the class and this package say these
                continue
            if _is_reserved(type(self), name):
                raise ValueError(
                    f"{name} is {shown(value)}, but it is a name of {type(self).__name__} itself: no field."
                )
            setattr(self, name, value)

    def check_fields(self) -> None:
        """Check the type and range of every field that the class describes.

        Raises:
            ValueError: Naming the field, its value, and what was expected.
        """
        for name, shape in self.field_shapes.fields.items():
            if name in vars(self):
                shape.check(vars(self)[name], name)

    def check_sizes(self, *names: str) -> None:
        """Check that fields are positive whole numbers.

        Raises:
            ValueError: If one is not; the message names it.
        """
        for name in names:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}; a positive whole number was expected.")

    def _check_dropouts(self) -> None:
        for name, value in vars(self).items():
            rate = name.endswith(("_dropout_prob", "_dropout")) and (value is not None or name in _DROPOUTS)
            if rate and (isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1):
                raise ValueError(f"{name} is {value!r}; a number from 0 up to, not including, 1 was expected.")

    def _check_methods(self) -> None:
        """Check what is trained and how."""
        check_lora_options(self)
        if self.apply_lora:
            self.check_lora()
        if self.apply_adapter:
            check_bottleneck(self)
        weight = self.reg_loss_wgt
        if self.consistency is None and isinstance(weight, (int, float)) and weight > 0:
            self.consistency = "cutoff"  # the original has no name for it, only the weight
        check_consistency(self)

    def check_lora(self) -> tuple[int, float]:
        """Check the LoRA fields; the options among them too.

        Returns:
            ``lora_r`` and ``lora_alpha``.

        Raises:
            ValueError: If the model type has no places for LoRA layers, or a field is missing or out of range.
        """
        check_lora_options(self)
        return check_lora(self)

    @property
    def _name_or_path(self) -> str:
        """``name_or_path`` under the name that 4.4.2's configurations keep it by."""
        return self.name_or_path

    @_name_or_path.setter
    def _name_or_path(self, value: str) -> None:
        self.name_or_path = value

    @property
    def use_return_dict(self) -> bool:
        """Whether models return a `ModelOutput`, as 4.4.2 asks it: ``torchscript`` wants tuples."""
        return self.return_dict and not self.torchscript

    @property
    def freezes_base(self) -> bool:
        """Whether a run trains a part only (LoRA, bottleneck adapters, biases) and leaves the rest as it was."""
        return self.apply_lora or self.apply_adapter or self.apply_bitfit

    @property
    def shares_position_query(self) -> bool:
        """Whether relative positions go through the query's projection (DeBERTa); LoRA there can mean two things."""
        return False

    @property
    def lora_scaling(self) -> float:
        """What ``B·A·x`` is multiplied by: ``lora_alpha / lora_r`` (LoRA paper, section 4.1), unless rank-stabilised.

        Raises:
            ValueError: If the configuration has no LoRA fields.
        """
        if self.lora_r is None or self.lora_alpha is None:
            raise ValueError("This configuration has no lora_r and lora_alpha, so there is no scaling.")
        return lora_scaling(self.lora_alpha, self.lora_r, self.lora_use_rslora)

    @classmethod
    def from_pretrained(
        cls: type[ConfigType], pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> ConfigType | tuple[ConfigType, dict[str, Any]]:
        """Read a model's ``config.json`` and put the caller's values over it.

        Args:
            pretrained_model_name_or_path: A folder, a ``config.json`` itself, or a hub id.
            **kwargs: Options of `transformers.utils.hub.cached_file`; values of configuration fields; and
                ``return_unused_kwargs=True`` for a pair of configuration and what no field took.

        Returns:
            The configuration, or the pair.

        Raises:
            OSError: If the model or its ``config.json`` is not found.
            ValueError: If the file is not JSON, or a value is out of range.
        """
        config_dict, kwargs = cls.get_config_dict(pretrained_model_name_or_path, **kwargs)
        found_type = config_dict.get("model_type")
        if cls.model_type and found_type and found_type != cls.model_type:
            logger.warning(
                "'%s' describes a '%s' model, but %s is for '%s'.",
                pretrained_model_name_or_path,
                found_type,
                cls.__name__,
                cls.model_type,
            )
        return cls.from_dict(config_dict, **kwargs)

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read a model's ``config.json`` as it stands.

        Args:
            pretrained_model_name_or_path: A folder, a ``config.json`` itself, or a hub id.
            **kwargs: Options of `transformers.utils.hub.cached_file`; others are handed back.

        Returns:
            The file's content, and the keyword arguments that were not for the hub.

        Raises:
            OSError: If there is no such file.
            ValueError: If it is not a JSON object.
        """
        options, rest = split_hub_options(kwargs)
        path: Path | None = Path(pretrained_model_name_or_path)
        if not Path(pretrained_model_name_or_path).is_file():
            path = cached_file(pretrained_model_name_or_path, CONFIG_NAME, **options)
        if path is None:
            raise OSError(
                f"'{pretrained_model_name_or_path}' holds no {CONFIG_NAME}; a folder or hub repository with a saved "
                "model was expected."
            )
        content: dict[str, Any] = load_json(path)
        content["name_or_path"] = str(pretrained_model_name_or_path)
        return content, rest

    @classmethod
    def from_dict(
        cls: type[ConfigType], config_dict: dict[str, Any], **kwargs: Any
    ) -> ConfigType | tuple[ConfigType, dict[str, Any]]:
        """Make a configuration from a mapping and the caller's values over it.

        Args:
            config_dict: As read from ``config.json``.
            **kwargs: Values of fields that the class or the mapping knows, and ``return_unused_kwargs``.

        Returns:
            The configuration; with ``return_unused_kwargs`` the pair with what no field took.

        Raises:
            ValueError: If a value is out of range.
        """
        return_unused = kwargs.pop("return_unused_kwargs", False)
        place = place_of(config_dict.get("name_or_path"))
        cls.field_shapes.check(config_dict, place)
        known = set(cls._defaults()) | set(config_dict) | {"num_labels"}
        overrides = {name: value for name, value in kwargs.items() if name in known}
        unused = {name: value for name, value in kwargs.items() if name not in known}
        content = copy.deepcopy(config_dict)
        drop_other_labels(content, overrides)
        config = cls._made_of(content, overrides, place)
        if return_unused:
            return config, unused
        if unused:
            logger.warning("%s has no field for %s: not used.", cls.__name__, ", ".join(sorted(unused)))
        return config

    @classmethod
    def _made_of(
        cls: type[ConfigType], content: dict[str, Any], overrides: dict[str, Any], place: str = ""
    ) -> ConfigType:
        """Make a configuration of a file's fields, and name the file where they contradict each other."""
        if "self" in content:
            raise ValueError(f"{place or 'The configuration'}: self is no name of a field.")
        try:
            return cls(**{**content, **overrides})
        except ValueError as error:
            if overrides or not place:
                raise
            raise ValueError(f"{place}: {error}") from error

    @classmethod
    def from_json_file(cls: type[ConfigType], json_file: str | os.PathLike[str]) -> ConfigType:
        """Read a configuration from a JSON file.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it is not a JSON object, or a value is out of range.
        """
        return cls._made_of(load_json(json_file, cls.field_shapes), {}, f"'{os.fspath(json_file)}'")

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as a mapping that JSON can hold."""
        content = copy.deepcopy(vars(self))
        content["model_type"] = self.model_type
        content["transformers_version"] = __version__
        return content

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        """Give all fields of a configuration that is made without arguments; the common ones where it needs some."""
        parameters = inspect.signature(cls).parameters.values()
        needed = any(
            parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            for parameter in parameters
        )
        return (PretrainedConfig() if needed else cls()).to_dict()

    def to_diff_dict(self) -> dict[str, Any]:
        """Give the fields that differ from the class's defaults, and those that identify the model."""
        defaults = self._defaults()
        always = {"model_type", "transformers_version", "vocab_size"}
        content = {
            name: value
            for name, value in self.to_dict().items()
            if name in always or name not in defaults or value != defaults[name]
        }
        for name in ("name_or_path", "adapter_path"):  # true of where it was made only
            content.pop(name, None)
        return content

    def to_json_string(self, use_diff: bool = True) -> str:
        """Give the configuration as JSON.

        Args:
            use_diff: Leave out what equals the class's defaults.
        """
        content = self.to_diff_dict() if use_diff else self.to_dict()
        return json.dumps(content, indent=2, sort_keys=True) + "\n"

    def to_json_file(self, json_file_path: str | os.PathLike[str], use_diff: bool = True) -> None:
        """Write the configuration to a file; see `to_json_string`.

        Args:
            json_file_path: The file, which is replaced where it exists.
            use_diff: Leave out what is as by default.
        """
        write_text(json_file_path, self.to_json_string(use_diff))

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """Write ``config.json`` into a folder, which is made where it does not exist.

        Args:
            save_directory: The folder.
            push_to_hub: Upload it too.
            **kwargs: Where to: those of `transformers.utils.hub_upload.pushing`, such as ``repo_id`` and ``private``.

        Raises:
            OSError: If ``save_directory`` is a file, or cannot be written; or the hub cannot be reached or refuses: it
                is saved then.
        """
        folder = Path(save_directory)
        if folder.is_file():
            raise OSError(f"'{folder}' is a file; a folder to save into was expected.")
        with pushing(folder, {"push_to_hub": push_to_hub, **kwargs}, strict=True):
            folder.mkdir(parents=True, exist_ok=True)
            self.to_json_file(folder / CONFIG_NAME)

    def update(self, config_dict: dict[str, Any]) -> None:
        """Set several fields.

        Raises:
            ValueError: If the fields then contradict each other.
        """
        for name, value in config_dict.items():
            setattr(self, name, value)
        self._check_methods()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PretrainedConfig) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"


def _is_reserved(config_class: type[PretrainedConfig], name: str) -> bool:
    """Say whether an attribute of an instance would hide a part of its class, such as a method."""
    if name.startswith("__"):
        return True
    owner = next((each for each in config_class.__mro__ if name in vars(each)), None)
    if owner is None:
        return False
    found = vars(owner)[name]
    if isinstance(found, property):
        return found.fset is None
    return callable(found) or isinstance(found, classmethod | staticmethod) or name in _CLASS_FIELDS


def _whole_where_possible(value: float | None) -> float | None:
    """Give 16 for 16.0, as a command line reads it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
