"""A tokenizer as a folder: reading its settings and files, and writing them back.

``tokenizer.json`` holds the whole pipeline and is the truth where it exists; ``tokenizer_config.json`` holds the
settings, ``special_tokens_map.json`` the roles of special tokens, and the vocabulary has files in its own format.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from tokenizers import AddedToken

from ..utils.hub import cached_file
from ..utils.json_files import load_json
from ..utils.shapes import Shape
from ..utils.writing import write_text
from .interface import TokenizerWithFiles
from .shapes import ADDED_TOKENS, LARGEST_SETTINGS, SPECIAL_TOKENS, TOKENIZER_CONFIG
from .special import ROLES, as_added_token

T = TypeVar("T", bound=TokenizerWithFiles)

__all__ = ["CONFIG_FILE", "SPECIAL_TOKENS_FILE", "load_tokenizer", "save_tokenizer"]

CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"

# What other writers put into tokenizer_config.json, or callers give, and what is no matter of the tokenizer itself.
_NOT_SETTINGS = (
    "added_tokens_decoder",
    "auto_map",
    "backend",
    "config",
    "from_slow",
    "is_local",
    "local_files_only",
    "merges_file",
    "name_or_path",
    "processor_class",
    "proxies",
    "resume_download",
    "special_tokens_map_file",
    "tokenizer_class",
    "tokenizer_file",
    "trust_remote_code",
    "use_fast",
    "vocab_file",
)


# Arguments of tokenizers that name files or hold a vocabulary: a caller may give them, a file of settings may not, or
# it could have any file of this machine read, and copied when the tokenizer is saved.
_CALLERS_ONLY = ("additional", "made_object", "merges", "roles", "self", "tokenizer_object", "vocab")


def load_tokenizer(
    cls: type[T], name: str | os.PathLike[str], hub: Mapping[str, Any], overrides: Mapping[str, Any]
) -> T:
    """Make a tokenizer from a folder's or repository's files.

    Args:
        cls: The tokenizer's class.
        name: Folder or hub id; or the only file of the vocabulary, with a warning (4.4.2 allows it).
        hub: Options for ``cached_file``.
        overrides: Settings that count more than those of the files.

    Returns:
        The tokenizer.

    Raises:
        OSError: If the place does not exist or holds none of the class's files.
        ValueError: If a file is broken, is not the whole vocabulary, or added tokens do not get the ids that the files
            state.
    """
    overrides = {"model_max_length" if key == "max_len" else key: value for key, value in overrides.items()}
    if Path(name).is_file():
        return _load_single_file(cls, Path(name), overrides)

    def find(filename: str) -> str | None:
        path = cached_file(name, filename, **hub)
        return None if path is None else str(path)

    def read(filename: str, shape: Shape) -> dict[str, Any]:
        path = find(filename)
        return {} if path is None else load_json(path, shape, largest=LARGEST_SETTINGS)

    files = {argument: find(filename) for argument, filename in cls.vocab_files_names.items()}
    if not any(files.values()):
        raise OSError(_nothing_found(cls, name, find("adapter_config.json")))
    config = read(CONFIG_FILE, TOKENIZER_CONFIG)
    settings: dict[str, Any] = {**read(SPECIAL_TOKENS_FILE, SPECIAL_TOKENS), **config}
    settings = {key: value for key, value in settings.items() if key not in (*_NOT_SETTINGS, *_CALLERS_ONLY)}
    complete = files.get("tokenizer_file") is not None
    # Where tokenizer.json lists the tokens, its flags count; only the roles are needed.
    settings = {key: _read_token(value, text_only=complete) for key, value in settings.items()}
    given = {key: value for key, value in overrides.items() if key not in _NOT_SETTINGS}
    try:
        tokenizer = cls(**{**files, "name_or_path": os.fspath(name), **settings, **given})
    except ValueError as error:
        if given or os.fspath(name) in str(error):  # else the caller's own values may be at fault
            raise
        raise ValueError(f"The tokenizer in '{os.fspath(name)}' cannot be made: {error}") from error
    if not complete:
        listed = config.get("added_tokens_decoder") or {}
        _restore_added_tokens(tokenizer, listed, read(ADDED_TOKENS_FILE, ADDED_TOKENS), name)
    return tokenizer


def _load_single_file(cls: type[T], file: Path, overrides: Mapping[str, Any]) -> T:
    """Make a tokenizer from one file, such as ``vocab.txt``, ``spm.model`` or ``tokenizer.json``.

    Raises:
        ValueError: If the class's vocabulary is more than this file.
    """
    argument = "tokenizer_file" if file.name == "tokenizer.json" else "vocab_file"
    if argument not in cls.vocab_files_names or (argument == "vocab_file" and "merges_file" in cls.vocab_files_names):
        raise ValueError(
            f"'{file}' is a file, but a {cls.__name__} is made of {', '.join(cls.vocab_files_names.values())}: give "
            "the folder that holds them."
        )
    warnings.warn(
        f"{cls.__name__}.from_pretrained with a single file is an old way; give the folder, or {cls.__name__}"
        f"({argument}={str(file)!r}).",
        FutureWarning,
        stacklevel=4,
    )
    return cls(**{"name_or_path": str(file), **overrides, argument: str(file)})


def _nothing_found(cls: type[Any], name: str | os.PathLike[str], adapter_config: str | None) -> str:
    message = (
        f"'{os.fspath(name)}' holds no files of a {cls.__name__}: none of {', '.join(cls.vocab_files_names.values())}."
    )
    if adapter_config is None:
        return message
    base = load_json(adapter_config).get("base_model_name_or_path")
    return f"{message} It is an adapter; load the tokenizer of its base model, '{base}'."


def _read_token(value: Any, text_only: bool) -> Any:
    """Turn tokens written as mappings (4.x) into AddedToken or text, in lists too; leave everything else."""
    if isinstance(value, list):
        return [_read_token(item, text_only) for item in value]
    if isinstance(value, Mapping) and isinstance(value.get("content"), str):
        return value["content"] if text_only else as_added_token(value)
    return value


def _restore_added_tokens(
    tokenizer: TokenizerWithFiles, decoder: Mapping[str, Any], plain: Mapping[str, Any], name: object
) -> None:
    """Add the tokens that were added to a vocabulary in its own format, in the order of their ids."""
    listed: dict[int, tuple[AddedToken, bool]] = {
        int(token_id): (as_added_token(token), bool(token.get("special", False)))
        for token_id, token in decoder.items()
    }
    known = {token.content for token, _ in listed.values()}
    special = set(tokenizer.all_special_tokens)
    for text, token_id in plain.items():
        if text not in known:
            listed[int(token_id)] = (AddedToken(text, normalized=text not in special), text in special)
    for token_id, (token, is_special) in sorted(listed.items()):
        tokenizer.add_tokens(token, special_tokens=is_special)
        found = tokenizer.get_vocab().get(token.content)
        if found != token_id:
            raise ValueError(
                f"'{name}' says that the added token {token.content!r} has id {token_id}, but in its vocabulary it "
                f"gets {found}: vocabulary and added tokens do not belong together."
            )


def save_tokenizer(
    tokenizer: TokenizerWithFiles, folder: str | os.PathLike[str], with_vocabulary: bool, prefix: str | None
) -> tuple[str, ...]:
    """Write a tokenizer's files.

    Args:
        tokenizer: The tokenizer.
        folder: Where to; made if needed.
        with_vocabulary: Write the vocabulary in its own format too.
        prefix: Goes in front of the vocabulary files' names.

    Returns:
        The paths.

    Raises:
        OSError: If the folder is a file or cannot be written.
    """
    place = Path(folder)
    if place.is_file():
        raise OSError(f"'{place}' is a file; the tokenizer needs a folder to be saved in.")
    place.mkdir(parents=True, exist_ok=True)
    _write_json(place / CONFIG_FILE, _config_of(tokenizer))
    _write_json(place / SPECIAL_TOKENS_FILE, {key: _as_json(value) for key, value in _tokens_with_flags(tokenizer)})
    tokenizer._save_backend(str(place / "tokenizer.json"))
    paths = [place / CONFIG_FILE, place / SPECIAL_TOKENS_FILE, place / "tokenizer.json"]
    vocabulary = tokenizer.save_vocabulary(str(place), prefix) if with_vocabulary else ()
    return (*map(str, paths), *vocabulary)


def _config_of(tokenizer: TokenizerWithFiles) -> dict[str, Any]:
    """Collect the settings that bring the same tokenizer back, here and upstream."""
    kept = {key: value for key, value in tokenizer.init_kwargs.items() if key not in (*ROLES, *_NOT_SETTINGS)}
    tokens = {key: value for key, value in tokenizer.special_tokens_map.items() if key in ROLES}
    config = {
        **kept,
        **tokenizer._own_settings(),
        **tokens,
        "clean_up_tokenization_spaces": tokenizer.clean_up_tokenization_spaces,
        "model_input_names": list(tokenizer.model_input_names),
        "model_max_length": tokenizer.model_max_length,
        "padding_side": tokenizer.padding_side,
        "tokenizer_class": type(tokenizer).__name__,
        "truncation_side": tokenizer.truncation_side,
    }
    if tokenizer.additional_special_tokens:
        config["additional_special_tokens"] = tokenizer.additional_special_tokens
    if tokenizer.split_special_tokens:
        config["split_special_tokens"] = True
    return config


def _tokens_with_flags(tokenizer: TokenizerWithFiles) -> list[tuple[str, Any]]:
    return list(tokenizer.special_tokens_map_extended.items())


def _as_json(value: Any) -> Any:
    """Write a token as text, or as a mapping where a flag is set."""
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    flags = {flag: getattr(value, flag) for flag in ("lstrip", "normalized", "rstrip", "single_word")}
    return {"content": value.content, **flags} if any(flags.values()) else value.content


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
