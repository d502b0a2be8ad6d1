"""A model's tensors on disk: find the files, read them without running code, write them.

Four layouts are read: ``model.safetensors``; safetensors shards with their index; the legacy ``pytorch_model.bin``;
and its shards. Legacy files are pickles and are read weights-only: one that wants to run code is refused.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..base.sharing import SharedBases
from ..utils.hub import cached_file, read_shard_index
from ..utils.json_files import check_file_size
from ..utils.remembered_hashes import ReadFiles
from ..utils.shapes import shown
from ..utils.writing import replacing, writing_into

__all__ = [
    "SAFE_WEIGHTS_NAME",
    "WEIGHTS_NAME",
    "check_tensors",
    "let_umask_decide",
    "load_weights",
    "read_tensors",
    "save_weights",
    "write_tensors",
]

SAFE_WEIGHTS_NAME = "model.safetensors"
WEIGHTS_NAME = "pytorch_model.bin"

LARGEST_WEIGHTS = 2**40
_DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)


def load_weights(
    path_or_repo_id: str | os.PathLike[str],
    *,
    each_by_itself: bool = False,
    shared: SharedBases | None = None,
    files: ReadFiles | None = None,
    **hub_options: Any,
) -> dict[str, Tensor]:
    """Read all tensors of a saved model, into the CPU's memory.

    Args:
        path_or_repo_id: A folder, or a hub id; also a file of tensors itself.
        each_by_itself: See `read_tensors`.
        shared: Has what was read before; whoever gives it does not write to the tensors.
        files: Notes the files that are read.
        **hub_options: See `transformers.utils.hub.cached_file`.

    Returns:
        The state dict under the checkpoint's own keys.

    Raises:
        OSError: If there is no such model, or no weights in it.
        ValueError: If a file is damaged, or a pickle wants more than tensors.
    """

    def read(path: Path) -> dict[str, Tensor]:
        if files is not None:
            files.note(path)
        if shared is None or each_by_itself:
            return read_tensors(path, each_by_itself=each_by_itself)
        return shared.tensors_of(path, read_tensors)

    if Path(path_or_repo_id).is_file():
        return read(Path(path_or_repo_id))
    for name in (SAFE_WEIGHTS_NAME, WEIGHTS_NAME):
        single = cached_file(path_or_repo_id, name, **hub_options)
        if single is not None:
            return read(single)
        index = cached_file(path_or_repo_id, f"{name}.index.json", **hub_options)
        if index is not None:
            return _read_shards(path_or_repo_id, index, read, **hub_options)
    where = "" if Path(path_or_repo_id).is_dir() else ", or they are not in the cache and the hub cannot be reached"
    raise OSError(
        f"'{path_or_repo_id}' holds no weights{where}; expected {SAFE_WEIGHTS_NAME} or {WEIGHTS_NAME}, whole or in "
        "shards with their index."
    )


def _read_shards(
    path_or_repo_id: str | os.PathLike[str], index: Path, read: Callable[[Path], dict[str, Tensor]], **hub_options: Any
) -> dict[str, Tensor]:
    """Read the shards that an index names, each once."""
    weight_map = read_shard_index(index)["weight_map"]
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(weight_map.values())):
        path = cached_file(path_or_repo_id, shard, **hub_options)
        if path is None:
            raise OSError(f"'{index}' names the file '{shard}', which '{path_or_repo_id}' does not hold.")
        tensors.update(read(path))
    lacking = sorted(set(weight_map) - set(tensors))
    if lacking:
        raise ValueError(
            f"'{index}' promises {len(lacking)} tensors that its files do not hold, such as '{lacking[0]}'."
        )
    return tensors


def read_tensors(
    path: str | os.PathLike[str], *, mapped: bool = True, each_by_itself: bool = False
) -> dict[str, Tensor]:
    """Read one file of tensors, safetensors or legacy pickle by its ending.

    Args:
        path: A ``.safetensors`` file, or else a file that ``torch.save`` wrote.
        mapped: Let a safetensors file be read as its tensors are used. Whoever shortens it in place meanwhile kills
            the process (SIGBUS), so what may be replaced while it is in use is better read at once.
        each_by_itself: Let the memory of each tensor of a mapped safetensors file be free again as soon as nobody
            uses that tensor, whoever uses the others.

    Returns:
        The tensors by name.

    Raises:
        ValueError: If the file is damaged, is no mapping of names to tensors, or wants to run code.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load, load_file

        size = check_file_size(path, LARGEST_WEIGHTS)
        try:
            if mapped and each_by_itself:
                tensors = _mapped_apart(path)
            else:
                tensors = load_file(path) if mapped else load(path.read_bytes())
        except SafetensorError as error:
            raise ValueError(f"'{path}' is not a whole safetensors file ({error}). Fetch or save it again.") from error
        check_tensors(tensors, path, size)
        return tensors
    return _read_legacy(path)


