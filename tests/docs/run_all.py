"""Runs every snippet of the docs for real: processes of their own, a real small model, trainings to their end.

Named pages alone where some are given: ``tutorials/ner.md``. What a page's text says of its results is for a person to
compare: what each snippet prints is shown.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from snippet_programs import check_extras
from snippets import ROOT, Run, lay_out, read_snippets, run_bash, run_python
from supposed import prepare


class RealPrograms:
    """Answers for what cannot be called as it is: installing is done, and a server is waited for, not for its end."""

    def __init__(self) -> None:
        self.server: subprocess.Popen[str] | None = None

    def __call__(self, words: list[str]) -> Run:
        """Run a program.

        Args:
            words: Its name and what follows it.
        """
        if words[0] == "pip":
            return check_extras(words)
        command = [sys.executable, "-m", "transformers.commands.transformers_cli", *words[1:]]
        if words[1] != "serve":
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            return Run(done.returncode, done.stdout + done.stderr)
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        return Run(0 if line else 1, line)

    def close(self) -> None:
        """End the server, where one was started."""
        if self.server is not None:
            self.server.terminate()
            self.server.wait(60)


def main() -> int:
    """Run the pages; 0 where every snippet ends well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="below docs/; all where none is named")
    options = parser.parse_args()
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    pages = [ROOT / "docs" / name for name in options.pages] or sorted((ROOT / "docs").rglob("*.md"))
    failed = [page for page in pages if not run_page(page)]
    print(f"{len(pages)} pages, failed: {', '.join(page.name for page in failed) or 'none'}")
    return int(bool(failed))


def run_page(page: Path) -> bool:
    """Run one page in a new folder, and say what each snippet prints."""
    snippets = [snippet for snippet in read_snippets(page) if snippet.is_run]
    if not snippets:
        return True
    programs, names = RealPrograms(), {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder:
        checkout = lay_out(Path(folder))
        (checkout / "models").symlink_to(ROOT / "models")
        (checkout / "roberta-base").symlink_to(ROOT / "models" / "minilm-roberta")  # comes before the hub
        prepare(page, checkout, checkout / "roberta-base", names)
        os.environ["HF_DATASETS_CACHE"] = f"{folder}/cache"
        try:
            return all(run_snippet(snippet, checkout, programs, names) for snippet in snippets)
        finally:
            programs.close()


def run_snippet(snippet: Any, checkout: Path, programs: RealPrograms, names: dict[str, Any]) -> bool:
    """Run one snippet; what it prints is shown."""
    print(f"\n== {snippet}", flush=True)
    begin = time.monotonic()
    if snippet.language == "python":
        done = Run(0, run_python(snippet, checkout, names))
    else:
        done = run_bash(snippet.text, checkout, programs, {}, ("pip", "transformers-cli"))
    print(f"{done.output}-- exit code {done.code}, {time.monotonic() - begin:.1f} s", flush=True)
    return done.code == 0


if __name__ == "__main__":
    sys.exit(main())
