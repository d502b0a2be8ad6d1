"""The record of a model's base: what a checkpoint provided, its hash, and whether the weights are still the same.

The hash is over the tensors of the checkpoint (names, dtypes, shapes, bytes), in whatever file they stood. Whoever
changes base weights afterwards (`load_state_dict`, an optimizer, a merge, by hand) makes another base of them; a cast
does not. `BaseRecord.changed` finds out by a digest of each tensor's values, which costs a pass over the memory.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .sharing import shared_bases

__all__ = ["BaseRecord", "digest_tensors", "digest_values", "hash_digests", "hash_tensors"]


@dataclass
class BaseRecord:
    """What is known of a model's base.

    Attributes:
        dtypes: By name, the dtype in which the base checkpoint held each parameter that it provided, the head's
            included, LoRA's and bottleneck adapters' left out; None where no checkpoint was read.
        sha256: Hash of the encoder's part of that checkpoint; None where it was not needed yet.
        source: Where that checkpoint is, a folder or hub id; empty where nobody else has it.
        kept: The base's own values of parameters that are trained in place, or that an adapter has its own of.
        adapted: Names of the encoder's parameters whose values in place are the active adapter's.
    """

    dtypes: dict[str, torch.dtype] | None = None
    sha256: str | None = None
    source: str = ""
    kept: dict[str, nn.Parameter] = field(default_factory=dict)
    adapted: set[str] = field(default_factory=set)
    _digests: dict[str, bytes] = field(default_factory=dict)

    def provides(self, name: str) -> bool:
        """Say whether the base checkpoint had a parameter of that name."""
        return name in (self.dtypes or {})

    def settle(self, sha256: str, tensors: Mapping[str, Tensor]) -> None:
        """Take down what the base is.

        Args:
            sha256: The checkpoint's hash.
            tensors: The encoder's parameters that it provided, by name, as they are in memory.
        """
        self.sha256 = sha256
        self._digests = {name: digest_values(tensor) for name, tensor in tensors.items()}

    def follow_cast(self, tensors: Mapping[str, Tensor]) -> None:
        """Take down the values anew after a cast, which leaves the base what it is.

        Args:
            tensors: As of `settle`, now in their new dtype. What had changed before goes on to count as changed.
        """
        self._digests = {n: digest_values(tensor) for n, tensor in tensors.items() if n in self._digests}

    def changed(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Name the tensors whose values are others than when the base was taken down.

        Args:
            tensors: As of `settle`, as they are now.
        """
        return [name for name, tensor in tensors.items() if self._digests.get(name) != digest_values(tensor)]

    def forget(self, names: list[str]) -> None:
        """Let tensors count as changed from now on, whatever is done to them."""
        for name in names:
            self._digests.pop(name, None)


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Hash tensors: names, dtypes, shapes and bytes.

    Args:
        tensors: By name; their order does not matter.

    Returns:
        A sha256 in hexadecimal.
    """
    return hash_digests(digest_tensors(tensors))


def digest_tensors(tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    """Digest each of several tensors: its name, dtype, shape and bytes.

    Args:
        tensors: By name.
    """
    shared = shared_bases()
    if shared is not None:
        return {name: shared.digest(name, tensor, _digest) for name, tensor in tensors.items()}
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:  # hashlib works outside the interpreter's lock
        return dict(zip(tensors, pool.map(_digest, tensors.keys(), tensors.values()), strict=True))


def hash_digests(digests: Mapping[str, bytes]) -> str:
    """Hash tensors by the digests of `digest_tensors`, in whatever portions these were made."""
    return hashlib.sha256(b"".join(digests[name] for name in sorted(digests))).hexdigest()


def _digest(name: str, tensor: Tensor) -> bytes:
    digest = hashlib.sha256(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
    digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.digest()


def digest_values(tensor: Tensor) -> bytes:
    """Digest a tensor's values, on its own device and at the speed of its memory; the dtype does not matter."""
    rows = torch.hash_tensor(tensor.detach(), -1 if tensor.dim() else ())
    return hashlib.sha256(rows.cpu().contiguous().numpy().data).digest()
