"""4.4.2's module of file and environment helpers, for scripts that import its names; they live elsewhere here."""

from __future__ import annotations

from importlib.util import find_spec

from .configuration_utils import CONFIG_NAME
from .hub import is_offline_mode
from .utils.generic import ExplicitEnum, ModelOutput, PaddingStrategy, TensorType
from .weights import WEIGHTS_NAME

__all__ = [
    "CONFIG_NAME",
    "WEIGHTS_NAME",
    "ExplicitEnum",
    "ModelOutput",
    "PaddingStrategy",
    "TensorType",
    "is_datasets_available",
    "is_offline_mode",
    "is_sklearn_available",
    "is_tf_available",
    "is_tokenizers_available",
    "is_torch_available",
    "is_torch_tpu_available",
]


def is_torch_available() -> bool:
    """Say that PyTorch is installed: this package needs it."""
    return True


def is_tokenizers_available() -> bool:
    """Say that the tokenizers library is installed: this package needs it."""
    return True


def is_tf_available() -> bool:
    """Say that no TensorFlow models are here."""
    return False


def is_torch_tpu_available() -> bool:
    """Say that TPUs are not supported here."""
    return False


def is_datasets_available() -> bool:
    """Say whether the datasets library is installed, without importing it."""
    return find_spec("datasets") is not None


def is_sklearn_available() -> bool:
    """Say whether scikit-learn is installed, without importing it."""
    return find_spec("sklearn") is not None
