"""The tagged sentences of a run, with every problem named before training starts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from common.identity import hash_rows
from common.splits import on_disk
from ner_arguments import DataTrainingArguments
from ner_files import Sentences, read_sentences
from ner_scores import metric_names
from ner_tags import check_tags, named_tags, order_tags, scheme_of, split_tag, tell_misfits
from transformers import TrainingArguments
from transformers.utils import logging

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["PLACE", "TAGS", "WORDS", "SentenceData", "load_sentences"]

logger = logging.get_logger("transformers.examples.ner_data")

WORDS, TAGS, PLACE = "tokens", "ner_tags", "place"


@dataclass
class SentenceData:
    """Tagged sentences; each split has the columns `WORDS`, `TAGS` and `PLACE` (where a sentence stands in its file).

    Attributes:
        train: The training split; None where it is not needed.
        validation: The validation split by its name, or nothing.
        test: The sentences to predict by their name, or nothing; `TAGS` only where the file has the model's.
        labels: All tags in the order of their ids.
        sources: The files, by the split's name.
        strict: Whether strict IOB2 says something about these tags.
        hashes: Of the content of the training split and the validation split, by name.
    """

    train: Dataset | None
    validation: dict[str, Dataset]
    test: dict[str, Dataset]
    labels: tuple[str, ...]
    sources: dict[str, str]
    strict: bool
    hashes: dict[str, str] = field(default_factory=dict)

    @property
    def types(self) -> tuple[str, ...]:
        """The types of entities."""
        return tuple(sorted({kind for kind in (split_tag(label)[1] for label in self.labels) if kind}))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, the main one first."""
        return metric_names(self.labels, self.strict)


def load_sentences(
    data_args: DataTrainingArguments, args: TrainingArguments, of_model: Sequence[str] | None
) -> SentenceData:
    """Read the files that the run needs, and check that they fit together.

    Args:
        data_args: The files.
        args: Says which are needed.
        of_model: The model's labels, where the run does not train it.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file holds no sentences, has no tags where they are needed, or has one that training never
            sees.
    """
    found = _read(data_args, args)
    labelled = [name for name in ("train", "validation") if name in found]
    for name in labelled:
        if found[name].tags is None:
            raise ValueError(f"'{found[name].source}' has no tags; a word and its tag were expected.")
        check_tags(found[name])
    labels = _labels(found, data_args.tag_names) if "train" in found else tuple(of_model or ())
    whose = "those of the training sentences" if "train" in found else "the model's labels"
    if "validation" in found:
        check_tags(found["validation"], labels, whose)
    tagged = found[labelled[0]].tags or [] if labelled else []
    scheme = scheme_of(tagged)
    for name in labelled:
        tell_misfits(found[name], scheme)
    if "test" in found:
        found["test"] = _tags_of_test(found["test"], labels)
    strict = scheme == "IOB2" and not any(label[:1] in ("E", "S") for label in labels)
    limits = {"train": data_args.max_train_samples, "validation": data_args.max_val_samples}
    limits["test"] = data_args.max_test_samples
    splits = {name: _to_split(sentences, limits[name]) for name, sentences in found.items()}
    data = SentenceData(
        train=splits.get("train"),
        validation={name: split for name, split in splits.items() if name == "validation"},
        test={name: split for name, split in splits.items() if name == "test"},
        labels=labels,
        sources={name: sentences.source for name, sentences in found.items()},
        strict=strict,
    )
    if data.train is not None:
        data.hashes = {"training": hash_rows(data.train, (WORDS, TAGS))}
        if args.load_best_model_at_end:
            data.hashes["validation"] = hash_rows(data.validation["validation"], (WORDS, TAGS))
    return data


def _read(data_args: DataTrainingArguments, args: TrainingArguments) -> dict[str, Sentences]:
    """Read the files; where none is given to evaluate on, part a share of the training sentences off."""
    evaluates = args.do_eval or args.evaluation_strategy != "no"
    paths = {
        "train": data_args.train_file if args.do_train else None,
        "validation": data_args.validation_file if evaluates else None,
        "test": data_args.test_file if args.do_predict else None,
    }
    flags = data_args.token_column, data_args.label_column, data_args.file_encoding
    found = {}
    for name, path in paths.items():
        if path is not None:
            sentences = read_sentences(path, *flags, optional_tags=name == "test")
            named = name != "test" or data_args.tag_names is not None
            found[name] = named_tags(sentences, data_args.tag_names) if named else sentences
    if evaluates and "validation" not in found:
        found["train"], found["validation"] = _parted(found["train"], data_args.validation_share)
    return found


def _parted(sentences: Sentences, share: float) -> tuple[Sentences, Sentences]:
    """Part a share off, drawn by chance but the same in every run."""
    number = len(sentences.words)
    if number < 2:
        raise ValueError(f"'{sentences.source}' has one sentence, so none to evaluate on; give --validation_file.")
    size = min(number - 1, max(1, round(number * share)))
    drawn = set(random.Random(0).sample(range(number), size))
    logger.info(
        "There is no --validation_file: %d of the %d sentences of '%s' are kept to evaluate on.",
        size,
        number,
        sentences.source,
    )
    return sentences.chosen([row for row in range(number) if row not in drawn]), sentences.chosen(sorted(drawn))


def _labels(found: dict[str, Sentences], names: Sequence[str] | None) -> tuple[str, ...]:
    """Give the tags of training in their order: as the user numbers them, or O first."""
    train = found["train"]
    if names is not None:
        check_tags(train, names, "--tag_names")
        return tuple(names)
    labels = order_tags(tag for _, _, tag in train.tagged())
    if len(labels) < 2:
        raise ValueError(f"All tags of '{train.source}' are '{labels[0]}'; there is nothing to learn.")
    return labels


def _tags_of_test(test: Sentences, labels: Sequence[str]) -> Sentences:
    """Keep the tags of what is predicted only where all of them are the model's; the last column may be another."""
    try:
        check_tags(test, labels, "the model's labels")
    except ValueError as error:
        logger.warning("The predictions are not scored: %s", error)
        return test.with_tags(None)
    return test


def _to_split(sentences: Sentences, limit: int | None) -> Dataset:
    from datasets import Dataset, Features, List, Value

    words = sentences.words[:limit]
    content: dict[str, Any] = {WORDS: words, PLACE: [sentences.place(row) for row in range(len(words))]}
    features: dict[str, Any] = {WORDS: List(Value("string")), PLACE: Value("string")}
    if sentences.tags is not None:
        content[TAGS], features[TAGS] = sentences.tags[:limit], List(Value("string"))
    return on_disk(Dataset.from_dict(content, features=Features(features)))
