"""How many threads compute on the CPU: as many as this process really gets.

A parallel region of a step is as slow as its slowest thread, and a step has thousands of them. A thread that has to
share its processor with another program holds the others up in each.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import torch

from ..utils import logging

__all__ = ["available_processors", "choose_threads", "clearly_fastest", "keep_threads", "use_threads"]

logger = logging.get_logger(__name__)

_OWN_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_CLEARLY_SLOWER = 1.25  # by less a measurement of a quarter of a second can be wrong
_SECONDS, _ROUNDS = 0.25, 9
_ROOT = Path("/")

_choice: tuple[int, int] | None = None  # what the number was, and what `choose_threads` has made of it


def use_threads(number: int) -> None:
    """Compute with so many threads from here on.

    Args:
        number: At least 1.
    """
    global _choice
    _choice = None
    torch.set_num_threads(number)


def choose_threads() -> None:
    """Compute with as many threads as this process really gets, and say the number in one line.

    It is PyTorch's own, one for each processor that this process may run on, or fewer: what the quota of its container
    allows, its share where a launcher started several processes on this machine, and what a measurement of a quarter
    of a second finds to be clearly faster, since other programs are at work. A number in ``OMP_NUM_THREADS`` or
    ``MKL_NUM_THREADS`` stands.
    """
    global _choice
    if any(os.environ.get(name) for name in _OWN_VARIABLES):
        return
    own = torch.get_num_threads()
    if _choice is not None and own == _choice[1]:  # other programs may have ended since
        own = _choice[0]
    most = min(own, available_processors())
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    number = max(1, most // processes) if processes > 1 else _fastest(most)
    torch.set_num_threads(number)
    _choice = (own, number)
    why = ""
    if number < most:
        why = f" of {most}: " + (
            f"{processes} processes share them" if processes > 1 else "other programs are at work"
        )
    logger.info("Computing with %d thread%s%s (--num_threads).", number, "s" if number > 1 else "", why)


def keep_threads(number: int | None) -> None:
    """Go on with the number of threads that a checkpoint was made with, unless somebody has set another one.

    With another number sums are rounded in another way, and the run would not end as an undisturbed one does.

    Args:
        number: What the checkpoint says; None where it says nothing.
    """
    if _choice is not None and number is not None and number != torch.get_num_threads():
        torch.set_num_threads(number)
        logger.info("The checkpoint was made with %d threads: the training goes on with them (--num_threads).", number)


def available_processors(root: Path = _ROOT) -> int:
    """Count the processors that this process may use: those it may run on, or what its quota allows, rounded up.

    Args:
        root: Where the system's files are looked for.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [-(-quota // period) for quota, period in _quotas(root) if quota > 0 and period > 0]
    return max(1, min([allowed, *quotas]))


def _quotas(root: Path) -> list[tuple[int, int]]:
    """Read how many microseconds of a processor Linux's control groups give this process in how many."""
    found = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        folder = root / "sys/fs/cgroup"
        second = line.startswith("0::")
        if not second and "cpu" not in controllers.split(","):
            continue
        folder = folder if second else folder / "cpu"
        for place in {folder, *(folder / part for part in _ancestors(group))}:
            if second:
                words = _text(place / "cpu.max").split()
            else:
                words = [_text(place / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
            if len(words) == 2 and words[0].isdigit() and words[1].isdigit():
                found.append((int(words[0]), int(words[1])))
    return found


def _ancestors(group: str) -> list[str]:
    """List a group's folder and those above it."""
    parts = [part for part in group.strip().split("/") if part and part != ".."]
    return ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _fastest(most: int) -> int:
    """Measure which number of threads gets work done: one of ``most``'s halves that is clearly faster, or ``most``."""
    numbers = [most]
    while numbers[-1] > 1:
        numbers.append(numbers[-1] // 2)
    if len(numbers) == 1:
        return most
    return clearly_fastest(_durations(numbers))


def clearly_fastest(durations: dict[int, float]) -> int:
    """Choose a number of threads.

    Args:
        durations: What the same work took with each number.

    Returns:
        The fastest; the largest one where that is hardly slower.
    """
    most, fastest = max(durations), min(durations, key=lambda number: durations[number])
    return fastest if durations[most] > _CLEARLY_SLOWER * durations[fastest] else most


def _durations(numbers: list[int]) -> dict[int, float]:
    """Measure, turn by turn, what a few operations of a small encoder take with each number of threads: the median."""
    rows, weight = torch.ones(256, 384), torch.ones(1536, 384)
    taken: dict[int, list[float]] = {number: [] for number in numbers}
    begin = time.perf_counter()
    for turn in range(_ROUNDS + 1):
        for number in numbers:
            torch.set_num_threads(number)
            start = time.perf_counter()
            for _ in range(4):
                torch.nn.functional.gelu(torch.nn.functional.linear(rows, weight)).add_(1.0)
            if turn:  # the first one starts the threads
                taken[number].append(time.perf_counter() - start)
        if turn and time.perf_counter() - begin > _SECONDS:
            break
    return {number: statistics.median(times) for number, times in taken.items()}
