"""Several models of one process on the same base: its weights are read, and its hash is computed, once.

A frozen base is never written to, so that many models may stand on the same tensors. Whoever makes models one after
the other, as a search over hyper-parameters does, opens a `SharedBases` around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["SharedBases", "shared_bases", "sharing_bases"]

_File = tuple[str, int, int, int]
_Memory = tuple[str, int, torch.dtype, torch.Size]


class SharedBases:
    """What was read of checkpoints, and the digests of their tensors.

    Attributes:
        files_read: How many files were read.
        tensors_hashed: How many tensors were hashed.
    """

    def __init__(self) -> None:
        self.files_read = self.tensors_hashed = 0
        self._tensors: dict[_File, dict[str, Tensor]] = {}
        self._digests: dict[_Memory, bytes] = {}
        self._addresses: set[int] = set()

    def tensors_of(self, path: Path, read: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Give a file's tensors, read once as long as the file is what it was.

        Args:
            path: The file.
            read: Reads it.

        Returns:
            A dict of its own; the tensors are everybody's, and nobody may write to them.
        """
        found = path.resolve()
        facts = found.stat()
        key = (str(found), facts.st_ino, facts.st_size, facts.st_mtime_ns)
        if key not in self._tensors:
            self._tensors[key] = read(path)
            self._addresses |= {tensor.data_ptr() for tensor in self._tensors[key].values()}
            self.files_read += 1
        return dict(self._tensors[key])

    def digest(self, name: str, tensor: Tensor, compute: Callable[[str, Tensor], bytes]) -> bytes:
        """Give a tensor's digest, computed once where it is a file's.

        Args:
            name: Its name, which is part of the digest.
            tensor: The tensor.
            compute: Computes the digest.
        """
        if tensor.data_ptr() not in self._addresses:
            return compute(name, tensor)
        key = (name, tensor.data_ptr(), tensor.dtype, tensor.shape)
        if key not in self._digests:
            self._digests[key] = compute(name, tensor)
            self.tensors_hashed += 1
        return self._digests[key]

    def apart(self, tensors: Mapping[str, Tensor], written: Mapping[str, bool]) -> dict[str, Tensor]:
        """Give tensors with copies of those that will be written to, so that the file's stay what they are.

        Args:
            tensors: By name.
            written: By name, whether it will be.
        """
        return {name: tensor.clone() if written[name] else tensor for name, tensor in tensors.items()}


_in_charge: ContextVar[SharedBases | None] = ContextVar("shared bases", default=None)


def shared_bases() -> SharedBases | None:
    """Give what is in charge; None where every model has its base for itself."""
    return _in_charge.get()


@contextmanager
def sharing_bases(bases: SharedBases) -> Iterator[SharedBases]:
    """Let models that are loaded while the block runs stand on the same frozen tensors.

    Args:
        bases: What was read so far; it may be used again.
    """
    token = _in_charge.set(bases)
    try:
        yield bases
    finally:
        _in_charge.reset(token)
