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

__all__ = ["write_report", "write_rows"]

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
            "The report could not be made (%s). The run is complete without it.", " ".join(said.split())[:500]
        )
        logger.debug("The report's error:", exc_info=True)
    return written


def _write_page(record: Path, run: RunOfReport, examined: Examined) -> Path:
    title = f"Report: {run.title}"
    made = time.strftime("%Y-%m-%d %H:%M:%S %z")
    report = plain({"title": title, "made": made, **examined.figures(), **run.entries()})
    if "metrics" not in report:
        report["nothing_evaluated"] = True
    entries = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in report.items())
    write_text(report_path(record, ".json"), hide_tokens("{\n" + entries + "\n}\n"))
    path = report_path(record, ".html")
    html = make_page(title, f"{run.subtitle()} · {made}", show_sections(report))
    write_text(path, hide_tokens(html.encode("utf-8", "replace").decode("utf-8")))
    return path


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
