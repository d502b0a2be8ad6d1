"""Padded batch to packed tokens and back, so that padding costs no computation.

A padded batch of 16 texts is often more than half padding. The encoders therefore work on a *packed* layout: each row
of the batch is cut to the window of columns that holds its valid tokens, rows are sorted by length, and rows of like
length stand together in a group. Everything token-wise runs on one matrix ``(T, D)``; attention runs group by group,
each group being a contiguous slice of that matrix. Nothing but the layout is computed per step, and it is computed
once.

Letters in shapes: ``B`` batch, ``L`` padded length, ``T`` packed tokens, ``D`` width, ``G`` rows of a group,
``n`` length of a group's rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from .losses import IGNORED_LABEL
from .transfer import on_cpu, send_together

__all__ = ["SIZES", "PackedLayout", "PackedOutput", "RowGroup", "first_column", "group_rows"]

# How much of a group may be padding. Rows of exactly one length would make many small groups, whose attention is
# slow for its size; a sixteenth keeps the groups few and the wasted work small.
GROUP_PADDING = 1 / 16
# Where a new number of tokens costs plans of its products, numbers are multiples of this, or of twice as many from a
# thousand tokens on, so that they come again: a step of 32 short sentences in bf16 takes 75 ms instead of 125.
SIZES, LARGE = 32, 1024
FILLED = 8  # rows that may take the padding
# On a GPU so many tokens of padding at least: they cost less than to launch the operations of one more group.
GPU_GROUP_PADDING = 2048


@dataclass(frozen=True)
class RowGroup:
    """Rows of like length: a contiguous slice of the packed tokens.

    Attributes:
        first_row: Place of the group's first row in the packed order of rows.
        rows: Number of rows, ``G``.
        start: Place of the group's first token among the packed tokens.
        length: Tokens of each row, ``n``.
        key_mask: True where a token may be attended to; None where all may. Shape: (G, n).
    """

    first_row: int
    rows: int
    start: int
    length: int
    key_mask: Tensor | None

    def tokens(self, packed: Tensor) -> Tensor:
        """Cut this group's tokens out. Shape: (T, …) to (G, n, …), a view."""
        return packed[self.start : self.start + self.rows * self.length].unflatten(0, (self.rows, self.length))

    def row_values(self, per_row: Tensor) -> Tensor:
        """Cut this group's rows out of a tensor with one entry a row, in packed order. Shape: (B, …) to (G, …)."""
        return per_row[self.first_row : self.first_row + self.rows]


