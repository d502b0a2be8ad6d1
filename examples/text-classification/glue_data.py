"""From a GLUE task or files to tokenized splits, with every problem of the data named before training starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glue_arguments import FILE_FORMATS, DataTrainingArguments
from glue_tasks import TASKS, GlueTask
from transformers import PreTrainedTokenizerBase, TrainingArguments
from transformers.utils import logging

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["TextData", "load_data", "tokenize_data"]

logger = logging.get_logger("transformers.examples.glue_data")

LABEL = "label"


@dataclass
class TextData:
    """Labelled texts.

    Attributes:
        train: The training split; None where it is not needed.
        validation: Validation splits by name.
        test: Test splits by name.
        columns: The column of the text, or the two of a pair.
        labels: Names of the classes in the order of their ids; none for a regression, or where only a model knows.
        regression: Whether labels are values.
        task: The GLUE task; None for files.
    """

    train: Dataset | None
    validation: dict[str, Dataset]
    test: dict[str, Dataset]
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    regression: bool
    task: GlueTask | None

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics."""
        if self.task is not None:
            return self.task.metrics
        return ("mse", "pearson") if self.regression else ("accuracy",)

    @property
    def main_metric(self) -> str:
        """The metric that the table shows first."""
        return self.task.main_metric if self.task is not None else self.metrics[0]


# Loading ------------------------------------------------------------------------------------------------------


def load_data(data_args: DataTrainingArguments, args: TrainingArguments, cache_dir: str | None = None) -> TextData:
    """Load the splits that the run needs, and check them.

    Args:
        data_args: What to load.
        args: Says which splits are needed.
        cache_dir: Where downloads are kept.

    Returns:
        The data, not yet tokenized.

    Raises:
        OSError: If the data set or a file cannot be read.
        ValueError: If a column is lacking, a split is empty, or a label is missing or was never seen in training.
    """
    is_glue = data_args.task_name is not None
    data = _load_glue(data_args, args, cache_dir) if is_glue else _load_files(data_args, args)
    limits = (data_args.max_train_samples, data_args.max_val_samples, data_args.max_test_samples)
    if data.train is not None:
        data.train = _first(data.train, limits[0])
    data.validation = {name: _first(split, limits[1]) for name, split in data.validation.items()}
    data.test = {name: _first(split, limits[2]) for name, split in data.test.items()}
    return data


def _first(split: Dataset, number: int | None) -> Dataset:
    return split if number is None else split.select(range(min(number, len(split))))


def _load_glue(data_args: DataTrainingArguments, args: TrainingArguments, cache_dir: str | None) -> TextData:
    """Load a GLUE task from the hub or a local folder."""
    name = data_args.task_name or ""
    task = TASKS[name]
    splits = _load_dataset(data_args.glue_dataset, name, cache_dir=cache_dir)
    wanted = {
        "train": ("train",) if args.do_train else (),
        "validation": task.validation_splits if args.do_eval or args.evaluation_strategy != "no" else (),
        "test": task.test_splits if args.do_predict else (),
    }
    for split_name in (split for names in wanted.values() for split in names):
        if split_name not in splits:
            raise ValueError(
                f"'{data_args.glue_dataset}' has no split '{split_name}' of {name}; it has {', '.join(splits)}."
            )
        _check_split(splits[split_name], f"{name} {split_name}", task.columns)
    return TextData(
        train=splits["train"] if wanted["train"] else None,
        validation={split: splits[split] for split in wanted["validation"]},
        test={split: splits[split] for split in wanted["test"]},
        columns=task.columns,
        labels=task.labels,
        regression=not task.labels,
        task=task,
    )


