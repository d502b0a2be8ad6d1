"""Upstream's place of a function that PEFT asks for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..hub import cached_file, load_json

__all__ = ["get_checkpoint_shard_files"]


def get_checkpoint_shard_files(
    pretrained_model_name_or_path: str | os.PathLike[str], index_filename: str | os.PathLike[str], **hub_options: Any
) -> tuple[list[str], dict[str, Any]]:
    """Find the files of a checkpoint in shards.

    Args:
        pretrained_model_name_or_path: A folder, or a hub id.
        index_filename: The local path of its index.
        **hub_options: See `transformers.hub.cached_file`.

    Returns:
        The local paths of the shards, and the index's metadata with ``weight_map`` and ``all_checkpoint_keys``.

    Raises:
        OSError: If there is no index, or a shard that it names is not there.
        ValueError: If the index is no JSON object.
    """
    if not Path(index_filename).is_file():
        raise OSError(f"'{os.fspath(index_filename)}' does not exist; the index of a checkpoint was expected.")
    index = load_json(index_filename)
    weight_map: dict[str, str] = index["weight_map"]
    paths = []
    for name in sorted(set(weight_map.values())):
        path = cached_file(pretrained_model_name_or_path, name, **hub_options)
        if path is None:
            raise OSError(f"The index names '{name}', which '{pretrained_model_name_or_path}' does not hold.")
        paths.append(str(path))
    metadata = {**index.get("metadata", {}), "weight_map": weight_map, "all_checkpoint_keys": list(weight_map)}
    return paths, metadata
