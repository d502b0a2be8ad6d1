"""From a name to files on this machine: a local folder, or a repository on the Hugging Face hub.

Downloads, caching, tokens and proxies are `huggingface_hub`'s; this module decides which of the two is meant, honours
the offline variables (``HF_HUB_OFFLINE``, and 4.4.2's ``TRANSFORMERS_OFFLINE``), and turns failures into one sentence.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

from . import logging
from .json_files import load_json
from .secrets import hide_tokens
from .shapes import MapOf, Record, Text, optional

__all__ = [
    "HUB_OPTIONS",
    "cached_file",
    "check_inside",
    "get_checkpoint_shard_files",
    "is_offline_mode",
    "looks_like_path",
    "network_error",
    "read_shard_index",
    "split_hub_options",
]

logger = logging.get_logger(__name__)

HUB_OPTIONS = ("cache_dir", "revision", "token", "local_files_only", "subfolder", "force_download")

# The index of a checkpoint in shards: a file's name by each tensor's.
_SHARD = Text(pattern=r"[^/\\\0]+\.(safetensors|bin)", named="a file in the model's own folder")
_SHARD_INDEX = Record({"metadata": optional(Record({})), "weight_map": MapOf(_SHARD)}, required=("weight_map",))
_LARGEST_INDEX = 64 * 2**20

SECONDS_TO_ANSWER = 10
SECONDS_OF_SILENCE = 60
_ANSWERS: dict[str, tuple[bool, float]] = {}  # by the hub's address: whether it answered, and when it was asked


def is_offline_mode() -> bool:
    """Say whether ``TRANSFORMERS_OFFLINE`` or ``HF_HUB_OFFLINE`` forbids the network."""
    names = ("TRANSFORMERS_OFFLINE", "HF_HUB_OFFLINE")
    return any(os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"} for name in names)


def cached_file(
    path_or_repo_id: str | os.PathLike[str],
    filename: str,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    subfolder: str = "",
    force_download: bool = False,
) -> Path | None:
    """Find one file of a model, in a local folder or on the hub.

    Args:
        path_or_repo_id: A folder, or a hub id such as ``"roberta-base"`` or ``"microsoft/deberta-v3-base"``.
        filename: The file's name inside it.
        cache_dir: Where downloads are kept; huggingface_hub's default otherwise.
        revision: Branch, tag or commit on the hub.
        token: An access token; ``True`` takes the one that ``hf auth login`` stored.
        local_files_only: Take the file from the cache or not at all.
        subfolder: A folder inside the repository.
        force_download: Fetch again what the cache already has.

    Returns:
        The local path, or None where the model has no such file.

    Raises:
        OSError: If the folder or repository does not exist, or cannot be reached and is not in the cache; or if the
            file's name, or a symbolic link, leads out of the folder.
    """
    name = os.fspath(path_or_repo_id)
    if not name:
        raise OSError("The model's name is empty; a folder, or a hub id such as 'roberta-base', was expected.")
    folder = Path(name)
    if folder.is_dir():
        candidate = folder / subfolder / filename
        check_inside(candidate, folder)
        return candidate if candidate.is_file() else None
    if folder.exists():
        raise OSError(f"'{name}' is a file; a folder that holds the model's files, or a hub id, was expected.")
    if looks_like_path(name):
        raise OSError(f"'{name}' does not exist; give an existing folder, or a hub id such as 'roberta-base'.")
    relative = Path(subfolder, filename)
    if relative.is_absolute() or ".." in relative.parts:
        raise OSError(f"'{relative}' leads out of the repository '{name}'; the name of a file in it was expected.")
    offline = local_files_only or is_offline_mode()
    return _from_hub(
        name,
        filename,
        offline=offline,
        cache_dir=cache_dir,
        revision=revision,
        token=token,
        local_files_only=offline or not _hub_answers(),
        subfolder=subfolder or None,
        force_download=force_download,
    )


def check_inside(path: Path, folder: Path) -> None:
    """See that no name and no symbolic link leads out of a folder.

    The hub's own cache keeps files as links to ``blobs`` beside its ``snapshots``; those are its.

    Args:
        path: The file, which need not exist.
        folder: The folder that it must lie in.

    Raises:
        OSError: Naming what the path leads to.
    """
    try:
        root, target = folder.resolve(), path.resolve()
    except RuntimeError as error:  # links that lead to each other
        raise OSError(f"'{path}' is a symbolic link that leads nowhere ({error}).") from error
    snapshots = next((parent for parent in root.parents if parent.name == "snapshots"), None)
    blobs = None if snapshots is None else snapshots.parent / "blobs"
    if not target.is_relative_to(root) and (blobs is None or target.parent != blobs):
        raise OSError(
            f"'{path}' leads out of its folder, to '{target}', and is not read: whoever made the folder could have "
            "any file read and copied. Put a copy of the file in its place."
        )


def _hub_answers() -> bool:
    """Ask the hub whether it is there; where it is not, every file would cost half a minute of vain attempts.

    A yes holds for good, a no for a minute.
    """
    from huggingface_hub import constants, get_session

    answered, when = _ANSWERS.get(constants.ENDPOINT, (False, -math.inf))
    if answered or time.monotonic() - when < SECONDS_OF_SILENCE:
        return answered
    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS_TO_ANSWER)
        answered = True
    except network_error() as error:
        logger.warning("%s cannot be reached (%s); only what the cache has is used.", constants.ENDPOINT, error)
    _ANSWERS[constants.ENDPOINT] = (answered, time.monotonic())
    return answered


def network_error() -> type[Exception]:
    """Give the base of the network's errors, in whichever HTTP library the hub's client uses."""
    from huggingface_hub.errors import HfHubHTTPError

    error: type[Exception] = HfHubHTTPError.__mro__[1]
    return error


def looks_like_path(name: str) -> bool:
    """Tell a folder that does not exist from a hub id, which is ``name`` or ``owner/name``."""
    return name.startswith((".", "/", "~")) or name.endswith("/") or name.count("/") > 1 or "\\" in name


def _from_hub(name: str, filename: str, *, offline: bool, **options: Any) -> Path | None:
    """Fetch a file from the hub, or take it from the cache; None where the repository does not hold it."""
    from huggingface_hub import get_token, hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(hf_hub_download(name, filename, **options))
    except LocalEntryNotFoundError as error:
        if _cached_without(name, filename, options):
            return None
        why = "offline mode" if offline else hide_tokens(str(error.__cause__ or "no answer"), options.get("token"))
        raise OSError(
            f"'{name}' is no folder here, its '{filename}' is not in the cache, and the hub cannot be reached "
            f"({why}). Check the name and the connection, or give a folder that holds the model."
        ) from error
    except EntryNotFoundError:
        return None
    except HFValidationError as error:
        raise OSError(f"'{name}' is neither a folder that exists nor a valid hub id: {error}") from error
    except GatedRepoError as error:
        raise OSError(f"'{name}' is gated: ask for access on its hub page, then log in or pass token=….") from error
    except RevisionNotFoundError as error:
        raise OSError(f"'{name}' has no revision '{options['revision']}' on the hub.") from error
    except RepositoryNotFoundError as error:
        raise OSError(
            f"'{name}' is neither a folder here nor a repository on the hub (or it is private: pass token=…)."
        ) from error
    except (HfHubHTTPError, network_error(), OSError, UnicodeError) as error:
        used = options.get("token"), get_token()
        why = hide_tokens(str(error), *used)  # one that no header can hold is quoted there
        raise OSError(f"'{filename}' of '{name}' could not be fetched from the hub: {why}") from None


def _cached_without(name: str, filename: str, options: dict[str, Any]) -> bool:
    """Say whether the cache knows that a model has no such file.

    It does where the hub said so before, and where the model's (or the adapter's) own configuration is cached: another
    missing file is then simply not part of it.
    """
    from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

    def look_up(file: str) -> Any:
        path = f"{options['subfolder']}/{file}" if options["subfolder"] else file
        return try_to_load_from_cache(name, path, cache_dir=options["cache_dir"], revision=options["revision"])

    configurations = map(look_up, ("config.json", "adapter_config.json"))
    return look_up(filename) is _CACHED_NO_EXIST or any(isinstance(found, str) for found in configurations)


def split_hub_options(kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part the arguments of a ``from_pretrained`` into those for the hub and the others.

    Args:
        kwargs: As the caller gave them. ``use_auth_token`` is 4.4.2's name of ``token``; ``resume_download`` and
            ``proxies`` are accepted and left to huggingface_hub's own settings.

    Returns:
        The keyword arguments of `cached_file`, and the rest.
    """
    rest = dict(kwargs)
    use_auth_token = rest.pop("use_auth_token", None)
    for obsolete in ("resume_download", "proxies"):
        rest.pop(obsolete, None)
    options = {name: rest.pop(name) for name in HUB_OPTIONS if name in rest}
    if options.get("token") is None and use_auth_token is not None:
        options["token"] = use_auth_token
    if options.get("subfolder") is None:
        options.pop("subfolder", None)
    return options, rest


