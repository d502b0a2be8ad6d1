"""Splits as the `datasets` library gives them, and what any split must have."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .identity import hash_rows

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["LABEL", "check_split", "column", "first_rows", "load_splits", "on_disk"]

LABEL = "label"


def load_splits(path: str, name: str | None = None, *, cache_dir: str | None = None, **options: Any) -> dict[str, Any]:
    """Call `datasets.load_dataset`, and turn its many errors into one sentence.

    Args:
        path: A hub id, a local folder, or a file format.
        name: The configuration.
        cache_dir: Where the library keeps what it has read.
        **options: Passed on.

    Returns:
        The splits by name.

    Raises:
        OSError: If there is no such data set.
        ValueError: If it cannot be read.
    """
    import yaml
    from datasets import disable_progress_bars, enable_progress_bars, load_dataset
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

    files = options.get("data_files")
    described = f"'{path}'" if files is None else ", ".join(f"'{file}'" for file in files.values())
    if files is None and Path(path).is_dir():
        cache_dir = _cache_of_folder(Path(path), cache_dir)
    disable_progress_bars()  # reading files is quick; the bar that matters is the tokenizer's
    try:
        return dict(load_dataset(path, name, cache_dir=cache_dir, **options))
    except (DatasetNotFoundError, FileNotFoundError, ConnectionError) as error:
        raise OSError(
            f"The data set {described} is neither a folder here nor reachable on the hub ({_one_line(error)}). For "
            "GLUE without a connection give --glue_dataset FOLDER."
        ) from error
    except DatasetGenerationError as error:
        raise ValueError(f"{described} cannot be read: {_one_line(error.__cause__ or error)}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"The README.md of {described} begins with broken YAML: {_one_line(error)}") from error
    except ValueError as error:
        if "corresponds to no data" in str(error):
            raise ValueError(f"{described} holds no examples.") from error
        raise ValueError(f"The data set {described} cannot be loaded: {_one_line(error)}") from error
    finally:
        enable_progress_bars()


def _cache_of_folder(folder: Path, cache_dir: str | None) -> str:
    """Give each state of a local folder a cache of its own: the library knows folders by their last name only."""
    import datasets.config

    files = sorted(path for path in folder.rglob("*") if path.is_file())
    state = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    digest = hashlib.sha256(repr(state).encode()).hexdigest()
    return str(Path(cache_dir or datasets.config.HF_DATASETS_CACHE) / "folders" / digest[:16])


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def column(split: Dataset, name: str) -> list[Any]:
    """Give all values of a column at once: ``split[name]`` is read row by row, hundreds of times slower."""
    values: list[Any] = split[name][:]
    return values


def check_split(split: Dataset, source: str, columns: Sequence[str]) -> None:
    """Refuse an empty split, a lacking column, or an empty cell.

    Args:
        split: The split.
        source: What to call it in a message.
        columns: Those that it must have.

    Raises:
        ValueError: If something is lacking.
    """
    if len(split) == 0:
        raise ValueError(f"'{source}' holds no examples.")
    for column in columns:
        if column not in split.column_names:
            raise ValueError(f"'{source}' has no column '{column}'; its columns are {', '.join(split.column_names)}.")
        values = split.with_format("arrow")[column]
        if sum(chunk.null_count for chunk in values.chunks):
            row = values.to_pylist().index(None)
            raise ValueError(f"'{source}' has nothing in the column '{column}' of row {row + 1} (counted from 1).")


def first_rows(split: Dataset, number: int | None) -> Dataset:
    """Give the first rows of a split; all of it for None."""
    return split if number is None else split.select(range(min(number, len(split))))


def on_disk(split: Dataset) -> Dataset:
    """Keep a split in the cache, by its content: it takes no memory, and what was tokenized before is found again."""
    import datasets.config
    from datasets import Dataset, disable_progress_bars, enable_progress_bars

    folder = Path(datasets.config.HF_DATASETS_CACHE) / "own-files" / hash_rows(split, split.column_names)[:32]
    if not (folder / "state.json").is_file():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
        disable_progress_bars()
        try:
            split.save_to_disk(str(unfinished))
        finally:
            enable_progress_bars()
        try:
            unfinished.rename(folder)
        except OSError:  # another process was quicker
            shutil.rmtree(unfinished)
    return Dataset.load_from_disk(str(folder))
