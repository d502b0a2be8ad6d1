"""4.4.2's module of file and environment helpers, for scripts that import its names; most live elsewhere here."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from importlib.util import find_spec
from typing import Any, TypeVar

import torch

from .configuration_utils import CONFIG_NAME
from .modeling.weights import WEIGHTS_NAME
from .utils.generic import ExplicitEnum, ModelOutput, PaddingStrategy, TensorType
from .utils.hub import is_offline_mode
from .utils.lazy_names import LazyNames

_LAZY = LazyNames(
    globals(),
    {
        ".compatibility.files": ("TRANSFORMERS_CACHE", "cached_path", "is_remote_url"),
        ".compatibility.peft": ("http_user_agent",),
        ".compatibility.tensors": ("is_tensor", "to_py_obj"),
    },
)
__getattr__ = _LAZY.load

__all__ = [
    "CONFIG_NAME",
    "WEIGHTS_NAME",
    "ExplicitEnum",
    "ModelOutput",
    "PaddingStrategy",
    "TensorType",
    "add_code_sample_docstrings",
    "add_end_docstrings",
    "add_start_docstrings",
    "add_start_docstrings_to_model_forward",
    "cached_property",
    "is_apex_available",
    "is_datasets_available",
    "is_faiss_available",
    "is_flax_available",
    "is_offline_mode",
    "is_onnx_available",
    "is_pandas_available",
    "is_protobuf_available",
    "is_psutil_available",
    "is_py3nvml_available",
    "is_scatter_available",
    "is_sentencepiece_available",
    "is_sklearn_available",
    "is_soundfile_availble",
    "is_tf_available",
    "is_tokenizers_available",
    "is_torch_available",
    "is_torch_cuda_available",
    "is_torch_tpu_available",
    "is_torchaudio_available",
    "replace_return_docstrings",
]

Documented = TypeVar("Documented", bound=Callable[..., Any])


def is_torch_available() -> bool:
    """Say that PyTorch is installed: this package needs it."""
    return True


def is_torch_cuda_available() -> bool:
    """Say whether PyTorch sees a GPU."""
    return torch.cuda.is_available()


def is_tokenizers_available() -> bool:
    """Say that the tokenizers library is installed: this package needs it."""
    return True


def is_tf_available() -> bool:
    """Say that no TensorFlow models are here."""
    return False


def is_flax_available() -> bool:
    """Say that no Flax models are here."""
    return False


def is_torch_tpu_available() -> bool:
    """Say that TPUs are not supported here."""
    return False


def is_apex_available() -> bool:
    """Say that apex is not used here: half precision is PyTorch's own."""
    return False


# What 4.4.2 used for model types and tools that are not here; its own spelling of one of them.
is_faiss_available = is_onnx_available = is_protobuf_available = is_py3nvml_available = is_apex_available
is_scatter_available = is_soundfile_availble = is_torchaudio_available = is_apex_available


def is_datasets_available() -> bool:
    """Say whether the datasets library is installed, without importing it."""
    return find_spec("datasets") is not None


def is_sklearn_available() -> bool:
    """Say whether scikit-learn is installed, without importing it."""
    return find_spec("sklearn") is not None


def is_pandas_available() -> bool:
    """Say whether pandas is installed, without importing it."""
    return find_spec("pandas") is not None


def is_psutil_available() -> bool:
    """Say whether psutil is installed, without importing it."""
    return find_spec("psutil") is not None


def is_sentencepiece_available() -> bool:
    """Say whether the sentencepiece library is installed; the tokenizers here do without it."""
    return find_spec("sentencepiece") is not None


# Decorators around classes and methods copied from 4.4.2's models. They concern documentation alone.


def add_start_docstrings(*docstr: str) -> Callable[[Documented], Documented]:
    """Decorate with texts in front of the docstring (4.4.2's name)."""
    return lambda documented: _with_docstring(documented, "".join(docstr) + (documented.__doc__ or ""))


def add_end_docstrings(*docstr: str) -> Callable[[Documented], Documented]:
    """Decorate with texts behind the docstring (4.4.2's name)."""
    return lambda documented: _with_docstring(documented, (documented.__doc__ or "") + "".join(docstr))


add_start_docstrings_to_model_forward = add_start_docstrings


def add_code_sample_docstrings(*docstr: str, **sample: Any) -> Callable[[Documented], Documented]:
    """Decorate as `add_end_docstrings` does; 4.4.2 added an example of use, which is not made here."""
    return add_end_docstrings(*docstr)


def replace_return_docstrings(**returned: Any) -> Callable[[Documented], Documented]:
    """Leave the docstring; 4.4.2 filled the description of the output in."""
    return lambda documented: documented


def _with_docstring(documented: Documented, text: str) -> Documented:
    documented.__doc__ = text
    return documented
