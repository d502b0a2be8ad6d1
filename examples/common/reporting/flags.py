"""The flags of the report that every example has."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ..arguments import flag_help

__all__ = ["NO_REPORT", "ReportFlags"]

NO_REPORT = "TRANSFORMERS_NO_REPORT"
"""Where this variable of the environment is 1, runs write no report.html and report.json, whatever their flags say."""


@dataclass(kw_only=True)
class ReportFlags:
    """What is told of a run beside its record."""

    report_html: bool = field(
        default=True,
        metadata=flag_help(
            f"Write report.html and report.json: what the run did and where it errs ({NO_REPORT}=1: none)."
        ),
    )
    report_predictions: bool = field(
        default=False,
        metadata=flag_help("Write every evaluated example with its probabilities into report_predictions.jsonl."),
    )

    def wants_page(self) -> bool:
        """Say whether the report is to be written."""
        return self.report_html and os.environ.get(NO_REPORT) != "1"
