"""The sequences of a run, with every problem of its texts named before training starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from common.files import FILE_FORMATS
from mlm_arguments import DataTrainingArguments
from mlm_masking import MaskedTexts
from mlm_sequences import Recipe, make_sequences
from transformers import (
    DataCollatorForLanguageModeling,
    DataCollatorForWholeWordMask,
    PreTrainedTokenizerBase,
    TrainingArguments,
)
from transformers.adapters.metadata import file_sha256, hash_tokenizer

__all__ = ["MaskedData", "load_texts"]

_SEED_OF_EVALUATIONS = 0  # whatever --seed is, so that runs can be compared


@dataclass
class MaskedData:
    """The sequences of a run.

    Attributes:
        train: Those to learn from; None where they are not needed.
        validation: Those to evaluate on by their name, or nothing.
        sources: The files, by the split's name.
        hashes: Of the content, by name.
    """

    train: MaskedTexts | None = None
    validation: dict[str, MaskedTexts] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)


def load_texts(
    data_args: DataTrainingArguments, args: TrainingArguments, tokenizer: PreTrainedTokenizerBase, length: int
) -> MaskedData:
    """Make sequences of the texts that the run needs.

    Args:
        data_args: The files, and what is hidden of them.
        args: Say which are needed.
        tokenizer: The model's.
        length: Tokens of a sequence.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If one holds no texts, has no column of them, or holds too few to hide something of.
    """
    evaluates = args.do_eval or args.evaluation_strategy != "no"
    kind = DataCollatorForWholeWordMask if data_args.whole_word_mask else DataCollatorForLanguageModeling
    mask = kind(tokenizer, mlm_probability=data_args.mlm_probability)
    seed = args.seed if args.data_seed is None else args.data_seed
    recipes = _recipes(data_args, tokenizer, length, args.do_train, evaluates)
    anew = data_args.overwrite_cache and args.process_index == 0
    data = MaskedData()
    for name, (path, recipe) in recipes.items():
        rows = make_sequences(path, recipe, tokenizer, anew)
        data.sources[name] = path
        if name == "train":
            data.train = MaskedTexts(rows, mask, seed, anew=True)
            data.hashes["training"] = recipe.sha256
        else:
            data.validation[name] = MaskedTexts(rows, mask, _SEED_OF_EVALUATIONS, anew=False)
            _check_hides(data.validation[name], "validation", path)
            if args.load_best_model_at_end:
                data.hashes[name] = recipe.sha256
    if data.train is not None:
        _check_hides(data.train, "training", data.sources["train"])
    return data


def _check_hides(texts: MaskedTexts, what: str, path: str) -> None:
    """Refuse texts of which nothing is hidden; of a training, in its first epoch."""
    if not texts.hide_something():
        raise ValueError(
            f"No token of the {what} texts in '{path}' was drawn to be hidden: there are too few of them for "
            f"--mlm_probability {texts.mask.mlm_probability}. Give more texts, or a larger share."
        )


def _recipes(
    data_args: DataTrainingArguments, tokenizer: PreTrainedTokenizerBase, length: int, trains: bool, evaluates: bool
) -> dict[str, tuple[str, Recipe]]:
    """Say which file each split is made of, and how."""
    parts = evaluates and data_args.validation_file is None
    files = {"train": data_args.train_file if trains else None}
    files["validation"] = (data_args.validation_file or data_args.train_file) if evaluates else None
    limits = {"train": data_args.max_train_samples, "validation": data_args.max_val_samples}
    return {
        name: (
            path,
            Recipe(
                file=file_sha256(path),
                column=data_args.text_column if Path(path).suffix.lower() in FILE_FORMATS else None,
                encoding=data_args.file_encoding,
                tokenizer=hash_tokenizer(tokenizer),
                length=length,
                joined=not data_args.line_by_line,
                with_words=data_args.whole_word_mask,
                percentage=data_args.validation_split_percentage if parts else 0,
                parted_off=parts and name == "validation",
                limit=limits[name],
            ),
        )
        for name, path in files.items()
        if path is not None
    }
