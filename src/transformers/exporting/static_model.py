"""A model as one graph: tensors in, tensors out, adapters folded in, and no shape that depends on the texts.

What `torch.export`, ``torch.compile(fullgraph=True)`` and ONNX need. Its outputs are those of the model; only the
padding, which the model leaves out, is computed here.

Letters in shapes: ``B`` batch, ``C`` choices, ``L`` padded length.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ..heads.head import Head
from ..heads.multiple_choice import MultipleChoice
from ..layers.inputs import EncoderInputs
from ..methods.lora.layers import lora_layers
from ..modeling_utils import PreTrainedModel

__all__ = ["StaticModel"]


class StaticModel(nn.Module):
    """A copy of a model in evaluation, for capture.

    Args:
        model: A model of this package, with or without adapters. In the copy the active adapter is merged, and weights
            of 4 or 8 bits are made full; the model itself stays as it is.

    Attributes:
        input_names: The inputs that ``forward`` takes, in order: ``input_ids``, ``attention_mask``, and
            ``token_type_ids`` where the model tells types of tokens apart.
        output_names: Its outputs, in order.

    Raises:
        ValueError: If the model is not one of this package with a head or a bare encoder, or as of
            ``merge_and_unload``.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        if not isinstance(model, Head):
            raise ValueError(f"{type(model).__name__} is no model of this package; one of its heads was expected.")
        plain = copy.deepcopy(model).eval()
        if any(True for _ in lora_layers(plain)):
            plain = plain.merge_and_unload()
        if plain.is_quantized:
            plain = plain.dequantize()  # which says its error
        plain.config.output_attentions = plain.config.output_hidden_states = False
        plain.use_static_shapes()
        self.model = plain.requires_grad_(False)
        types = getattr(plain.config, "type_vocab_size", 0)
        self.input_names = ("input_ids", "attention_mask", *(("token_type_ids",) if types > 1 else ()))
        with torch.no_grad():
            self.output_names = tuple(plain.scores(EncoderInputs(self.example_ids(1, 2))))

    def example_ids(self, rows: int, length: int) -> Tensor:
        """Make ids of the shape that the model takes, none of them special. Shape: (B, L), or (B, 2, L)."""
        shape = (rows, 2, length) if isinstance(self.model, MultipleChoice) else (rows, length)
        generator = torch.Generator().manual_seed(0)
        return torch.randint(5, self.model.config.vocab_size, shape, generator=generator)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Compute the outputs.

        Args:
            input_ids: Token ids. Shape: (B, L); (B, C, L) for multiple choice.
            attention_mask: 1 where a token is valid; any mask is honoured. Shape: as ``input_ids``.
            token_type_ids: Segment of each token; 0 where None. Shape: as ``input_ids``.

        Returns:
            The tensors that ``output_names`` names.
        """
        outputs = self.model.scores(EncoderInputs(input_ids, attention_mask, token_type_ids))
        return tuple(outputs.values())