@dataclass(frozen=True)
class PackedLayout:
    """Where each packed token stands in the padded batch.

    Attributes:
        batch_size: ``B``.
        padded_length: ``L``.
        groups: The row groups, longest rows first.
        token_index: Place of each packed token in the flattened padded batch. Shape: (T,).
        valid: False for a packed token that the mask excludes; None where there is none. Shape: (T,).
        row_order: The row of the batch that stands at each place of the packed order. Shape: (B,).
        first_token: Place of each row's first valid token, in packed order of rows. Shape: (B,).
        static_shapes: Whether no shape depends on the texts; see `transformers.layers.padded`.
    """

    static_shapes: ClassVar[bool] = False

    batch_size: int
    padded_length: int
    groups: tuple[RowGroup, ...]
    token_index: Tensor
    valid: Tensor | None
    row_order: Tensor
    first_token: Tensor

    @classmethod
    def from_mask(
        cls, attention_mask: Tensor, device: torch.device | None = None, *, few_sizes: bool = False
    ) -> PackedLayout:
        """Plan the layout of a batch.

        Any mask is honoured: padding on the right, on the left, or inside a row. A row without any valid token is
        kept as its first token alone, so that it costs little and gives finite numbers. The plan is made on the CPU.
        A mask on an accelerator is waited for, once, unless it was sent there by `transformers.layers.transfer.send`.

        Args:
            attention_mask: 1 (or True) where a token is valid; on the CPU or the batch's device. Shape: (B, L).
            device: Where the batch is; by default where the mask is.
            few_sizes: Let short rows take padding, so that the number of tokens is one that other batches have.

        Returns:
            The layout.

        Raises:
            ValueError: If the mask is not of two dimensions, or empty.
        """
        _check_mask(attention_mask)
        device = attention_mask.device if device is None else device
        mask = on_cpu(attention_mask) != 0
        batch_size, padded_length = mask.shape
        counts = mask.sum(1)
        first = mask.int().argmax(1)
        length = padded_length - mask.flip(1).int().argmax(1) - first  # of the window from first to last valid token
        length[counts == 0] = 1
        order = torch.argsort(length, descending=True, stable=True)
        lengths = length[order].tolist()

        ranges = group_rows(lengths, 0 if device.type == "cpu" else GPU_GROUP_PADDING)
        if few_sizes:
            ranges, lengths = _with_short_rows_filled(ranges, lengths)
        allowed: list[Tensor] = []
        indices: list[Tensor] = []
        firsts: list[Tensor] = []
        start = 0
        for begin, end in ranges:
            rows, longest = order[begin:end], lengths[begin]
            window = first[rows].clamp(max=padded_length - longest)
            columns = window[:, None] + torch.arange(longest)
            index = rows[:, None] * padded_length + columns  # (G, n)
            firsts.append(start + torch.arange(end - begin) * longest + first[rows] - window)
            allowed.append(mask.view(-1)[index] | (counts[rows] == 0)[:, None])
            indices.append(index.reshape(-1))
            start += index.numel()
        token_index = torch.cat(indices)
        valid, *key_masks = _sent_unless_all([mask.view(-1)[token_index], *allowed], device)
        token_index, row_order, first_token = send_together([token_index, order, torch.cat(firsts)], device)
        return cls(
            batch_size=batch_size,
            padded_length=padded_length,
            groups=_row_groups(ranges, lengths, key_masks),
            token_index=token_index,
            valid=valid,
            row_order=row_order,
            first_token=first_token,
        )

    def split(self, packed: Tensor) -> list[Tensor]:
        """Cut packed tokens into the groups, as views. Shape: (T, …) to (G, n, …) of each."""
        parts = packed.split([group.rows * group.length for group in self.groups])
        return [part.unflatten(0, (group.rows, group.length)) for part, group in zip(parts, self.groups, strict=True)]

    def split_rows(self, per_row: Tensor) -> list[Tensor]:
        """Cut a tensor with one entry a row, in packed order, into the groups. Shape: (B, …) to (G, …) of each."""
        return list(per_row.split([group.rows for group in self.groups]))

    @cached_property
    def row_table(self) -> Tensor:
        """Each row's first token, its length, its group, its place there, and the group's rows, in packed order.

        On the CPU. Shape: (B, 5).
        """
        rows = [
            (group.start + row * group.length, group.length, number, row, group.rows)
            for number, group in enumerate(self.groups)
            for row in range(group.rows)
        ]
        return torch.tensor(rows, dtype=torch.int64)

    @cached_property
    def key_mask(self) -> Tensor | None:
        """True for a packed token that may be attended to; None where all may. Shape: (T,)."""
        if all(group.key_mask is None for group in self.groups):
            return None
        device = self.token_index.device
        return torch.cat(
            [
                torch.ones(group.rows * group.length, dtype=torch.bool, device=device)
                if group.key_mask is None
                else group.key_mask.flatten()
                for group in self.groups
            ]
        )

    @property
    def tokens(self) -> int:
        """Number of packed tokens, ``T``."""
        return self.token_index.numel()

    def columns(self) -> Tensor:
        """Give the column of the padded batch that each packed token stands in. Shape: (T,)."""
        return self.token_index % self.padded_length

    def pack(self, padded: Tensor) -> Tensor:
        """Take the packed tokens out of a padded batch.

        Args:
            padded: Shape: (B, L, …), or (1, L, …) where all rows are the same.

        Returns:
            Shape: (T, …).

        Raises:
            ValueError: If rows or columns are not the batch's.
        """
        expected = (self.batch_size, self.padded_length)
        if padded.shape[:2] not in (expected, (1, self.padded_length)):
            raise ValueError(
                f"A tensor of the shape {tuple(padded.shape)} was given for a batch of {expected[0]} rows and "
                f"{expected[1]} columns; ids, positions, token types and labels of the tokens must have its shape."
            )
        padded = padded.expand(*expected, *padded.shape[2:])
        return padded.flatten(0, 1)[self.token_index]

    def unpack(self, packed: Tensor) -> Tensor:
        """Put packed tokens back into a padded batch, zero where the mask is 0. Shape: (T, …) to (B, L, …)."""
        padded = packed.new_zeros((self.batch_size * self.padded_length, *packed.shape[1:]))
        if self.valid is not None:
            packed = packed.masked_fill(~self.valid.view(-1, *[1] * (packed.dim() - 1)), 0)
        padded = padded.index_copy(0, self.token_index, packed)
        return padded.unflatten(0, (self.batch_size, self.padded_length))

    def valid_places(self) -> Tensor:
        """Say where the padded batch holds valid tokens. Shape: (B, L)."""
        return self.unpack(torch.ones_like(self.token_index, dtype=torch.bool))

    def mask_labels(self, labels: Tensor) -> Tensor:
        """Let labels of what the mask excludes not count. Shape: (B, L) to (B, L).

        Raises:
            ValueError: If rows or columns are not the batch's.
        """
        self.pack(labels)
        return labels.masked_fill(~self.valid_places(), IGNORED_LABEL)

    def pack_labels(self, labels: Tensor) -> Tensor:
        """Take the packed tokens' labels; those that the mask excludes do not count. Shape: (B, L) to (T,)."""
        packed = self.pack(labels)
        return packed if self.valid is None else packed.masked_fill(~self.valid, IGNORED_LABEL)

    def show(self, packed: Tensor, shown: list[Tensor] | None) -> Tensor:
        """Unpack tokens for the caller and take them back, so that what he sees lies on the way to the loss.

        Args:
            packed: Shape: (T, …).
            shown: Where the padded batch, shape (B, L, …), is put; None where the caller wants none.

        Returns:
            The same packed tokens, made of the padded batch. Shape: (T, …).
        """
        if shown is None:
            return packed
        padded = self.unpack(packed)
        shown.append(padded)
        again = padded.flatten(0, 1)[self.token_index]
        if self.valid is None:
            return again
        return torch.where(self.valid[:, None], again, packed)  # outside of the mask zeros are shown

    @classmethod
    def of_single_tokens(cls, rows: Tensor) -> PackedLayout:
        """Give the layout of a batch whose rows have one token each.

        Args:
            rows: One entry a row, whatever it is; its device is meant. Shape: (R,).
        """
        places, number = torch.arange(len(rows), device=rows.device), len(rows)
        return cls(number, 1, (RowGroup(0, number, 0, 1, None),), places, None, places, places)

    def of_rows(self, rows: Tensor) -> tuple[PackedLayout, Tensor]:
        """Plan the layout of some rows of the batch.

        Args:
            rows: Their numbers in the batch. Shape: (R,).

        Returns:
            The layout, and the place here of each of its packed tokens.
        """
        length = self.padded_length
        part = PackedLayout.from_mask(self.valid_places()[rows])
        row = torch.div(part.token_index, length, rounding_mode="floor")
        return part, self.packed_places()[rows[row] * length + part.token_index % length]

    def packed_places(self) -> Tensor:
        """Say where each token of the flattened padded batch is packed; 0 where it is not. Shape: (B·L,)."""
        places = self.token_index.new_zeros(self.batch_size * self.padded_length)
        return places.index_copy(0, self.token_index, torch.arange(self.tokens, device=places.device))

    def first_tokens(self, packed: Tensor) -> Tensor:
        """Take each row's first valid token, rows in packed order. Shape: (T, …) to (B, …)."""
        return packed[self.first_token]

    def restore_rows(self, per_row: Tensor) -> Tensor:
        """Bring one entry a row from packed order back into the batch's. Shape: (B, …) to (B, …)."""
        return per_row[torch.argsort(self.row_order)]

    def start_rows(self, padded: Tensor) -> Tensor:
        """Move each row to the left so that its first valid token stands in the first column. Shape: (B, L, …)."""
        first = self.restore_rows(self.token_index[self.first_token] % self.padded_length)  # (B,)
        columns = torch.arange(self.padded_length, device=padded.device)
        index = (columns + first[:, None]) % self.padded_length  # (B, L)
        return padded[torch.arange(self.batch_size, device=padded.device)[:, None], index]

    def unpack_attentions(self, group_probabilities: Sequence[Tensor]) -> Tensor:
        """Put the attention probabilities of all groups into one padded tensor.

        Args:
            group_probabilities: One tensor a group. Shape of each: (G, H, n, n).

        Returns:
            Probabilities between the batch's columns, zero where either side is not valid. Shape: (B, H, L, L).
        """
        heads = group_probabilities[0].shape[1]
        result = group_probabilities[0].new_zeros((self.batch_size, heads, self.padded_length, self.padded_length))
        for group, probabilities in zip(self.groups, group_probabilities, strict=True):
            if group.key_mask is not None:
                probabilities = probabilities * group.key_mask[:, None, :, None]
            result[self._attention_places(group)] = probabilities.permute(0, 2, 3, 1)  # (G, n, n, H)
        return result

    def show_attentions(self, group_probabilities: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Unpack probabilities for the caller and take them back, as `show` does with tokens.

        Args:
            group_probabilities: One tensor a group. Shape of each: (G, H, n, n).

        Returns:
            The padded tensor as of `unpack_attentions`, and the same probabilities of each group, made of it.
        """
        padded = self.unpack_attentions(group_probabilities)
        again = []
        for group, probabilities in zip(self.groups, group_probabilities, strict=True):
            shown = padded[self._attention_places(group)].permute(0, 3, 1, 2)  # (G, H, n, n)
            if group.key_mask is not None:
                shown = torch.where(group.key_mask[:, None, :, None], shown, probabilities)
            again.append(shown)
        return padded, again

    def _attention_places(self, group: RowGroup) -> tuple[Tensor, slice, Tensor, Tensor]:
        """Give the places of a group's pairs of tokens in a padded tensor of shape (B, H, L, L)."""
        index = group.tokens(self.token_index)  # (G, n)
        columns = index % self.padded_length
        row = torch.div(index[:, :1], self.padded_length, rounding_mode="floor")
        return row[:, :, None], slice(None), columns[:, :, None], columns[:, None, :]


@dataclass(frozen=True)
class PackedOutput:
    """What an encoder computed, still packed.

    Attributes:
        last_hidden_state: The last layer's output for all tokens, shape (T, D), or for each row's first alone,
            shape (B, D).
        layout: The batch's layout.
        hidden_states: Embeddings and every layer's output, padded, where asked for. Shape of each: (B, L, D).
        attentions: Every layer's probabilities, padded, where asked for. Shape of each: (B, H, L, L).
        first_token_only: Whether the last layer computed each row's first token alone.
    """

    last_hidden_state: Tensor
    layout: PackedLayout
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    first_token_only: bool = False

    def of_rows(self, rows: list[int]) -> PackedOutput:
        """Take some rows of the batch, as an encoder would have given them alone.

        Args:
            rows: Their numbers in the batch.
        """
        chosen = torch.tensor(rows, device=self.layout.token_index.device)
        if self.first_token_only:  # which tokens there were beside them is nothing to anybody any more
            state, part = self.first_tokens()[chosen], PackedLayout.of_single_tokens(chosen)
        else:
            part, places = self.layout.of_rows(chosen)
            state = self.last_hidden_state[places]
        return PackedOutput(
            state,
            part,
            hidden_states=None if self.hidden_states is None else tuple(each[chosen] for each in self.hidden_states),
            attentions=None if self.attentions is None else tuple(each[chosen] for each in self.attentions),
            first_token_only=self.first_token_only,
        )

    def first_tokens(self) -> Tensor:
        """Give the output of each row's first valid token, rows in the batch's order. Shape: (B, D)."""
        state = self.last_hidden_state
        if not self.first_token_only:
            state = self.layout.first_tokens(state)
        return self.layout.restore_rows(state)

    def padded(self) -> Tensor:
        """Give the last layer's output as a padded batch. Shape: (B, L, D)."""
        return self.layout.unpack(self.last_hidden_state) if self.hidden_states is None else self.hidden_states[-1]

    def from_first_tokens(self) -> Tensor:
        """Give the padded batch with each row's first valid token in the first column. Shape: (B, L, D)."""
        return self.layout.start_rows(self.padded())


def first_column(features: Tensor) -> Tensor:
    """Take the first token of each row where all tokens are given. Shape: (B, L, D) or (B, D) to (B, D)."""
    return features[:, 0] if features.dim() == 3 else features


def _check_mask(attention_mask: Tensor) -> None:
    if attention_mask.dim() != 2:
        raise ValueError(f"attention_mask has the shape {tuple(attention_mask.shape)}; (batch, length) was expected.")
    if not attention_mask.numel():
        raise ValueError(
            f"The batch is empty: {attention_mask.shape[0]} rows of {attention_mask.shape[1]} tokens; at least one of "
            "each was expected."
        )


def _row_groups(
    ranges: Sequence[tuple[int, int]], lengths: Sequence[int], key_masks: Sequence[Tensor | None]
) -> tuple[RowGroup, ...]:
    """Put groups behind each other: of each its range of rows, the first of whose lengths it has, and its mask."""
    groups, start = [], 0
    for (begin, end), key_mask in zip(ranges, key_masks, strict=True):
        groups.append(RowGroup(begin, end - begin, start, lengths[begin], key_mask))
        start += (end - begin) * lengths[begin]
    return tuple(groups)


def _sent_unless_all(masks: Sequence[Tensor], device: torch.device) -> list[Tensor | None]:
    """Bring masks of truth values from the CPU to a device; None for each that is true everywhere."""
    wanted = [mask for mask in masks if not bool(mask.all())]
    sent = iter(send_together(wanted, device) if wanted else [])
    return [None if bool(mask.all()) else next(sent) for mask in masks]


def group_rows(lengths: list[int], free_padding: int) -> list[tuple[int, int]]:
    """Cut rows, sorted by falling length, into groups whose padding stays within `GROUP_PADDING`.

    Args:
        lengths: Length of each row, falling.
        free_padding: So many tokens of padding are allowed in any group.

    Returns:
        The half-open range of rows of each group.
    """
    ranges = []
    begin, padding = 0, 0
    for row, length in enumerate(lengths):
        padding += lengths[begin] - length
        if padding > max(free_padding, GROUP_PADDING * lengths[begin] * (row - begin + 1)):
            ranges.append((begin, row))
            begin, padding = row, 0
    ranges.append((begin, len(lengths)))
    return ranges


def _with_short_rows_filled(
    ranges: list[tuple[int, int]], lengths: list[int]
) -> tuple[list[tuple[int, int]], list[int]]:
    """Put the shortest rows into groups of their own, so long that the number of all tokens is a multiple of `SIZES`.

    Args:
        ranges: By `group_rows`.
        lengths: Length of each row, falling.

    Returns:
        Both, changed; as they are where more than `FILLED` rows would have to take padding.
    """
    number, longest = len(lengths), lengths[0]
    for first in range(number - 1, max(0, number - 1 - FILLED), -1):
        kept = [(begin, min(end, first)) for begin, end in ranges if begin < first]
        alone = [*kept, *((row, row + 1) for row in range(first, number))]
        tokens = sum((end - begin) * lengths[begin] for begin, end in alone)
        missing = -tokens % (SIZES if tokens < LARGE else 2 * SIZES)
        if missing > sum(longest - length for length in lengths[first:]):
            continue
        filled = list(lengths)
        for row in range(number - 1, first - 1, -1):
            taken = min(missing, longest - lengths[row])
            filled[row], missing = lengths[row] + taken, missing - taken
        return alone, filled
    return ranges, lengths
