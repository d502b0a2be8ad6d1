"""Tokenizer and model of a run, and the length of its sequences."""

from __future__ import annotations

from common.command_line import Arguments
from common.models import load_model, load_tokenizer, longest_text, tokenizer_name
from mlm_arguments import DataTrainingArguments
from transformers import AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["make_model", "sequence_length"]

_USUAL_LENGTH = 512  # where neither model nor tokenizer has a limit


def make_model(arguments: Arguments[DataTrainingArguments]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load tokenizer and model; start from another task's adapter where one is given.

    Raises:
        OSError: If a file is not found or not reachable.
        ValueError: If the parts do not fit each other, or there is no mask token.
    """
    tokenizer = load_tokenizer(arguments.model)
    if tokenizer.mask_token is None:
        name = tokenizer_name(arguments.model)
        raise ValueError(f"The tokenizer of '{name}' has no mask token, without which nothing can be hidden.")
    tokenizer.padding_side = "right"
    model = load_model(AutoModelForMaskedLM, arguments, tokenizer)
    model.sparse_prediction = True  # words are scored where one is hidden
    return model, tokenizer


def sequence_length(wanted: int | None, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Give the number of tokens of a sequence: as wanted, or the most that the model reads.

    Raises:
        ValueError: If more are wanted than the model reads.
    """
    longest = longest_text(model, tokenizer)
    if wanted is not None and wanted > longest:
        raise ValueError(
            f"--max_seq_length is {wanted}, and the model reads {longest} tokens; give no more than that."
        )
    return wanted or min(longest, max(_USUAL_LENGTH, model.longest_text or 0))
