"""What a caller gives an encoder, checked, and the layout that it is computed in.

Letters in shapes: ``B`` batch, ``L`` padded length, ``E`` width of the embedding tables.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .capture import explain_capture
from .half_products import plans_by_shape
from .inputs import EncoderInputs
from .packing import PackedLayout
from .padded import PaddedLayout

__all__ = ["lay_out"]


def lay_out(
    inputs: EncoderInputs, dtype: torch.dtype = torch.float32, *, static_shapes: bool = False
) -> tuple[Tensor, PackedLayout]:
    """Check a batch and plan its layout.

    Args:
        inputs: Its ids or embeddings, and its mask, which may be on the CPU: then there is nothing to wait for.
        dtype: What the encoder computes in.
        static_shapes: Keep the padding, so that the forward pass can be captured as one graph.

    Returns:
        The ids, shape (B, L), or the embeddings, shape (B, L, E), whichever was given; and the layout.

    Raises:
        ValueError: If both or neither are given, or a shape is not as described.
        RuntimeError: As of `transformers.layers.capture.explain_capture`.
    """
    words = _words(inputs.input_ids, inputs.inputs_embeds)
    mask = inputs.attention_mask
    if mask is None:
        mask = torch.ones(words.shape[:2], dtype=torch.bool, device=words.device if static_shapes else "cpu")
    if mask.shape != words.shape[:2]:
        raise ValueError(
            f"attention_mask has the shape {tuple(mask.shape)}, but the input's rows and columns are "
            f"{tuple(words.shape[:2])}; the same were expected."
        )
    if static_shapes:
        return words, PaddedLayout.from_mask(mask, words.device)
    explain_capture()
    return words, PackedLayout.from_mask(mask, words.device, few_sizes=plans_by_shape(words.device, dtype))


def _words(input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
    """Give the one that was given."""
    words = input_ids if inputs_embeds is None else inputs_embeds
    if words is None or (input_ids is not None and inputs_embeds is not None):
        raise ValueError("Give either input_ids or inputs_embeds: exactly one of them.")
    if words.dim() != (2 if inputs_embeds is None else 3):
        raise ValueError(
            f"The input has the shape {tuple(words.shape)}; (batch, length) was expected for input_ids, and "
            "(batch, length, width of the embeddings) for inputs_embeds."
        )
    return words
