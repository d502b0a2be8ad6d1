"""The nine GLUE tasks (Wang et al., 2018), one row a task."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TASKS", "GlueTask"]


@dataclass(frozen=True)
class GlueTask:
    """What there is to know of one task.

    Attributes:
        title: Its name on the GLUE server, and so the name of its prediction file.
        columns: The columns of its text or texts.
        labels: Names of its classes in the order of their ids; none for a regression.
        metrics: Its official metrics; see `common.metrics`.
        main_metric: The one that the LoRA paper reports (table 2).
        validation_splits: Names of its validation sets; the first is used during training.
        test_splits: Names of its test sets, in the order of ``test_titles``.
        test_titles: The prediction files' names, where they are not the title.
        predict_names: Whether the server wants class names rather than ids.
    """

    title: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    main_metric: str
    validation_splits: tuple[str, ...] = ("validation",)
    test_splits: tuple[str, ...] = ("test",)
    test_titles: tuple[str, ...] = ()
    predict_names: bool = False

    @property
    def titles(self) -> tuple[str, ...]:
        """Names of the prediction files, one for each test set."""
        return self.test_titles or (self.title,)


_PAIR = ("sentence1", "sentence2")
_ENTAILMENT = ("entailment", "not_entailment")

TASKS: dict[str, GlueTask] = {
    "cola": GlueTask(
        "CoLA", ("sentence",), ("unacceptable", "acceptable"), ("matthews_correlation",), "matthews_correlation"
    ),
    "mnli": GlueTask(
        "MNLI",
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        ("accuracy",),
        "accuracy",
        validation_splits=("validation_matched", "validation_mismatched"),
        test_splits=("test_matched", "test_mismatched"),
        test_titles=("MNLI-m", "MNLI-mm"),
        predict_names=True,
    ),
    "mrpc": GlueTask("MRPC", _PAIR, ("not_equivalent", "equivalent"), ("accuracy", "f1"), "accuracy"),
    "qnli": GlueTask("QNLI", ("question", "sentence"), _ENTAILMENT, ("accuracy",), "accuracy", predict_names=True),
    "qqp": GlueTask("QQP", ("question1", "question2"), ("not_duplicate", "duplicate"), ("accuracy", "f1"), "accuracy"),
    "rte": GlueTask("RTE", _PAIR, _ENTAILMENT, ("accuracy",), "accuracy", predict_names=True),
    "sst2": GlueTask("SST-2", ("sentence",), ("negative", "positive"), ("accuracy",), "accuracy"),
    "stsb": GlueTask("STS-B", _PAIR, (), ("pearson", "spearmanr"), "pearson"),
    "wnli": GlueTask("WNLI", _PAIR, ("not_entailment", "entailment"), ("accuracy",), "accuracy"),
}
