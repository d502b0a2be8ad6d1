"""The base class of all models: made from a configuration, read from and written to a folder or the hub."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from .adapters.card import write_model_card
from .adapters.folder import load_with_adapter
from .adapters.methods import AdapterMethods
from .adapters.reading import is_adapter
from .adapters.saving import refuse_adapter_in, save_adapter
from .adapters.state import AdapterState
from .base.record import BaseRecord
from .base.sharing import shared_bases
from .configuration.quantization import BitsAndBytesConfig, take_quantization
from .configuration_utils import PretrainedConfig
from .layers.quantized import number_of_values
from .methods.bitfit import accept_fp32_biases
from .methods.lora.places import place_lora
from .methods.trainable import cast_frozen_parameters, mark_trainable, trains_beside_weights
from .modeling.initialization import init_module
from .modeling.loading import fill_model, storage_for
from .modeling.module_utils import ModuleUtilsMixin
from .modeling.token_embeddings import resized_parameter
from .modeling.weights import load_weights, save_weights
from .utils import logging
from .utils.generic import ModelOutput
from .utils.hub import split_hub_options
from .utils.hub_upload import PushToHubMixin, pushing
from .utils.lazy_names import LazyNames
from .utils.remembered_hashes import ReadFiles

_LAZY = LazyNames(
    globals(),
    {
        ".compatibility.model_parts": (
            "apply_chunking_to_forward",
            "find_pruneable_heads_and_indices",
            "get_parameter_device",
            "get_parameter_dtype",
            "prune_layer",
            "prune_linear_layer",
        ),
    },
)
__getattr__ = _LAZY.load  # names that models copied from 4.4.2 import from here

__all__ = ["ModuleUtilsMixin", "PreTrainedModel", "in_dtype_of", "resized_parameter", "unwrap_model"]

logger = logging.get_logger(__name__)

ModelType = TypeVar("ModelType", bound="PreTrainedModel")

# Arguments of upstream's from_pretrained whose only possible value here is the one that changes nothing.
_WITHOUT_EFFECT = {
    "from_tf": False,
    "from_flax": False,
    "mirror": None,
    "low_cpu_mem_usage": None,
    "use_safetensors": None,
    "trust_remote_code": False,
    "device_map": None,
    "attn_implementation": None,
}


class PreTrainedModel(AdapterMethods, ModuleUtilsMixin, PushToHubMixin):
    """A model with a configuration that can be loaded and saved.

    Subclasses name their ``config_class`` and ``base_model_prefix``, build their layers in ``__init__`` and end it
    with ``self.post_init()``, or with ``self.init_weights()`` as in 4.4.2. They may name regular expressions:
    of keys that may be missing in a checkpoint or unexpected there without a word, and of keys not to save.

    Args:
        config: The model's configuration.
        *inputs: For subclasses of one's own; without effect.
        **kwargs: Likewise.

    Raises:
        TypeError: If ``config`` is no `PretrainedConfig`.
    """

    config_class: ClassVar[type[PretrainedConfig]] = PretrainedConfig
    main_input_name: ClassVar[str] = "input_ids"
    supports_gradient_checkpointing: ClassVar[bool] = True
    _keys_to_ignore_on_save: ClassVar[list[str] | None] = None

    def __init__(self, config: PretrainedConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__()
        if not isinstance(config, PretrainedConfig):
            raise TypeError(
                f"{type(self).__name__}(config) takes a configuration, not {type(config).__name__}; to load a saved "
                f"model call {type(self).__name__}.from_pretrained(name)."
            )
        self.config = config
        self.name_or_path = config.name_or_path
        self.base_record = BaseRecord()
        self.adapter_state = AdapterState()
        self._initialized = False

    def post_init(self) -> None:
        """Give every parameter its starting value, tie what is tied, and choose what is trained."""
        place_lora(self)
        if trains_beside_weights(self.config):
            accept_fp32_biases(self.base_model)
        self.init_weights()
        if self.config.freezes_base:
            mark_trainable(self)

    def untie_word_embeddings(self) -> None:
        """Part the word embeddings from the layer that scores words, because their values are about to differ.

        Raises:
            ValueError: If the model scores words with the embeddings themselves.
        """
        table, output = self.get_input_embeddings(), self.get_output_embeddings()
        if output is table:
            raise ValueError(
                f"{type(self).__name__} with legacy=False scores words with the word embeddings themselves, so LoRA "
                "in them cannot be folded into a plain model. Serve the adapter itself, or merge_adapter() in memory."
            )
        if output is not None:
            self.config.tie_word_embeddings = False

    # Structure ------------------------------------------------------------------------------------------------

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Count the model's values.

        Args:
            only_trainable: Count those with a gradient only.
            exclude_embeddings: Leave the embedding tables out.
        """
        tables: set[int] = set()
        if exclude_embeddings:
            tables = {id(module.weight) for module in self.modules() if isinstance(module, nn.Embedding)}
        return number_of_values(
            self, lambda each: id(each) not in tables and (each.requires_grad or not only_trainable)
        )

    # Starting values ------------------------------------------------------------------------------------------

    def init_weights(self) -> None:
        """Give linear layers, embeddings and LayerNorms their starting values, and tie what is tied.

        A constructor ends with this, or with `post_init`; called again it starts the model anew. An inner model that
        was loaded by itself keeps its values always, one that started itself by the same rule does the first time.
        """
        self._init_modules(self)
        self._initialized = True
        self.tie_weights()

    def _init_modules(self, module: nn.Module) -> None:
        for child in module.children():
            if not self._keeps_values(child):
                self._init_modules(child)
        self._init_weights(module)

    def _keeps_values(self, child: nn.Module) -> bool:
        if not isinstance(child, PreTrainedModel):
            return False
        same_rule = type(child)._init_weights is type(self)._init_weights
        return child.base_record.dtypes is not None or (child._initialized and same_rule and not self._initialized)

    def _init_weights(self, module: nn.Module) -> None:
        """Give one module's own parameters their starting values; a class may have a rule of its own.

        4.4.2's hook, so that ``model.apply(model._init_weights)`` works. See `transformers.modeling.initialization`.
        """
        init_module(module, self.config)

    # Memory and precision -------------------------------------------------------------------------------------

    def cast_frozen_parameters(self, dtype: torch.dtype) -> None:
        """Store every frozen parameter in ``dtype``, in place; see `transformers.methods.trainable`."""
        cast_frozen_parameters(self, dtype)

    def _returned(self, output: ModelOutput, return_dict: bool | None) -> Any:
        """Give an output as the caller, or else the configuration, wants it: whole, or as a tuple of what is there."""
        wants_dict = self.config.use_return_dict if return_dict is None else return_dict
        return output if wants_dict else output.to_tuple()

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether layers recompute their activations in the backward pass."""
        asked = getattr(self.config, "gradient_checkpointing", False)  # 4.4.2's switch
        return asked or any(getattr(module, "gradient_checkpointing", False) for module in self.modules())

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """Keep only each layer's input in training and recompute the rest in the backward pass.

        Args:
            gradient_checkpointing_kwargs: Accepted for upstream's sake; ``use_reentrant`` is always False here.
        """
        self._set_gradient_checkpointing(True)

    def gradient_checkpointing_disable(self) -> None:
        """Keep all activations in training again."""
        self.config.gradient_checkpointing = False
        self._set_gradient_checkpointing(False)

    def _set_gradient_checkpointing(self, value: bool) -> None:
        for module in self.modules():
            if hasattr(module, "gradient_checkpointing"):
                module.gradient_checkpointing = value  # type: ignore[assignment]

    # Loading and saving ---------------------------------------------------------------------------------------

    @classmethod
    def from_config(cls: type[ModelType], config: PretrainedConfig, **kwargs: Any) -> ModelType:
        """Make a model with new weights.

        Args:
            config: Its configuration.
            **kwargs: What else the class takes.
        """
        return cls(config, **kwargs)

    @classmethod
    def from_pretrained(
        cls: type[ModelType],
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: Any,
        **kwargs: Any,
    ) -> ModelType | tuple[ModelType, dict[str, list[object]]]:
        """Load a model from a folder or the hub. It comes in evaluation mode.

        No weight is first made at random and then overwritten: parameters that the checkpoint lacks, and only
        those, get new values. A class from elsewhere keeps what its constructor gave them: see
        `transformers.modeling.loading`.

        Args:
            pretrained_model_name_or_path: A folder, or a hub id; also an adapter's folder, which names its base; a
                file of tensors beside ``config``; None where ``config`` and ``state_dict`` are given.
            *model_args: Further arguments of the model's class.
            **kwargs: ``config`` (a configuration, else the checkpoint's own with the remaining keywords over it);
                ``state_dict`` (tensors instead of the files'); ``dtype`` or ``torch_dtype`` (a torch dtype, its name,
                or ``"auto"`` for the file's; fp32 otherwise. Beside a frozen base the trained part stays fp32);
                ``ignore_mismatched_sizes``; ``output_loading_info`` (return a pair with the loading report); for an
                adapter ``base_model_name_or_path``, and ``is_trainable`` and ``allow_other_base`` as of
                `load_adapter`; ``load_in_4bit``, ``load_in_8bit`` or ``quantization_config`` (a
                `transformers.BitsAndBytesConfig`) to keep the encoder's linear layers in few bits; and the options of
                `transformers.utils.hub.cached_file`.

        Returns:
            The model, or the pair of model and report.

        Raises:
            OSError: If the model is not found or not reachable.
            ValueError: If the checkpoint does not fit the configuration, or a value is out of range; also a
                `RuntimeError`, as in 4.4.2, where shapes differ.
        """
        _refuse_foreign_options(kwargs)
        kwargs["quantization"] = take_quantization(kwargs)
        options, _ = split_hub_options(kwargs)
        where = pretrained_model_name_or_path or ""
        state_dict = kwargs.get("state_dict")
        if not where and (state_dict is None or not isinstance(kwargs.get("config"), PretrainedConfig)):
            raise ValueError("Without a name or folder both config=… and state_dict=… are needed.")
        if state_dict is None and is_adapter(where, **options):
            return load_with_adapter(cls._from_checkpoint, cls.config_class, where, *model_args, **kwargs)
        return cls._from_checkpoint(where, *model_args, **kwargs)

    @classmethod
    def _from_checkpoint(
        cls: type[ModelType],
        where: str | os.PathLike[str],
        *model_args: Any,
        coming: Collection[str] = (),
        quantization: BitsAndBytesConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Load a whole model, whatever lies beside it; ``coming`` are parameters that an adapter will bring."""
        options, rest = split_hub_options(kwargs)
        state_dict, config = rest.pop("state_dict", None), rest.pop("config", None)
        ignore_mismatched_sizes = rest.pop("ignore_mismatched_sizes", False)
        output_loading_info = rest.pop("output_loading_info", False)
        legacy_dtype = rest.pop("torch_dtype", None)
        dtype = _dtype(rest.pop("dtype", legacy_dtype))
        if not isinstance(config, PretrainedConfig):
            config, rest = cls.config_class.from_pretrained(  # type: ignore[misc]
                where if config is None else config, return_unused_kwargs=True, **options, **rest
            )
        if getattr(config, "quantization_config", None):
            raise ValueError(
                f"'{where}' holds weights that were saved in few bits (quantization_config in its config.json), which "
                "this package does not read. Load the model that it was made of, with load_in_4bit or load_in_8bit."
            )
        files = ReadFiles()
        if state_dict is None:
            apart = quantization is not None
            state_dict = load_weights(where, each_by_itself=apart, shared=shared_bases(), files=files, **options)
        else:  # the model's parameters are its own, not the caller's tensors
            state_dict = {name: tensor.detach().clone() for name, tensor in state_dict.items()}
        with storage_for(cls):
            model = cls(config, *model_args, **rest)
        model._initialized = True  # so that init_weights() from here on means all of it
        model._prepare_for(state_dict)
        source = os.fspath(where) or "state_dict"
        report = fill_model(model, state_dict, source, dtype, ignore_mismatched_sizes, coming, quantization, files)
        if where:
            model.name_or_path = config.name_or_path = source
        else:
            model.base_record.source = ""  # nobody else has it
        if config.adapter_path is not None:
            from .adapters.adapterhub import start_from_bottleneck

            logger.info("%s", start_from_bottleneck(model, config.adapter_path))
        model.eval()
        return (model, report.to_dict()) if output_loading_info else model

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        save_config: bool = True,
        state_dict: dict[str, Tensor] | None = None,
        *,
        safe_serialization: bool = True,
        max_shard_size: str = "5GB",
        **kwargs: Any,
    ) -> None:
        """Write the whole model: ``config.json`` and ``model.safetensors``, readable by upstream.

        A LoRA model is written with its matrices beside the untouched base weights; for the small adapter alone use
        `save_adapter`.

        Args:
            save_directory: A folder; made where it does not exist.
            save_config: Write ``config.json``, and the model card, too.
            state_dict: Write these tensors instead of the model's own.
            safe_serialization: Write safetensors; the legacy ``pytorch_model.bin`` otherwise.
            max_shard_size: Size of a file, such as ``"5GB"``.
            **kwargs: ``replaces_adapter=True`` where the caller takes an adapter in the folder away afterwards;
                ``push_to_hub=True`` to upload what was written, with ``repo_id``, ``private`` and the others of
                `transformers.utils.hub_upload.pushing`; ``save_function`` and such of upstream's, without effect.

        Raises:
            OSError: If ``save_directory`` is a file, or cannot be written; or the hub cannot be reached or refuses: it
                is saved then.
            ValueError: If the folder holds an adapter; or if the base is kept in 4 or 8 bits.
        """
        if self.is_quantized:
            raise ValueError(
                f"This model's base is kept in {self.quantization}, and no file of this package holds such weights: "
                "save_adapter() writes what was trained; dequantize() or merge_and_unload() gives a plain model."
            )
        folder = Path(save_directory)
        if folder.is_file():
            raise OSError(f"'{folder}' is a file; a folder to save into was expected.")
        if not kwargs.get("replaces_adapter"):
            refuse_adapter_in(folder)
        with pushing(folder, kwargs) as repo_id:
            self._write_whole(folder, save_config, state_dict, safe_serialization, max_shard_size)
            if save_config and not kwargs.get("replaces_adapter"):  # whoever takes it away describes what is left
                write_model_card(self, folder, repo_id=repo_id)

    def _write_whole(
        self, folder: Path, save_config: bool, state_dict: Mapping[str, Tensor] | None, safe: bool, max_shard_size: str
    ) -> None:
        """Write configuration and weights into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        if save_config:
            self.config.architectures = [type(self).__name__]
            self.config.dtype = str(self.dtype).removeprefix("torch.")
            self.config.save_pretrained(folder)
        tensors = self.state_dict() if state_dict is None else state_dict
        left_out = self._keys_to_ignore_on_save or ()
        tensors = {
            name: tensor
            for name, tensor in tensors.items()
            if not any(re.fullmatch(pattern, name) for pattern in left_out)
        }
        save_weights(tensors, folder, safe=safe, max_shard_size=max_shard_size, tied=self.tied_on_loading())

    def _save_for_hub(
        self, folder: Path, repo_id: str, max_shard_size: int | str | None, tags: list[str] | None
    ) -> None:
        """Write what is uploaded: of a model on a frozen base its adapter, else the whole; and the card."""
        if self.config.freezes_base:
            save_adapter(self, folder)
        else:
            self._write_whole(folder, True, None, True, str(max_shard_size or "50GB"))
        write_model_card(self, folder, repo_id=repo_id, tags=tags or ())


def in_dtype_of(part: nn.Module, x: Tensor) -> Tensor:
    """Cast to the dtype of a part of a head, which may not be the encoder's; without parameters a part takes any."""
    dtype = next((each.dtype for each in part.parameters() if each.is_floating_point()), x.dtype)
    return x.to(dtype)


def unwrap_model(model: nn.Module) -> nn.Module:
    """Give the model inside DistributedDataParallel and its like."""
    while isinstance(getattr(model, "module", None), nn.Module):
        model = model.module  # type: ignore[assignment]
    return model


def _refuse_foreign_options(kwargs: dict[str, Any]) -> None:
    """Take upstream's options away that mean nothing here, and refuse them where they would mean something."""
    for name, neutral in _WITHOUT_EFFECT.items():
        value = kwargs.pop(name, neutral)
        if name in ("low_cpu_mem_usage", "use_safetensors", "attn_implementation"):
            continue  # loading is always lean, safetensors always preferred, attention always packed
        if value != neutral and value:
            raise ValueError(f"from_pretrained({name}={value!r}) is not part of this package.")


def _dtype(value: torch.dtype | str | None) -> torch.dtype | str | None:
    """Turn a dtype's name into the dtype; ``"auto"`` stays."""
    if value is None or value == "auto" or isinstance(value, torch.dtype):
        return value
    dtype = getattr(torch, str(value).removeprefix("torch."), None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"dtype is {value!r}; a torch dtype, its name (such as 'bfloat16') or 'auto' was expected.")
    return dtype
