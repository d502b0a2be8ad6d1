"""The base class of all models: made from a configuration, read from and written to a folder or the hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from .bitfit import accept_fp32_biases
from .configuration_utils import PretrainedConfig, split_hub_options
from .load_report import LoadReport, match_state_dict
from .lora.layers import init_lora_parameter
from .lora.metadata import hash_base
from .lora.mixing import MixedBatchMixin
from .trainable import cast_frozen_parameters, mark_trainable
from .utils import logging
from .utils.generic import ModelOutput
from .weights import load_weights, save_weights

__all__ = ["PreTrainedModel", "resized_parameter", "unwrap_model"]

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
    "quantization_config": None,
}


class PreTrainedModel(MixedBatchMixin, nn.Module):
    """A model with a configuration that can be loaded and saved.

    Subclasses name their ``config_class`` and ``base_model_prefix``, build their layers in ``__init__`` and end it
    with ``self.post_init()``.

    Args:
        config: The model's configuration.

    Raises:
        TypeError: If ``config`` is no `PretrainedConfig`.
    """

    config_class: ClassVar[type[PretrainedConfig]] = PretrainedConfig
    base_model_prefix: ClassVar[str] = ""
    main_input_name: ClassVar[str] = "input_ids"
    supports_gradient_checkpointing: ClassVar[bool] = True

    def __init__(self, config: PretrainedConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__()
        if not isinstance(config, PretrainedConfig):
            raise TypeError(
                f"{type(self).__name__}(config) takes a configuration, not {type(config).__name__}; to load a saved "
                f"model call {type(self).__name__}.from_pretrained(name)."
            )
        self.config = config
        self.name_or_path = config.name_or_path
        self.base_hash: str | None = None  # of the base checkpoint's tensors, where it was loaded to stay frozen
        self.provided: dict[str, torch.dtype] | None = None  # what the base checkpoint had, and in which dtype
        self.gradient_checkpointing = False
        self._init_adapters()

    def post_init(self) -> None:
        """Give every parameter its starting value, tie what is tied, and choose what is trained."""
        if self.config.apply_bitfit:
            accept_fp32_biases(self.base_model)
        self.init_weights()
        mark_trainable(self)

    # Structure ------------------------------------------------------------------------------------------------

    @property
    def has_head(self) -> bool:
        """Whether the encoder is an attribute of this model, rather than the model itself."""
        return bool(self.base_model_prefix) and hasattr(self, self.base_model_prefix)

    @property
    def base_model(self) -> nn.Module:
        """The encoder: the attribute that ``base_model_prefix`` names, or the model itself."""
        return getattr(self, self.base_model_prefix) if self.has_head else self

    def is_base_parameter(self, name: str) -> bool:
        """Say whether a parameter belongs to the encoder, by its name."""
        return not self.has_head or name.startswith(f"{self.base_model_prefix}.")

    def tied_weights(self) -> dict[str, str]:
        """Name the parameters that are another's second name: alias to source."""
        return {}

    def tie_weights(self) -> None:
        """Let each alias of `tied_weights` be the very parameter of its source."""
        for alias, source in self.tied_weights().items():
            path, _, name = alias.rpartition(".")
            setattr(self.get_submodule(path), name, self.get_parameter(source))

    def get_input_embeddings(self) -> nn.Embedding:
        """Give the table of word embeddings. Shape of its weight: (V, D)."""
        embeddings: nn.Embedding = self.base_model.embeddings.word_embeddings  # type: ignore[union-attr,assignment]
        return embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the table of word embeddings, and what is tied to it."""
        self.base_model.embeddings.word_embeddings = value  # type: ignore[union-attr]
        self.tie_weights()

    def get_output_embeddings(self) -> nn.Module | None:
        """Give the layer that scores words; None for a model that scores none."""
        return None

    def resize_token_embeddings(self, new_num_tokens: int | None = None) -> nn.Embedding:
        """Make the vocabulary longer or shorter; new words get new embeddings.

        Args:
            new_num_tokens: Number of words; None changes nothing.

        Returns:
            The table of word embeddings.

        Raises:
            ValueError: If the vocabulary would lose its padding token.
        """
        old = self.get_input_embeddings()
        if new_num_tokens is None or new_num_tokens == old.num_embeddings:
            return old
        if new_num_tokens <= (old.padding_idx or 0):
            raise ValueError(
                f"new_num_tokens is {new_num_tokens}; more than the padding token's id, {old.padding_idx or 0}, was "
                "expected."
            )
        weight = old.weight
        new = nn.Embedding(
            new_num_tokens, old.embedding_dim, padding_idx=old.padding_idx, device=weight.device, dtype=weight.dtype
        )
        self._init_parameter(new, "weight", new.weight)
        kept = min(new_num_tokens, old.num_embeddings)
        with torch.no_grad():
            new.weight[:kept] = weight[:kept]
        new.weight.requires_grad_(weight.requires_grad)
        self.config.vocab_size = new_num_tokens
        self._resize_output(new_num_tokens)
        self.set_input_embeddings(new)
        return new

    def _resize_output(self, new_num_tokens: int) -> None:
        """Bring the layer that scores words to a new vocabulary; models that have one say how."""

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The encoder's dtype, in which it computes."""
        return next(parameter.dtype for parameter in self.base_model.parameters() if parameter.is_floating_point())

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Count the model's values.

        Args:
            only_trainable: Count those with a gradient only.
            exclude_embeddings: Leave the embedding tables out.
        """
        tables: set[int] = set()
        if exclude_embeddings:
            tables = {id(module.weight) for module in self.modules() if isinstance(module, nn.Embedding)}
        return sum(
            parameter.numel()
            for parameter in self.parameters()
            if id(parameter) not in tables and (parameter.requires_grad or not only_trainable)
        )

    # Starting values ------------------------------------------------------------------------------------------

    def init_weights(self) -> None:
        """Give every parameter its starting value and tie what is tied."""
        for module in self.modules():
            for name, parameter in module.named_parameters(recurse=False):
                self._init_parameter(module, name, parameter)
        self.tie_weights()

    def _init_parameter(self, module: nn.Module, name: str, parameter: Tensor) -> None:
        """Fill one parameter in place: normal weights, zero biases, LayerNorm at identity, LoRA by its own rule."""
        if name in ("lora_A", "lora_B"):
            init_lora_parameter(name, parameter, self.config)
            return
        with torch.no_grad():
            if isinstance(module, nn.LayerNorm):
                parameter.fill_(1.0 if name == "weight" else 0.0)
            elif name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.normal_(0.0, self.config.initializer_range)
                if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                    parameter[module.padding_idx].zero_()

    # Memory and precision -------------------------------------------------------------------------------------

    def cast_frozen_parameters(self, dtype: torch.dtype) -> None:
        """Store every frozen parameter in ``dtype``, in place; see `transformers.trainable`."""
        cast_frozen_parameters(self, dtype)

    def _returned(self, output: ModelOutput, return_dict: bool | None) -> Any:
        """Give an output as the caller, or else the configuration, wants it: whole, or as a tuple of what is there."""
        wants_dict = self.config.return_dict if return_dict is None else return_dict
        return output if wants_dict else output.to_tuple()

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether layers recompute their activations in the backward pass."""
        return any(getattr(module, "gradient_checkpointing", False) for module in self.modules())

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """Keep only each layer's input in training and recompute the rest in the backward pass.

        Args:
            gradient_checkpointing_kwargs: Accepted for upstream's sake; ``use_reentrant`` is always False here.
        """
        self._set_gradient_checkpointing(True)

    def gradient_checkpointing_disable(self) -> None:
        """Keep all activations in training again."""
        self._set_gradient_checkpointing(False)

    def _set_gradient_checkpointing(self, value: bool) -> None:
        for module in self.modules():
            if hasattr(module, "gradient_checkpointing"):
                module.gradient_checkpointing = value  # type: ignore[assignment]

    # Loading and saving ---------------------------------------------------------------------------------------

    @classmethod
    def from_config(cls: type[ModelType], config: PretrainedConfig, **kwargs: Any) -> ModelType:
        """Make a model with new weights."""
        return cls(config, **kwargs)

    @classmethod
    def from_pretrained(
        cls: type[ModelType], pretrained_model_name_or_path: str | os.PathLike[str], *model_args: Any, **kwargs: Any
    ) -> ModelType | tuple[ModelType, dict[str, list[object]]]:
        """Load a model from a folder or the hub. It comes in evaluation mode.

        No weight is first made at random and then overwritten: parameters that the checkpoint lacks, and only
        those, get new values.

        Args:
            pretrained_model_name_or_path: A folder, or a hub id; also an adapter's folder, which names its base.
            *model_args: Further arguments of the model's class.
            **kwargs: ``config`` (a configuration, else the checkpoint's own with the remaining keywords over it);
                ``state_dict`` (tensors instead of the files'); ``dtype`` or ``torch_dtype`` (a torch dtype, its name,
                or ``"auto"`` for the file's; fp32 otherwise. Beside a frozen base the trained part stays fp32);
                ``ignore_mismatched_sizes``; ``output_loading_info`` (return a pair with the loading report); and the
                options of `transformers.hub.cached_file`.

        Returns:
            The model, or the pair of model and report.

        Raises:
            OSError: If the model is not found or not reachable.
            ValueError: If the checkpoint does not fit the configuration, or a value is out of range.
        """
        from .lora.adapter import load_with_adapter
        from .lora.reading import is_adapter

        _refuse_foreign_options(kwargs)
        options, rest = split_hub_options(kwargs)
        if "state_dict" not in rest and is_adapter(pretrained_model_name_or_path, **options):
            return load_with_adapter(cls, pretrained_model_name_or_path, **kwargs)  # type: ignore[return-value]
        ignore_mismatched_sizes = rest.pop("ignore_mismatched_sizes", False)
        output_loading_info = rest.pop("output_loading_info", False)
        legacy_dtype = rest.pop("torch_dtype", None)
        dtype = _dtype(rest.pop("dtype", legacy_dtype))
        state_dict = rest.pop("state_dict", None)
        config = rest.pop("config", None)
        if not isinstance(config, PretrainedConfig):
            where = config if config is not None else pretrained_model_name_or_path
            config, rest = cls.config_class.from_pretrained(  # type: ignore[misc]
                where, return_unused_kwargs=True, **options, **rest
            )
        if state_dict is None:
            state_dict = load_weights(pretrained_model_name_or_path, **options)
        else:  # the model's parameters are its own, not the caller's tensors
            state_dict = {name: tensor.detach().clone() for name, tensor in state_dict.items()}
        with torch.device("meta"):
            model = cls(config, *model_args, **rest)
        source = os.fspath(pretrained_model_name_or_path)
        report = model._fill(state_dict, source, dtype, ignore_mismatched_sizes)
        model.name_or_path = config.name_or_path = source
        if config.adapter_path is not None:
            from .adapterhub import start_from_bottleneck

            logger.info("%s", start_from_bottleneck(model, config.adapter_path))
        model.eval()
        return (model, report.to_dict()) if output_loading_info else model

    def _fill(
        self,
        state_dict: dict[str, Tensor],
        source: str,
        dtype: torch.dtype | str | None,
        ignore_mismatched_sizes: bool,
    ) -> LoadReport:
        """Put a checkpoint's tensors into a model without storage, and new values where it has none."""
        fitting, report = match_state_dict(self, state_dict)
        report.check(source, ignore_mismatched_sizes)
        self.provided = {name: tensor.dtype for name, tensor in fitting.items()}
        mark_trainable(self, self.provided)
        expected = dict(self.named_parameters())
        tensors = {
            name: tensor.to(self._storage_dtype(expected[name], tensor, dtype)) for name, tensor in fitting.items()
        }
        loses = any(tensor.dtype.itemsize < fitting[name].dtype.itemsize for name, tensor in tensors.items())
        if self.config.freezes_base or loses:  # an adapter will want to know, or the values will be gone
            self.base_hash = hash_base(self, fitting)
        self.load_state_dict(tensors, strict=False, assign=True)
        self._materialise(dtype)
        self.tie_weights()
        report.log(source)
        return report

    def _storage_dtype(
        self, parameter: nn.Parameter, tensor: Tensor | None, dtype: torch.dtype | str | None
    ) -> torch.dtype:
        """Choose a parameter's dtype: what was asked for, save that beside a frozen base the trained stay fp32."""
        if dtype is None or (self.config.freezes_base and parameter.requires_grad):
            return torch.get_default_dtype()
        if isinstance(dtype, torch.dtype):
            return dtype
        return tensor.dtype if tensor is not None else self.dtype

    def _materialise(self, dtype: torch.dtype | str | None) -> None:
        """Give storage and a starting value to the parameters that the checkpoint did not fill."""
        aliases = self.tied_weights()
        for path, module in self.named_modules():
            for name, parameter in module.named_parameters(recurse=False):
                if not parameter.is_meta or f"{path}.{name}" in aliases:
                    continue
                empty = torch.empty(parameter.shape, dtype=self._storage_dtype(parameter, None, dtype))
                self._init_parameter(module, name, empty)
                setattr(module, name, nn.Parameter(empty, requires_grad=parameter.requires_grad))

    def save_adapter(self, folder: str | os.PathLike[str], *, tokenizer: Any = None) -> None:
        """Write what a run on a frozen base trained, a few megabytes; see `transformers.lora.adapter.save_adapter`."""
        from .lora.adapter import save_adapter

        save_adapter(self, folder, tokenizer=tokenizer)

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
            save_config: Write ``config.json`` too.
            state_dict: Write these tensors instead of the model's own.
            safe_serialization: Write safetensors; the legacy ``pytorch_model.bin`` otherwise.
            max_shard_size: Size of a file, such as ``"5GB"``.
            **kwargs: ``save_function``, ``push_to_hub=False`` and such of upstream's, without effect.

        Raises:
            OSError: If ``save_directory`` is a file, or cannot be written.
            ValueError: If ``push_to_hub`` is asked for.
        """
        if kwargs.get("push_to_hub"):
            raise ValueError(
                "push_to_hub is not part of this package; upload the saved folder: hf upload NAME FOLDER."
            )
        folder = Path(save_directory)
        if folder.is_file():
            raise OSError(f"'{folder}' is a file; a folder to save into was expected.")
        folder.mkdir(parents=True, exist_ok=True)
        if save_config:
            self.config.architectures = [type(self).__name__]
            self.config.dtype = str(self.dtype).removeprefix("torch.")
            self.config.save_pretrained(folder)
        tensors = self.state_dict() if state_dict is None else state_dict
        save_weights(
            tensors, folder, safe=safe_serialization, max_shard_size=max_shard_size, tied=list(self.tied_weights())
        )


def resized_parameter(parameter: nn.Parameter, rows: int) -> nn.Parameter:
    """Make a parameter longer or shorter along its first dimension, with zeros where it is new."""
    result = parameter.new_zeros((rows, *parameter.shape[1:]))
    kept = min(rows, parameter.shape[0])
    result[:kept] = parameter.detach()[:kept]
    return nn.Parameter(result, requires_grad=parameter.requires_grad)


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
