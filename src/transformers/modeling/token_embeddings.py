"""A model's vocabulary: its table of word embeddings, the layer that scores words, and what ties the two.

Letters in shapes: ``V`` vocabulary size, ``D`` width of the embeddings.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..base.model import ModelWithBase
from .initialization import init_module

__all__ = ["VocabularyModel", "resized_parameter"]


class VocabularyModel(ModelWithBase):
    """The part of a model that reads and scores words; `PreTrainedModel` has it."""

    def _tied_weights(self) -> dict[str, str]:
        """Name the parameters that are another's second name: alias to source."""
        return {}

    def tied_on_loading(self) -> dict[str, str]:
        """Name the parameters that `tie_weights` makes of others, so that a file need not hold them."""
        tied = self._tied_weights()
        output = self.get_output_embeddings()
        if isinstance(output, nn.Linear) and self.config.tie_word_embeddings:
            paths = {module: path for path, module in self.named_modules()}
            tied = {f"{paths[output]}.weight": f"{paths[self.get_input_embeddings()]}.weight", **tied}
        return tied

    def tie_weights(self) -> None:
        """Let each alias of `_tied_weights` be the very parameter of its source.

        A class from elsewhere names none but may give a layer that scores words (`get_output_embeddings`): as in 4.4.2
        that layer shares the word embeddings where the configuration's ``tie_word_embeddings`` says so.
        """
        for alias, source in self._tied_weights().items():
            path, _, name = alias.rpartition(".")
            setattr(self.get_submodule(path), name, self.get_parameter(source))
        output = self.get_output_embeddings()
        if isinstance(output, nn.Linear) and self.config.tie_word_embeddings:
            output.weight = self.get_input_embeddings().weight

    def get_input_embeddings(self) -> nn.Embedding:
        """Give the table of word embeddings. Shape of its weight: (V, D)."""
        base = self.base_model
        if base is not self and isinstance(base, VocabularyModel):
            return base.get_input_embeddings()
        return base.embeddings.word_embeddings  # type: ignore[union-attr,return-value]

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the table of word embeddings, and what is tied to it."""
        base = self.base_model
        if base is not self and isinstance(base, VocabularyModel):
            base.set_input_embeddings(value)
        else:
            base.embeddings.word_embeddings = value  # type: ignore[union-attr]
        self.tie_weights()

    def get_output_embeddings(self) -> nn.Module | None:
        """Give the layer that scores words; None for a model that scores none."""
        return None

    def enable_input_require_grads(self) -> None:
        """Let the word embeddings' output require a gradient, so that checkpointed layers on a frozen base get one."""
        if getattr(self, "_input_grads_hook", None) is None:
            hook = self.get_input_embeddings().register_forward_hook(_require_grad)
            self._input_grads_hook: RemovableHandle | None = hook

    def disable_input_require_grads(self) -> None:
        """Undo `enable_input_require_grads`."""
        hook = getattr(self, "_input_grads_hook", None)
        if hook is not None:
            hook.remove()
        self._input_grads_hook = None

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None
    ) -> nn.Embedding:
        """Make the vocabulary longer or shorter; new words get new embeddings.

        Args:
            new_num_tokens: Number of words; None for as many as there are.
            pad_to_multiple_of: Round the number up to a multiple of this, which tensor cores like.

        Returns:
            The table of word embeddings.

        Raises:
            ValueError: If ``pad_to_multiple_of`` is no whole number above 0; if the vocabulary would lose its padding
                token; or if the table is part of a frozen base: an adapter holds no table, so its base would be
                another one.
        """
        old = self.get_input_embeddings()
        if pad_to_multiple_of is not None:
            if type(pad_to_multiple_of) is not int or pad_to_multiple_of < 1:
                raise ValueError(f"pad_to_multiple_of is {pad_to_multiple_of!r}; a whole number above 0 was expected.")
            number = old.num_embeddings if new_num_tokens is None else new_num_tokens
            new_num_tokens = -(-number // pad_to_multiple_of) * pad_to_multiple_of
        if new_num_tokens is None or new_num_tokens == old.num_embeddings:
            return old
        if self.config.freezes_base:
            raise ValueError(
                "The table of word embeddings belongs to the frozen base, and an adapter's folder does not hold it. "
                "Load the base without apply_lora, resize it, save it with save_pretrained, and start from that."
            )
        if new_num_tokens <= (old.padding_idx or 0):
            raise ValueError(
                f"new_num_tokens is {new_num_tokens}; more than the padding token's id, {old.padding_idx or 0}, was "
                "expected."
            )
        weight = old.weight
        new = nn.Embedding(
            new_num_tokens, old.embedding_dim, padding_idx=old.padding_idx, device=weight.device, dtype=weight.dtype
        )
        init_module(new, self.config)
        kept = min(new_num_tokens, old.num_embeddings)
        with torch.no_grad():
            new.weight[:kept] = weight[:kept]
        new.weight.requires_grad_(weight.requires_grad)
        self.config.vocab_size = new_num_tokens
        self._resize_output(new_num_tokens)
        self.set_input_embeddings(new)
        return new

    def _resize_output(self, new_num_tokens: int) -> None:
        """Bring the layer that scores words to a new vocabulary; new words start at zero. `tie_weights` comes last."""
        output = self.get_output_embeddings()
        if isinstance(output, nn.Linear):
            for name, parameter in list(output.named_parameters(recurse=False)):
                setattr(output, name, resized_parameter(parameter, new_num_tokens))
            output.out_features = new_num_tokens


def _require_grad(module: nn.Module, inputs: object, output: Tensor) -> None:
    output.requires_grad_(True)


def resized_parameter(parameter: nn.Parameter, rows: int) -> nn.Parameter:
    """Make a parameter longer or shorter along its first dimension, with zeros where it is new."""
    result = parameter.new_zeros((rows, *parameter.shape[1:]))
    kept = min(rows, parameter.shape[0])
    result[:kept] = parameter.detach()[:kept]
    return nn.Parameter(result, requires_grad=parameter.requires_grad)
