"""Configuration, tokenizer and model of a run, and whether they fit each other."""

from __future__ import annotations

from typing import Any

from common.arguments import method_fields
from common.command_line import Arguments
from common.models import check_position_query, check_tokenizer, hub_options, load_model, longest_text
from mlm_arguments import DataTrainingArguments
from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["make_model", "sequence_length"]

_USUAL_LENGTH = 512  # where neither model nor tokenizer has a limit


def make_model(arguments: Arguments[DataTrainingArguments]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load configuration, tokenizer and model; start from another task's adapter where one is given.

    Raises:
        OSError: If a file is not found or not reachable.
        ValueError: If the parts do not fit each other, or there is no mask token.
    """
    model_args = arguments.model
    options: dict[str, Any] = hub_options(model_args)
    name = model_args.config_name or model_args.model_name_or_path
    tokenizer_name = model_args.tokenizer_name or model_args.model_name_or_path
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tokenizer_name, **options)
    if tokenizer.mask_token is None:
        raise ValueError(
            f"The tokenizer of '{tokenizer_name}' has no mask token, without which nothing can be hidden."
        )
    tokenizer.padding_side = "right"
    check_position_query(AutoConfig.from_pretrained(name, **options), model_args)
    config = AutoConfig.from_pretrained(name, **method_fields(model_args, tokenizer), **options)
    check_tokenizer(tokenizer, config, tokenizer_name)
    model = load_model(AutoModelForMaskedLM, config, model_args, arguments.training)
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
