"""Putting a checkpoint's tensors into a model.

A model of this package is built without storage (on the ``meta`` device), so that no weight is first made at random
and then overwritten; what the checkpoint lacks, and that only, gets a new value. A class from elsewhere is built for
real: its constructor may compute with tensors, and what it made stays wherever the checkpoint has nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..base.record import hash_digests
from ..base.sharing import shared_bases
from ..configuration.quantization import BitsAndBytesConfig
from ..methods.lora.starts import start_lora_anew
from ..methods.trainable import added_parameter_names, mark_trainable
from ..utils.remembered_hashes import ReadFiles
from .initialization import init_parameter
from .load_report import LoadReport, match_state_dict, named_tensors
from .quantizing import quantize_layers
from .token_embeddings import VocabularyModel

__all__ = ["fill_model", "storage_for"]

_LARGEST_MISSING = 2**29  # bytes; a checkpoint of a few tensors is completed up to here
_PACKAGE = __name__.partition(".")[0] + "."


class _NothingToFill(TorchFunctionMode):
    """Lets the functions of `torch.nn.init` do nothing, as there is nothing to fill without storage.

    Torch's own way of doing nothing imports its compiler, which takes two seconds.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def _without_storage() -> Iterator[None]:
    with torch.device("meta"), _NothingToFill():
        yield


def storage_for(model_class: type[VocabularyModel]) -> AbstractContextManager[object]:
    """Give the context to build a model in that is about to be filled: without storage where the class is ours."""
    is_ours = model_class.__module__.startswith(_PACKAGE)
    return _without_storage() if is_ours else nullcontext()


def fill_model(
    model: VocabularyModel,
    state_dict: dict[str, Tensor],
    source: str,
    dtype: torch.dtype | str | None = None,
    ignore_mismatched_sizes: bool = False,
    coming: Collection[str] = (),
    quantization: BitsAndBytesConfig | None = None,
    files: ReadFiles | None = None,
) -> LoadReport:
    """Put a checkpoint's tensors into a model.

    Args:
        model: Built under `storage_for`.
        state_dict: The checkpoint under its own names; its tensors become the model's.
        source: Where it came from, for messages.
        dtype: What to store in: a torch dtype, ``"auto"`` for the checkpoint's, None for the model's own. Beside a
            frozen base the trained part keeps the model's own.
        ignore_mismatched_sizes: Let mis-shaped tensors start with new values.
        coming: Names of parameters that an adapter will bring, so that nobody need train them.
        quantization: How the encoder's linear layers are to be kept in few bits; None for as they are. The memory of
            their weights in ``state_dict`` is then freed.
        files: Where ``state_dict`` was read from; the base's hash may be remembered with them.

    Returns:
        What was loaded and what was not.

    Raises:
        ValueError: If the checkpoint does not fit.
    """
    fitting, report = match_state_dict(model, state_dict)
    report.check(source, ignore_mismatched_sizes)
    own, _ = named_tensors(model)
    _check_missing(own, [*report.missing_base, *report.missing_adapter], state_dict, source)
    provided = {name: tensor for name, tensor in fitting.items() if isinstance(own[name], nn.Parameter)}
    added = added_parameter_names(model)
    record = model.base_record
    record.dtypes = {name: tensor.dtype for name, tensor in provided.items() if name not in added}
    record.source = source
    if model.config.freezes_base:
        mark_trainable(model)
    shared = shared_bases()
    if shared is not None:
        fitting = shared.apart(fitting, {name: own[name].requires_grad for name in fitting})
    dtypes = _storage_dtypes(model, own, fitting, dtype, added)
    sha256 = _hash_and_quantize(model, fitting, dtypes, quantization, files if shared is None else None)
    own = {name: tensor for name, tensor in own.items() if name in fitting or name not in provided}
    if any(tensor.is_meta for tensor in own.values()):
        tensors = {name: tensor.to(dtypes[name]) for name, tensor in fitting.items()}
        model.load_state_dict(tensors, strict=False, assign=True)
        _start_missing(model, dtypes)
    else:
        for name, tensor in own.items():  # in place: the constructor may have tied one to another
            tensor.data = fitting.get(name, tensor.detach()).to(tensor.device, dtypes[name])
        start_lora_anew(model, model.config, given=fitting)
    model.tie_weights()
    if model.config.freezes_base:  # biases may be unfrozen by hand later, as loralib's users do
        names = (name for name, p in model.named_parameters() if p.requires_grad or name.endswith(".bias"))
        model.keep_base_values(names)
    if sha256 is not None:
        record.settle(sha256, model.base_tensors())
    report.log(source, without={*coming, *(name.removeprefix(f"{model.base_model_prefix}.") for name in coming)})
    return report