def _load_dataset(path: str, name: str | None = None, **options: Any) -> dict[str, Dataset]:
    """Call `datasets.load_dataset`, and turn its many errors into one sentence."""
    from datasets import disable_progress_bars, enable_progress_bars, load_dataset
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

    files = options.get("data_files")
    described = f"'{path}'" if files is None else ", ".join(f"'{file}'" for file in files.values())
    disable_progress_bars()  # reading files is quick; the bar that matters is the tokenizer's
    try:
        return dict(load_dataset(path, name, **options))
    except (DatasetNotFoundError, FileNotFoundError, ConnectionError) as error:
        raise OSError(
            f"The data set {described} is neither a folder here nor reachable on the hub ({_one_line(error)}). For "
            "GLUE without a connection give --glue_dataset FOLDER."
        ) from error
    except DatasetGenerationError as error:
        raise ValueError(f"{described} cannot be read: {_one_line(error.__cause__ or error)}") from error
    except ValueError as error:
        if "corresponds to no data" in str(error):
            raise ValueError(f"{described} holds no examples.") from error
        raise ValueError(f"The data set {described} cannot be loaded: {_one_line(error)}") from error
    finally:
        enable_progress_bars()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _load_files(data_args: DataTrainingArguments, args: TrainingArguments) -> TextData:
    """Load files of the user's own."""
    needs_validation = args.do_eval or args.evaluation_strategy != "no"
    paths = {
        "train": data_args.train_file if args.do_train else None,
        "validation": data_args.validation_file if needs_validation else None,
        "test": data_args.test_file if args.do_predict else None,
    }
    if needs_validation and paths["validation"] is None:
        raise ValueError("--evaluation_strategy wants something to evaluate on: give --validation_file.")
    splits = {name: _read_file(path) for name, path in paths.items() if path is not None}
    first_name = next(iter(splits))
    columns = _text_columns(splits[first_name], str(paths[first_name]))
    for name, split in splits.items():
        needed = columns if name == "test" else (*columns, LABEL)
        _check_split(split, str(paths[name]), needed)
    labels, regression = _labels_of(splits)
    if "train" in splits and "validation" in splits and not regression:
        _check_labels_known(splits["validation"], str(paths["validation"]), labels)
    return TextData(
        train=splits.get("train"),
        validation={"validation": splits["validation"]} if "validation" in splits else {},
        test={"test": splits["test"]} if "test" in splits else {},
        columns=columns,
        labels=labels,
        regression=regression,
        task=None,
    )


def _read_file(path: str) -> Dataset:
    suffix = Path(path).suffix.lower()
    if Path(path).stat().st_size == 0:
        raise ValueError(f"'{path}' is empty; rows with text were expected.")
    options: dict[str, Any] = {"sep": "\t"} if suffix == ".tsv" else {}
    return _load_dataset(FILE_FORMATS[suffix], data_files={"split": path}, **options)["split"]


def _text_columns(split: Dataset, source: str) -> tuple[str, ...]:
    """Find the text: ``sentence1`` and ``sentence2``, or else the first two columns that hold text."""
    text = ("string", "large_string")
    names = [
        name for name, feature in split.features.items() if name != LABEL and getattr(feature, "dtype", "") in text
    ]
    if not names:
        raise ValueError(
            f"'{source}' has no column of text; its columns are {', '.join(split.column_names) or '(none)'}. Expected "
            "'sentence', or 'sentence1' and 'sentence2', or other columns of text, and 'label'."
        )
    if "sentence1" in names and "sentence2" in names:
        return ("sentence1", "sentence2")
    return tuple(names[:2])


def _check_split(split: Dataset, source: str, columns: Sequence[str]) -> None:
    """Refuse an empty split, a lacking column, or an empty cell."""
    if len(split) == 0:
        raise ValueError(f"'{source}' holds no examples.")
    for column in columns:
        if column not in split.column_names:
            raise ValueError(f"'{source}' has no column '{column}'; its columns are {', '.join(split.column_names)}.")
        values = split.with_format("arrow")[column]
        if sum(chunk.null_count for chunk in values.chunks):
            row = values.to_pylist().index(None)
            raise ValueError(f"'{source}' has nothing in the column '{column}' of row {row + 1} (counted from 1).")


