"""The report's files. A run never fails because of them: what goes wrong is one line, and the run stays what it is."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers.utils import logging
from transformers.utils.secrets import hide_tokens
from transformers.utils.writing import reason_of, replacing, write_text

from ..records import report_path
from .examined import Examined
from .figures import plain
from .flags import ReportFlags
from .page import make_page
from .run_facts import RunOfReport
from .sections import show_sections

__all__ = ["write_pair", "write_report", "write_rows"]

logger = logging.get_logger("transformers.examples.reporting")


def write_report(record: Path, run: RunOfReport, flags: ReportFlags, examined: Callable[[], Examined]) -> Path | None:
    """Count, draw and write; where something goes wrong, say so in one line.

    Args:
        record: The run's record, beside which the files are put.
        run: The run.
        flags: Say which files.
        examined: Gives what is told of the task.

    Returns:
        The page; None where it was not written.
    """
    written = None
    try:
        found = examined()
        if flags.report_predictions and found.rows is not None:
            rows = report_path(record, "_predictions.jsonl")
            write_rows(rows, found.rows())
            logger.info("Every evaluated example: %s", rows)
        if flags.wants_page():
            written = _write_page(record, run, found)
    except Exception as error:  # whatever it is: the run is complete, and must not be lost for its report
        of_system = isinstance(error, OSError)
        said = str(error) if of_system else f"{type(error).__name__}: {reason_of(error)}"
        logger.warning(
            "The report could not be made (%s). The run is complete without it.",
            " ".join(said.split())[:500].rstrip("."),
        )
        logger.debug("The report's error:", exc_info=True)
    return written


def _write_page(record: Path, run: RunOfReport, examined: Examined) -> Path:
    figures = {**examined.figures(), **run.entries()}
    if "metrics" not in figures:
        figures["nothing_evaluated"] = True
    return write_pair(report_path(record, ""), f"Report: {run.title}", run.subtitle(), figures)


def write_pair(path: Path, title: str, subtitle: str, figures: Mapping[str, Any]) -> Path:
    """Write figures as JSON and as a page.

    Args:
        path: Of both files, without their endings.
        title: The page's heading.
        subtitle: The line below, to which the time is added.
        figures: By the names of `sections.SECTIONS`, and others that only the JSON has.

    Returns:
        The page.

    Raises:
        NotWrittenError: If one could not be written.
    """
    made = time.strftime("%Y-%m-%d %H:%M:%S %z")
    report = plain({"title": title, "made": made, **figures})
    entries = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in report.items())
    write_text(path.with_name(f"{path.name}.json"), hide_tokens("{\n" + entries + "\n}\n"))
    page = make_page(title, f"{subtitle} · {made}", show_sections(report))
    html = path.with_name(f"{path.name}.html")
    write_text(html, hide_tokens(page.encode("utf-8", "replace").decode("utf-8")))
    return html


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write objects, one a line, as a whole file or not at all.

    Raises:
        NotWrittenError: If the file could not be written.
    """
    with replacing(path) as beside, beside.open("w", encoding="utf-8", errors="replace", newline="") as file:
        for row in rows:
            file.write(_line(row))


def _line(row: Mapping[str, Any]) -> str:
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False, default=plain) + "\n"
    except ValueError:  # something is not finite, which JSON does not know
        return json.dumps(plain(row, digits=17), ensure_ascii=False) + "\n"