def _hash_and_quantize(
    model: VocabularyModel,
    fitting: dict[str, Tensor],
    dtypes: Mapping[str, torch.dtype],
    quantization: BitsAndBytesConfig | None,
    files: ReadFiles | None,
) -> str | None:
    """Hash the base that a checkpoint provides, where it will be wanted, and keep in few bits what is to be so.

    Args:
        model: Its record knows the checkpoint's dtypes.
        fitting: What the checkpoint provides; what is kept in few bits is taken out.
        dtypes: In which it will be stored.
        quantization: As of `fill_model`.
        files: Likewise.

    Returns:
        The hash; None where an adapter can do without, and the values are not rounded.
    """
    of_base = model.base_record.dtypes or {}
    loses = any(dtypes[name].itemsize < dtype.itemsize for name, dtype in of_base.items())
    if quantization is None and not (model.config.freezes_base or loses):
        return None
    digests = {} if quantization is None else quantize_layers(model, fitting, dtypes, quantization)
    base = {name: tensor for name, tensor in fitting.items() if name in of_base}
    if quantization is None and files is not None:
        # The class, as it decides which of a checkpoint's tensors is which parameter.
        parts = [(model.name_with_head(name), tensor.dtype, tensor.shape) for name, tensor in sorted(base.items())]
        return files.hash(f"{type(model)} {parts}", lambda: model.hash_base(base))
    return hash_digests(digests | model.digest_base(base))


def _check_missing(
    own: Mapping[str, Tensor], missing: Sequence[str], state_dict: Mapping[str, Tensor], source: str
) -> None:
    """See that a configuration does not make a model of a size that its checkpoint has nothing to do with.

    Raises:
        ValueError: If what the checkpoint lacks needs far more memory than what it holds.
    """
    needed = sum(own[name].nbytes for name in missing)
    held = sum(tensor.nbytes for tensor in state_dict.values())
    if needed > max(_LARGEST_MISSING, 4 * held):
        raise ValueError(
            f"'{source}' lacks {len(missing)} of the model's parameters, such as '{missing[0]}': its configuration "
            f"asks for {needed:,} bytes more than the {held:,} of its weights. The two do not belong together."
        )


def _storage_dtypes(
    model: VocabularyModel,
    own: Mapping[str, Tensor],
    fitting: Mapping[str, Tensor],
    dtype: torch.dtype | str | None,
    added: Collection[str],
) -> dict[str, torch.dtype]:
    """Choose what each tensor is stored in; what the checkpoint lacks as what is usual in its base."""
    parameters = (name for name in fitting if isinstance(own[name], nn.Parameter))
    found = (fitting[name].dtype for name in parameters if model.is_base_parameter(name))
    usual = next((each for each in found if each.is_floating_point), torch.get_default_dtype())
    checkpoints = {name: fitting[name].dtype if name in fitting else usual for name in own}
    return {
        name: _storage_dtype(model, name, tensor, checkpoints[name], dtype, added=name in added)
        for name, tensor in own.items()
    }


def _storage_dtype(
    model: VocabularyModel,
    name: str,
    own: Tensor,
    checkpoints: torch.dtype,
    dtype: torch.dtype | str | None,
    added: bool,
) -> torch.dtype:
    """Choose a tensor's dtype: what was asked for, save that beside a frozen base the trained part stays as made."""
    part_of_run = model.config.freezes_base and (own.requires_grad or added or not model.is_base_parameter(name))
    if dtype is None or part_of_run or not own.is_floating_point():
        return own.dtype
    if isinstance(dtype, torch.dtype):
        return dtype
    return checkpoints if checkpoints.is_floating_point else own.dtype


def _start_missing(model: VocabularyModel, dtypes: Mapping[str, torch.dtype]) -> None:
    """Give storage and a starting value to the parameters that the checkpoint did not fill."""
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            full_name = f"{path}.{name}".lstrip(".")
            if not parameter.is_meta or full_name not in dtypes:  # else it is another's second name, to be tied
                continue
            empty = torch.empty(parameter.shape, dtype=dtypes[full_name])
            init_parameter(module, name, empty, model.config)
            setattr(module, name, nn.Parameter(empty, requires_grad=parameter.requires_grad))
