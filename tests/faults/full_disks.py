"""Runs on real disks that are too small, from nothing to enough, and each time once more when there is space.

The disks are mounted in memory (tmpfs), in a name space of this program's own. Started by ``scripts/disk_test.sh``
(all sizes), or by the suite (some). Writes the result as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
_FOLDERS = [ROOT / name for name in ("src", "examples", "tests/support", "tests/kills", "tests/faults")]
sys.path[:0] = [str(folder) for folder in (*_FOLDERS, *(ROOT / "examples").glob("*-*"))]

from example_runs import prepare  # noqa: E402
from fault_all import RUN  # noqa: E402
from fault_runs import flaws, run, with_shim  # noqa: E402
from kill_runs import digest  # noqa: E402

from transformers.training.environment import describe_environment  # noqa: E402

PAGE = 4096  # bytes, by which such a disk grows
_OWN_SPACE = ("unshare", "--user", "--map-root-user", "--mount", "env", "OWN_MOUNTS=1")


def main() -> int:
    """Go through the sizes, write the result, and give 1 where one was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="every so many-th size, in pages of 4 KiB")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600, help="no further size after so many")
    parser.add_argument("--result", type=Path, default=ROOT / "benchmarks" / "results" / "full_disks.json")
    given = parser.parse_args()
    if "OWN_MOUNTS" not in os.environ:
        os.execvp(_OWN_SPACE[0], [*_OWN_SPACE, sys.executable, *sys.argv])
    work = with_shim()
    begin, words = time.monotonic(), [*prepare(work)["run_glue"], *RUN]
    if run("run_glue", words, work / "straight").code != 0:
        print((work / "straight.log").read_text(), file=sys.stderr)
        return 1
    expected, disk = digest(work / "straight"), work / "disk"
    disk.mkdir()
    sizes: list[dict[str, Any]] = []
    pages = given.first
    while time.monotonic() - begin < 60 * given.minutes:
        sizes.append(_try(words, disk, pages, expected))
        if sizes[-1]["code"] == 0:
            break
        pages += given.every
    wrong = [each for each in sizes if each["flaws"]]
    result = {
        "sizes": len(sizes),
        "largest_bytes": sizes[-1]["bytes"],
        "enough": sizes[-1]["code"] == 0,
        "codes": {str(code): sum(each["code"] == code for each in sizes) for code in {each["code"] for each in sizes}},
        "not_as_they_should_be": wrong,
        "every_pages": given.every,
        "minutes": round((time.monotonic() - begin) / 60, 1),
        "environment": describe_environment(),
    }
    given.result.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for each in wrong:
        print(f"{each['bytes']} bytes: {'; '.join(each['flaws'])}")
    print(f"{len(sizes)} sizes, {len(wrong)} not as they should be; {given.result}")
    shutil.rmtree(work)
    return 1 if wrong else 0


def _try(words: list[str], disk: Path, pages: int, expected: dict[str, str]) -> dict[str, Any]:
    """Run on a disk of so many pages, then let it grow and repeat the command."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={pages * PAGE}", "none", str(disk)], check=True)
    try:
        ending = run("run_glue", words, disk)

        def repeat() -> Any:
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            return run("run_glue", words, disk)

        wrong = flaws(ending, disk, expected, repeat)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    return {"bytes": pages * PAGE, "code": ending.code, "flaws": wrong}


if __name__ == "__main__":
    sys.exit(main())
