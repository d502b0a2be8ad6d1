"""Builds the site: gathers its pages, lets Zensical make HTML of them, and checks every link."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from site_links import find_problems
from site_pages import gather
from site_reference import find_gaps

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Build into ``site/``; 0 where all is well, 1 with a line on each problem where not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--serve", action="store_true", help="show it at http://localhost:8000, built anew when pages change"
    )
    options = parser.parse_args()
    begin = time.monotonic()
    gather(ROOT / "build" / "docs")
    command = [str(Path(sys.executable).with_name("zensical"))]
    if options.serve:
        return subprocess.run([*command, "serve"], cwd=ROOT, check=False).returncode
    done = subprocess.run(
        [*command, "build", "--clean", "--strict"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode:
        print("\n".join(said), file=sys.stderr)
        return 1
    problems = [*find_gaps(), *find_problems(ROOT / "site")]
    print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
    pages = len(list((ROOT / "site").rglob("*.html")))
    print(f"site/ has {pages} pages, built in {time.monotonic() - begin:.1f} s; problems: {len(problems)}")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