def _labels_of(splits: dict[str, Dataset]) -> tuple[tuple[str, ...], bool]:
    """Read the classes off the training split: values with a fraction mean regression."""
    labelled = splits.get("train") or splits.get("validation")
    if labelled is None:
        return (), False
    if labelled.features[LABEL].dtype in ("float32", "float64"):
        return (), True
    if "train" not in splits:
        return (), False  # the model knows its classes
    return tuple(str(label) for label in sorted(labelled.unique(LABEL))), False


def _check_labels_known(split: Dataset, source: str, labels: Sequence[str]) -> None:
    unknown = sorted({str(label) for label in split.unique(LABEL)} - set(labels))
    if unknown:
        raise ValueError(
            f"'{source}' has labels that training never sees: {', '.join(unknown)}. Those of the training set are "
            f"{', '.join(labels)}."
        )


# Tokenizing ---------------------------------------------------------------------------------------------------


def tokenize_data(
    data: TextData,
    tokenizer: PreTrainedTokenizerBase,
    label2id: dict[str, int],
    data_args: DataTrainingArguments,
    args: TrainingArguments,
) -> None:
    """Tokenize all splits in place and number their labels as the model does.

    Args:
        data: The data; its splits get ``input_ids``, ``attention_mask`` (``token_type_ids``) and ``labels``.
        tokenizer: The model's tokenizer.
        label2id: The model's classes.
        data_args: Length, padding and cache.
        args: For the order among several processes.

    Raises:
        ValueError: If a label is not among the model's classes.
    """
    length = _max_length(data_args.max_seq_length, tokenizer)
    names = dict(enumerate(data.labels)) if data.task is not None else None
    ids = {**{name.lower(): index for name, index in label2id.items()}, **label2id}

    def encode(batch: dict[str, list[Any]]) -> dict[str, Any]:
        texts = [batch[column] for column in data.columns]
        encoded = dict(
            tokenizer(
                *texts,
                padding="max_length" if data_args.pad_to_max_length else False,
                max_length=length,
                truncation=True,
            )
        )
        if LABEL in batch:
            encoded["labels"] = _number_labels(batch[LABEL], names, ids, data.regression)
        return encoded

    def tokenize(split: Dataset, is_test: bool = False) -> Dataset:
        if is_test and LABEL in split.column_names:
            split = split.remove_columns(LABEL)  # GLUE's are all -1
        return split.map(
            encode,
            batched=True,
            remove_columns=[name for name in split.column_names if name != "idx"],
            load_from_cache_file=not data_args.overwrite_cache,
            desc="Tokenizing",
        )

    with args.main_process_first(desc="tokenizing"):
        if data.train is not None:
            data.train = tokenize(data.train)
        data.validation = {name: tokenize(split) for name, split in data.validation.items()}
        data.test = {name: tokenize(split, is_test=True) for name, split in data.test.items()}


def _max_length(wanted: int, tokenizer: PreTrainedTokenizerBase) -> int:
    if wanted > tokenizer.model_max_length:
        logger.warning(
            "--max_seq_length %d is more than the model's %d tokens; using %d.",
            wanted,
            tokenizer.model_max_length,
            tokenizer.model_max_length,
        )
    return min(wanted, tokenizer.model_max_length)


def _number_labels(
    values: list[Any], names: dict[int, str] | None, ids: dict[str, int], regression: bool
) -> list[float] | list[int]:
    """Turn labels into values, or into the model's class ids."""
    if regression:
        return [float(value) for value in values]
    spelled = [str(value if names is None or isinstance(value, str) else names[value]) for value in values]
    unknown = sorted({name for name in spelled if name not in ids and name.lower() not in ids})
    if unknown:
        raise ValueError(f"The label '{unknown[0]}' is not among the model's classes: {', '.join(ids)}.")
    return [ids[name] if name in ids else ids[name.lower()] for name in spelled]