def _mapped_apart(path: Path) -> dict[str, Tensor]:
    """Map a safetensors file once for each of its tensors."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
    tensors = {}
    for name in names:
        with safe_open(path, framework="pt") as file:
            tensors[name] = file.get_tensor(name).data  # no view, which would hold the memory by its base
    return tensors


def _read_legacy(path: Path) -> dict[str, Tensor]:
    """Read a pickled state dict, tensors only."""
    size = check_file_size(path, LARGEST_WEIGHTS)
    _check_archive(path, size)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle lets the reader fail in any way: IndexError, AssertionError, …
        raise ValueError(
            f"'{path}' cannot be read as a state dict: it is damaged, or holds more than tensors (which could run "
            f"code and is refused). {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"'{path}' holds no state dict: a mapping of names to tensors was expected.")
    check_tensors(content, path, size)
    return dict(content)


def _check_archive(path: Path, size: int) -> None:
    """See that an archive's parts are not packed: ``torch.save`` never packs them, and a few bytes could become many.

    Raises:
        ValueError: If one is, or the archive is damaged.
    """
    try:
        if not zipfile.is_zipfile(path):
            return  # the format before PyTorch 1.6, or none
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeDecodeError, struct.error) as error:
        raise ValueError(f"'{path}' cannot be read as a state dict: its archive is damaged ({error}).") from error
    packed = next((part for part in parts if part.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None or sum(part.file_size for part in parts) > size:
        raise ValueError(f"'{path}' cannot be read as a state dict: its archive is packed, or claims too much.")


def check_tensors(tensors: Mapping[Any, Tensor], path: str | os.PathLike[str], size: int) -> None:
    """See that what a file gave is plain tensors by name, none larger than the file.

    Args:
        tensors: What was read.
        path: The file.
        size: Its size in bytes.

    Raises:
        ValueError: Naming the tensor and what is wrong with it.
    """
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise ValueError(f"'{path}' holds a tensor under the key {shown(name)}; a name (a text) was expected.")
        plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not plain or tensor.dtype not in _DTYPES:
            what = str(tensor.dtype).removeprefix("torch.") if plain else "of a special layout"
            expected = ", ".join(str(dtype).removeprefix("torch.") for dtype in _DTYPES)
            raise ValueError(f"'{path}': the tensor {shown(name)} is {what}; a plain one of {expected} was expected.")
        if tensor.numel() * tensor.itemsize > size:
            raise ValueError(
                f"'{path}': the tensor {shown(name)} has the shape {tuple(tensor.shape)}, which is more than the "
                f"file's {size:,} bytes."
            )


def write_tensors(tensors: dict[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Write one safetensors file, which whoever may read new files of this process may read.

    Args:
        tensors: Contiguous tensors by name, none of which shares another's memory.
        path: The file.
    """
    from safetensors.torch import save_file

    with replacing(path) as beside:
        save_file(tensors, beside, metadata={"format": "pt"})
        let_umask_decide(beside)


def let_umask_decide(path: str | os.PathLike[str]) -> None:
    """Give a file the mode of any new file in its folder; safetensors makes its own for the owner alone."""
    path = Path(path)
    probe = path.with_name(f".{path.name}.{os.getpid()}.mode")  # to read the umask itself it would have to be set
    try:
        probe.touch()
        path.chmod(stat.S_IMODE(probe.stat().st_mode))
    finally:
        probe.unlink(missing_ok=True)


def save_weights(
    state_dict: dict[str, Tensor],
    folder: str | os.PathLike[str],
    *,
    safe: bool = True,
    max_shard_size: str = "5GB",
    tied: Mapping[str, str] | None = None,
) -> None:
    """Write tensors into a folder, in shards where they are many.

    Args:
        state_dict: Tensors by name.
        folder: An existing folder. Weights of an earlier save there are replaced.
        safe: Write safetensors; the legacy ``pytorch_model.bin`` otherwise.
        max_shard_size: Size of a file, such as ``"5GB"``.
        tied: Names of tensors that loading makes of another, each with that other; they are left out where they are
            the same. What shares memory otherwise is written once for each name.

    Raises:
        NotWrittenError: If they could not be written. What was there before stays.
    """
    from huggingface_hub import save_torch_state_dict

    stale = _weight_files(Path(folder), safe=not safe)  # else a reader might take those for what is written now
    same_form = set(_weight_files(Path(folder), safe=safe))
    with writing_into(folder) as scratch:
        save_torch_state_dict(
            _each_by_itself({name: tensor.detach() for name, tensor in state_dict.items()}, tied or {}),
            os.fspath(scratch),
            filename_pattern=f"{'model' if safe else 'pytorch_model'}{{suffix}}.{'safetensors' if safe else 'bin'}",
            max_shard_size=max_shard_size,
            metadata={"format": "pt"},
            safe_serialization=safe,
        )
        written = _weight_files(scratch, safe=safe)
        for path in written:
            let_umask_decide(path)
    for path in {*stale, *same_form} - {Path(folder, path.name) for path in written}:  # shards of an earlier save
        path.unlink()


def _each_by_itself(state_dict: dict[str, Tensor], tied: Mapping[str, str]) -> dict[str, Tensor]:
    """Leave out what loading ties again, and part other tensors that share memory: a file holds no sharing."""
    seen: set[tuple[torch.device, int]] = set()
    result = {}
    for name, tensor in state_dict.items():
        source = state_dict.get(tied.get(name, name), tensor)
        if source is not tensor and source.shape == tensor.shape and source.data_ptr() == tensor.data_ptr():
            continue
        storage = tensor.untyped_storage()
        memory = (tensor.device, storage.data_ptr())
        part = memory in seen or tensor.nbytes < storage.nbytes()
        result[name] = tensor.clone() if part and tensor.numel() else tensor
        seen.add(memory)
    return result


def _weight_files(folder: Path, safe: bool) -> list[Path]:
    """List the weights of one format in a folder, whole or in shards, with their index."""
    stem, _, ending = (SAFE_WEIGHTS_NAME if safe else WEIGHTS_NAME).partition(".")
    name = re.compile(rf"{stem}(-\d{{5}}-of-\d{{5}})?\.{ending}(\.index\.json)?")
    return [path for path in folder.iterdir() if name.fullmatch(path.name)]
