"""How much memory the parts of a run took: resident memory of the process, and the GPU's allocator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from weakref import ref

import torch

__all__ = ["TrainerMemoryTracker"]

SECONDS_BETWEEN_LOOKS = 0.01


class TrainerMemoryTracker:
    """Measures how much memory each stage took: the making of the Trainer, a training, an evaluation, a prediction.

    Adds, in bytes, ``<stage>_mem_cpu_alloc_delta`` (more at the end than at the start) and ``_cpu_peaked_delta`` (more
    in between than at the end), on a GPU likewise. The first figures also tell of the stage ``init``. Stages may be
    nested (an evaluation inside a training); each is measured from its own start. What the system does not tell (it
    has no file handle left, say) is left out: a figure of memory never ends a run.

    Args:
        skip_memory_metrics: Measure nothing.
    """

    def __init__(self, skip_memory_metrics: bool = False) -> None:
        self.skip = skip_memory_metrics
        self._starts: list[tuple[int | None, int, _CpuPeak]] = []
        self._untold: dict[str, float] = {}

    def start(self) -> None:
        """Remember the memory at the start of a stage."""
        if self.skip:
            return
        if torch.cuda.is_available() and not self._starts:
            torch.cuda.reset_peak_memory_stats()
        self._starts.append((_cpu_memory(), _gpu_memory(), _CpuPeak()))

    @contextmanager
    def ended_by_errors(self) -> Iterator[None]:
        """End the stages that an error inside leaves open."""
        open_before = len(self._starts)
        try:
            yield
        except BaseException:
            while len(self._starts) > open_before:
                self.stop_and_update_metrics()
            raise

    def stop_and_update_metrics(self, metrics: dict[str, float] | None = None, stage: str | None = None) -> None:
        """Add what the stage that was started last took to its figures.

        Args:
            metrics: The figures; None keeps it for the next ones, if the stage has a name.
            stage: The names' prefix; by default the one that ``<stage>_runtime`` has among the figures.
        """
        if self.skip or not self._starts:
            return
        cpu, gpu, peak = self._starts.pop()
        highest, cpu_now, gpu_now = peak.stop(), _cpu_memory(), _gpu_memory()
        if stage is None and metrics is not None:
            stage = next((name.removesuffix("_runtime") for name in metrics if name.endswith("_runtime")), "eval")
        if stage is None:
            return
        found: dict[str, float] = {}
        if cpu is not None and cpu_now is not None:
            found[f"{stage}_mem_cpu_alloc_delta"] = cpu_now - cpu
            found[f"{stage}_mem_cpu_peaked_delta"] = max(0, highest - cpu_now)
        if torch.cuda.is_available():
            found[f"{stage}_mem_gpu_alloc_delta"] = gpu_now - gpu
            found[f"{stage}_mem_gpu_peaked_delta"] = max(0, torch.cuda.max_memory_allocated() - gpu_now)
        if metrics is None:
            self._untold.update(found)
        else:
            metrics.update({**self._untold, **found})
            self._untold = {}


class _CpuPeak:
    """Looks at the process's resident memory again and again, until it is stopped or nobody asks any more."""

    def __init__(self) -> None:
        self.highest = _cpu_memory() or 0
        self._over = Event()
        self._thread = Thread(target=_watch, args=(ref(self), self._over), daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Stop, and give the highest value that was seen."""
        self._over.set()
        self._thread.join()
        return self.highest


def _watch(wanted: ref[_CpuPeak], over: Event) -> None:
    """Keep the highest value; an error may have left a stage that nobody ends."""
    while not over.wait(SECONDS_BETWEEN_LOOKS):
        peak = wanted()
        if peak is None:
            return
        peak.highest = max(peak.highest, _cpu_memory() or 0)
        del peak


def _cpu_memory() -> int | None:
    import psutil  # accelerate brings it

    try:
        return int(psutil.Process().memory_info().rss)
    except (OSError, psutil.Error):
        return None


def _gpu_memory() -> int:
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