def read_shard_index(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the index of a checkpoint in shards.

    Returns:
        The index, whose ``weight_map`` gives the name of a file for each tensor.

    Raises:
        ValueError: If it is no such index, or names a file outside its folder.
    """
    return load_json(path, _SHARD_INDEX, largest=_LARGEST_INDEX)


def get_checkpoint_shard_files(
    pretrained_model_name_or_path: str | os.PathLike[str], index_filename: str | os.PathLike[str], **hub_options: Any
) -> tuple[list[str], dict[str, Any]]:
    """Find the files of a checkpoint in shards.

    Args:
        pretrained_model_name_or_path: A folder, or a hub id.
        index_filename: The local path of its index.
        **hub_options: See `cached_file`.

    Returns:
        The local paths of the shards, and the index's metadata with ``weight_map`` and ``all_checkpoint_keys``.

    Raises:
        OSError: If there is no index, or a shard that it names is not there.
        ValueError: If the index is none.
    """
    if not Path(index_filename).is_file():
        raise OSError(f"'{os.fspath(index_filename)}' does not exist; the index of a checkpoint was expected.")
    index = read_shard_index(index_filename)
    weight_map: dict[str, str] = index["weight_map"]
    paths = []
    for name in sorted(set(weight_map.values())):
        path = cached_file(pretrained_model_name_or_path, name, **hub_options)
        if path is None:
            raise OSError(f"The index names '{name}', which '{pretrained_model_name_or_path}' does not hold.")
        paths.append(str(path))
    metadata = {**(index.get("metadata") or {}), "weight_map": weight_map, "all_checkpoint_keys": list(weight_map)}
    return paths, metadata
