"""`AutoTokenizer`: from a folder or hub id to the right tokenizer class."""

from __future__ import annotations

import importlib
import os
from typing import Any

from ...tokenization.shapes import TOKENIZER_CONFIG
from ...tokenization_utils_base import PreTrainedTokenizerBase
from ...tokenization_utils_fast import PreTrainedTokenizerFast
from ...utils.hub import HUB_OPTIONS, cached_file
from ...utils.json_files import load_json
from ...utils.shapes import Record, Shape, Text, optional
from ..table import TOKENIZER_OF, TOKENIZERS, module_of
from .configuration_auto import CONFIG_MAPPING, ClassesByConfig

__all__ = ["TOKENIZER_FILES", "TOKENIZER_MAPPING", "TOKENIZER_PARTS", "AutoTokenizer", "tokenizer_class_from_name"]

# What a folder with a tokenizer holds at least one of.
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt", "spm.model")
# All that it may consist of.
TOKENIZER_PARTS = (*TOKENIZER_FILES, "added_tokens.json", "special_tokens_map.json")

_GENERIC = ("PreTrainedTokenizer", "PreTrainedTokenizerFast", "TokenizersBackend")
# What is needed of a model's configuration.
_NAMES = Record({"model_type": optional(Text()), "tokenizer_class": optional(Text())})
# Which vocabulary files make which tokenizer, where nothing else says so.
_OF_FILES = (
    (("spm.model",), "DebertaV2Tokenizer"),
    (("vocab.json", "merges.txt"), "RobertaTokenizer"),
    (("vocab.txt",), "BertTokenizer"),
)


def tokenizer_class_from_name(class_name: str) -> type[PreTrainedTokenizerBase] | None:
    """Give the class of a name, with or without ``Fast`` at its end; None for one that is not here."""
    if class_name in _GENERIC:
        return PreTrainedTokenizerFast
    name = class_name.removesuffix("Fast")
    if name not in TOKENIZERS:
        return None
    module = importlib.import_module(f"..{module_of(TOKENIZERS[name], 'tokenization')}", __package__)
    found: type[PreTrainedTokenizerBase] = getattr(module, name)
    return found


def _slow_and_fast(model_type: str) -> tuple[type[PreTrainedTokenizerBase] | None, ...]:
    name = TOKENIZER_OF[model_type]
    return tokenizer_class_from_name(name), tokenizer_class_from_name(f"{name}Fast")


# 4.4.2's name: configuration class to the pair of slow and fast tokenizer, which are one class here.
TOKENIZER_MAPPING = ClassesByConfig([kind for kind in TOKENIZER_OF if kind in CONFIG_MAPPING], _slow_and_fast)


class AutoTokenizer:
    """Loads tokenizers; not to be made itself."""

    def __init__(self) -> None:
        raise TypeError("AutoTokenizer is not made by calling it; use AutoTokenizer.from_pretrained(name_or_folder).")

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *inputs: Any,
        config: Any = None,
        use_fast: bool = True,
        tokenizer_type: str | None = None,
        use_auth_token: str | bool | None = None,
        trust_remote_code: bool = False,
        **kwargs: Any,
    ) -> PreTrainedTokenizerBase:
        """Load a tokenizer from a folder or the hub.

        Its class is decided by ``tokenizer_class`` in ``tokenizer_config.json``; where there is none by the
        ``tokenizer_class`` or ``model_type`` of the model's config; where that fits no file there by the files.

        Args:
            pretrained_model_name_or_path: A folder that holds a tokenizer's files (a model's, or an adapter's with the
                tokenizer saved beside it), or a hub id.
            *inputs: Not supported; name the arguments.
            config: The model's config, instead of the ``config.json`` of the same place.
            use_fast: Accepted; all tokenizers here are fast.
            tokenizer_type: Decide by this model type alone.
            use_auth_token: ``token`` under 4.4.2's name.
            trust_remote_code: Accepted; code of a repository is never run.
            **kwargs: ``revision``, ``token``, ``cache_dir``, ``local_files_only``, ``force_download``,
                ``subfolder``, and settings of the tokenizer.

        Returns:
            The tokenizer.

        Raises:
            OSError: If the place does not exist, cannot be reached, or holds no tokenizer.
            ValueError: If its tokenizer is of a class that is not here, or a file is broken.
        """
        if kwargs.get("token") is None:
            kwargs["token"] = use_auth_token
        hub = {name: kwargs[name] for name in HUB_OPTIONS if name in kwargs}
        name = _class_name(pretrained_model_name_or_path, config, tokenizer_type, hub)
        found = tokenizer_class_from_name(name)
        if found is None:
            raise ValueError(
                f"'{os.fspath(pretrained_model_name_or_path)}' has a {name}, which is not here, and no tokenizer.json "
                f"that would do without it. Here are {', '.join([*TOKENIZERS, 'PreTrainedTokenizerFast'])}."
            )
        return found.from_pretrained(pretrained_model_name_or_path, *inputs, **kwargs)


def _class_name(name: str | os.PathLike[str], config: Any, tokenizer_type: str | None, hub: dict[str, Any]) -> str:
    """Decide for a class.

    Raises:
        OSError: If nothing there is a tokenizer's.
        ValueError: If ``tokenizer_type`` is unknown.
    """

    def is_there(filename: str) -> bool:
        return cached_file(name, filename, **hub) is not None

    def read(filename: str, shape: Shape) -> dict[str, Any]:
        path = cached_file(name, filename, **hub)
        return {} if path is None else load_json(path, shape)

    if tokenizer_type is not None:
        if tokenizer_type not in TOKENIZER_OF:
            raise ValueError(f"tokenizer_type is {tokenizer_type!r}; choose from {', '.join(TOKENIZER_OF)}.")
        return TOKENIZER_OF[tokenizer_type]
    model = (
        read("config.json", _NAMES)
        if config is None
        else vars(config) | {"model_type": getattr(config, "model_type", None)}
    )
    complete = is_there("tokenizer.json")
    stated = read("tokenizer_config.json", TOKENIZER_CONFIG).get("tokenizer_class") or model.get("tokenizer_class")
    if stated:
        unknown = tokenizer_class_from_name(stated) is None
        return "PreTrainedTokenizerFast" if unknown and complete else str(stated)
    by_model = TOKENIZER_OF.get(str(model.get("model_type")))
    by_files = next((found for files, found in _OF_FILES if all(map(is_there, files))), None)
    if by_model is not None and (complete or by_model == by_files):
        return by_model
    if complete and by_files is None:
        return "PreTrainedTokenizerFast"
    return by_files or by_model or "PreTrainedTokenizerFast"
