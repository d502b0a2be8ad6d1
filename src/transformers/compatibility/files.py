"""4.4.2's way to a file: a path, or the address of a file on the hub."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from huggingface_hub import constants

from ..utils.hub import cached_file

__all__ = ["TRANSFORMERS_CACHE", "cached_path", "is_remote_url"]

TRANSFORMERS_CACHE: str = constants.HF_HUB_CACHE

_HUB_FILE = re.compile(r"/(?P<repository>[^/]+(?:/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


def is_remote_url(url_or_filename: str | os.PathLike[str]) -> bool:
    """Say whether a text is an address of the web."""
    return urlparse(os.fspath(url_or_filename)).scheme in ("http", "https")


def cached_path(
    url_or_filename: str | os.PathLike[str],
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
    use_auth_token: str | bool | None = None,
    local_files_only: bool = False,
    **kwargs: Any,
) -> str:
    """Give the local path of a file; one of a hub's repository is fetched into the cache.

    Args:
        url_or_filename: A path, or an address such as
            ``https://huggingface.co/roberta-base/resolve/main/config.json``.
        cache_dir: Where downloads are kept; huggingface_hub's default otherwise.
        force_download: Fetch again what the cache already has.
        use_auth_token: An access token; True takes the stored one.
        local_files_only: Do not use the network.
        **kwargs: ``proxies``, ``resume_download`` and ``user_agent`` are left to huggingface_hub's own settings.

    Raises:
        OSError: If there is no such file.
        ValueError: If the address is none of a file on the hub, or an archive is to be unpacked.
    """
    if kwargs.get("extract_compressed_file") or kwargs.get("force_extract"):
        raise ValueError("cached_path unpacks no archives here; take tarfile or zipfile (with filter='data').")
    name = os.fspath(url_or_filename)
    if not is_remote_url(name):
        if not Path(name).exists():
            raise OSError(f"'{name}' does not exist; a file, or the address of one on the hub, was expected.")
        return name
    found = _HUB_FILE.fullmatch(unquote(urlparse(name).path))
    if found is None or urlparse(name).netloc not in ("huggingface.co", urlparse(constants.ENDPOINT).netloc):
        raise ValueError(
            f"'{name}' is no file of a hub repository (…/resolve/REVISION/FILE); fetch it and give its path."
        )
    path = cached_file(
        found["repository"],
        found["file"],
        cache_dir=cache_dir,
        force_download=force_download,
        token=use_auth_token,
        local_files_only=local_files_only,
        revision=found["revision"],
    )
    if path is None:
        raise OSError(f"The repository '{found['repository']}' holds no file '{found['file']}'.")
    return str(path)
