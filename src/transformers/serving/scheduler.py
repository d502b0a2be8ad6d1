"""What waits and who computes it: one queue, one thread that owns the model.

Rows wait in the order in which they came. A batch is the oldest ones within a budget of tokens, of whatever adapters;
it begins when the budget is full, or when the oldest has waited as long as it may.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..pipelines.base import Asked
from ..utils import logging
from .costs import Planner
from .engine import Engine, Served, Unit
from .metrics import Metrics
from .refusal import Refusal

__all__ = ["Scheduler"]

logger = logging.get_logger(__name__)

_Result = TypeVar("_Result")
_LONGEST_RETRY = 60
_KEEP = 0.95  # of what is known of the speed, with each pass


@dataclass(eq=False)
class _Job:
    """A request's rows on their way.

    Attributes:
        done: Gets what was computed for each row, in order.
        results: What is there so far.
        missing: Rows that are not computed yet.
    """

    done: Future[list[Any]]
    results: list[Any]
    missing: int


@dataclass(eq=False)
class _Waiting:
    """A row in the queue.

    Attributes:
        unit: The row.
        job: Its request.
        place: Its place among the request's rows.
        arrived: When it came.
    """

    unit: Unit
    job: _Job
    place: int
    arrived: float = field(default_factory=time.monotonic)

    @property
    def tokens(self) -> int:
        return len(self.unit.row.input_ids)


class Scheduler:
    """A queue and its compute thread.

    Args:
        engine: The model; from `start` on the thread alone uses it.
        metrics: What is counted.
        batch_tokens: The most tokens of a batch.
        wait: Seconds that the oldest row waits for others.
        queue_tokens: The most tokens that wait.
        longest_wait: Seconds of computing that may wait, at the measured speed.
    """

    def __init__(
        self,
        engine: Engine,
        metrics: Metrics,
        *,
        batch_tokens: int,
        wait: float,
        queue_tokens: int,
        longest_wait: float,
    ) -> None:
        self._engine, self._metrics, self._planner = engine, metrics, Planner()
        self._batch_tokens, self._wait = batch_tokens, wait
        self._queue_tokens, self._longest_wait = queue_tokens, longest_wait
        self._changed = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._errands: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._tokens = 0
        self._closing = False
        self._work = self._busy = 0.0  # tokens and seconds of the last passes
        self._thread = threading.Thread(target=self._run, name="compute", daemon=True)

    def start(self) -> None:
        """Let the compute thread begin."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the compute thread is there."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Compute what waits, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    # From the event loop --------------------------------------------------------------------------------------------

    def refuse_if_full(self, tokens: int = 1) -> None:
        """Refuse what would not be computed in time.

        Args:
            tokens: Of the request.

        Raises:
            Refusal: With status 429, and ``Retry-After`` by the measured speed; with 413 where the request is larger
                than the whole queue.
        """
        if tokens > self._queue_tokens:
            raise Refusal(413, f"The request has {tokens} tokens; at most {self._queue_tokens} may wait here.")
        speed = self._work / self._busy if self._busy else None
        limit = self._queue_tokens if speed is None else min(self._queue_tokens, speed * self._longest_wait)
        waiting = self._tokens
        if waiting and waiting + tokens > limit:
            after = 1 if speed is None else min(_LONGEST_RETRY, max(1, math.ceil(waiting / speed)))
            sentence = f"The queue is full: {waiting} tokens wait. Try again in {after} seconds."
            raise Refusal(429, sentence, {"Retry-After": str(after)})

    def submit(self, served: Served, asked: Asked) -> Future[list[Any]]:
        """Queue a request's rows.

        Args:
            served: Its adapter.
            asked: The request.

        Returns:
            What its pipeline needs for the answer, row by row; cancelling it takes the rows back.

        Raises:
            Refusal: As of `refuse_if_full`.
        """
        rows = asked.rows
        job = _Job(Future(), [None] * len(rows), len(rows))
        if not rows:
            job.done.set_result([])
            return job.done
        waiting = [_Waiting(Unit(served, asked, row), job, place) for place, row in enumerate(rows)]
        number = sum(each.tokens for each in waiting)
        with self._changed:
            self.refuse_if_full(number)
            self._queue.extend(waiting)
            self._count(number)
            self._changed.notify()
        return job.done

    def call(self, errand: Callable[[], _Result]) -> Future[_Result]:
        """Let the compute thread do something with the model between two batches."""
        done: Future[_Result] = Future()
        with self._changed:
            self._errands.append((errand, done))
            self._changed.notify()
        return done

    def _count(self, tokens: int) -> None:
        self._tokens += tokens
        self._metrics.queue_tokens.set(self._tokens)
        self._metrics.queue_texts.set(len(self._queue))

    # In the compute thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            errand, batch = self._next()
            if errand is not None:
                _fulfil(errand[1], errand[0])
            elif batch:
                self._compute(batch)
            else:
                return

    def _next(self) -> tuple[tuple[Callable[[], Any], Future[Any]] | None, list[_Waiting]]:
        """Wait for something to do; nothing at the end."""
        with self._changed:
            while True:
                if self._errands:
                    return self._errands.popleft(), []
                self._drop_cancelled()
                if self._queue:
                    left = self._queue[0].arrived + self._wait - time.monotonic()
                    if left <= 0 or self._tokens >= self._batch_tokens or self._closing:
                        return None, self._take()
                    self._changed.wait(left)
                elif self._closing:
                    return None, []
                else:
                    self._changed.wait()

    def _drop_cancelled(self) -> None:
        while self._queue and self._queue[0].job.done.done():
            self._count(-self._queue.popleft().tokens)

    def _take(self) -> list[_Waiting]:
        """Take the oldest rows within the budget."""
        batch: list[_Waiting] = []
        number = 0
        while self._queue:
            row = self._queue[0]
            if not row.job.done.done():  # else nobody waits for it any more
                if batch and number + row.tokens > self._batch_tokens:
                    break
                batch.append(row)
                number += row.tokens
            self._queue.popleft()
            self._count(-row.tokens)
        return batch

    def _compute(self, batch: Sequence[_Waiting]) -> None:
        by_adapter: dict[Served, list[_Waiting]] = {}
        for row in batch:
            by_adapter.setdefault(row.unit.served, []).append(row)
        self._metrics.texts.observe(len(batch))
        self._metrics.tokens.observe(sum(row.tokens for row in batch))
        self._metrics.adapters.observe(len(by_adapter))
        mixing = [rows for served, rows in by_adapter.items() if served.mixes]
        groups = self._planner.plan([sum(row.tokens for row in rows) for rows in mixing])
        for group in groups:
            self._pass([mixing[number] for number in group])
        for served, rows in by_adapter.items():
            if not served.mixes:
                self._pass([rows])

    def _pass(self, parts: Sequence[Sequence[_Waiting]]) -> None:
        """Compute rows of one or several adapters at once; what fails together is tried adapter by adapter."""
        rows = [row for part in parts for row in part]
        start, worked = time.perf_counter(), time.thread_time()
        try:
            results = self._engine.compute([row.unit for row in rows])
        except Exception as error:
            if len(parts) > 1:
                logger.exception("A pass over %d adapters failed; each is computed by itself.", len(parts))
                for part in parts:
                    self._pass([part])
                return
            for row in rows:
                _fail(row.job.done, error)
            return
        seconds, tokens = time.perf_counter() - start, sum(row.tokens for row in rows)
        self._metrics.passes.labels("alone" if len(parts) == 1 else "mixed").inc()
        # On a CPU what others on the machine take is no cost of the pass.
        on_cpu = self._engine.device.type == "cpu"
        self._planner.measured(len(parts), tokens, time.thread_time() - worked if on_cpu else seconds)
        self._work, self._busy = _KEEP * self._work + tokens, _KEEP * self._busy + seconds
        for row, result in zip(rows, results, strict=True):
            _arrive(row, result)


def _arrive(row: _Waiting, result: Any) -> None:
    """Note a row's result; with the last one its request is done."""
    job = row.job
    if isinstance(result, Exception):
        _fail(job.done, result)
        return
    job.results[row.place] = result
    job.missing -= 1
    if not job.missing and job.done.set_running_or_notify_cancel():
        job.done.set_result(job.results)


def _fail(done: Future[Any], error: Exception) -> None:
    """Let a request fail, unless it has already, or was given up."""
    if not done.done() and done.set_running_or_notify_cancel():
        done.set_exception(error)


def _fulfil(done: Future[Any], errand: Callable[[], Any]) -> None:
    if not done.set_running_or_notify_cancel():
        return
    try:
        result = errand()
    except Exception as error:
        done.set_exception(error)
    else:
        done.set_result(result)
