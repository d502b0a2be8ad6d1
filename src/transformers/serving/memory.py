"""Which adapters are in memory: loaded when asked for, kept while used, given up when others need the place.

The event loop alone calls this. Reading is done in threads of its own, entering the model by the compute thread
between two batches, so that nobody waits for somebody else's adapter. A request keeps the version that it began with:
what is replaced or unloaded leaves the model when the last such request is answered.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from ..utils import logging
from .catalog import Entry, Identity, look, scan
from .engine import Engine, Read, Served
from .metrics import Metrics
from .refusal import Refusal, one_line, unknown_adapter
from .scheduler import Scheduler

__all__ = ["AdapterMemory"]

logger = logging.get_logger(__name__)

_Result = TypeVar("_Result")


class AdapterMemory:
    """The adapters of a folder, some of them in memory.

    Args:
        folder: The folder.
        entries: What is in it.
        engine: The model.
        scheduler: Whose thread the model is used in.
        readers: Threads that read.
        limit: The most adapters in memory.
        metrics: What is counted.
    """

    def __init__(
        self,
        folder: Path,
        entries: dict[str, Entry],
        engine: Engine,
        scheduler: Scheduler,
        readers: Executor,
        limit: int,
        metrics: Metrics,
    ) -> None:
        self._folder, self.entries = folder, entries
        self._engine, self._scheduler, self._readers = engine, scheduler, readers
        self._limit, self._metrics = limit, metrics
        self._current: OrderedDict[str, Served] = OrderedDict()  # the least used first
        self._loading: dict[str, asyncio.Task[Served]] = {}
        self._problems: dict[str, tuple[Identity, str]] = {}
        self._taken = 0  # places in memory: of those current, replaced and coming
        self._freed = asyncio.Event()
        self.requests: Counter[str] = Counter()

    async def _read(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._readers, function, *arguments)

    # What requests need ---------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def using(self, name: str) -> AsyncIterator[Served]:
        """Have an adapter in memory inside the ``with``.

        Raises:
            Refusal: If there is none of that name, or it cannot be used.
        """
        self.entry(name)
        while (served := self._current.get(name)) is None:
            await self._load(name)
        self._current.move_to_end(name)
        served.pins += 1
        self.requests[name] += 1
        try:
            yield served
        finally:
            served.pins -= 1
            self._release(served)

    def entry(self, name: str) -> Entry:
        """Give what is known of an adapter.

        Raises:
            Refusal: If there is none of that name.
        """
        if name not in self.entries:
            raise unknown_adapter(name, self.entries)
        return self.entries[name]

    def describe(self, name: str) -> dict[str, Any]:
        """Say of one adapter what `GET /adapters` shows."""
        served, on_disk = self._current.get(name), self.entries[name]
        entry = on_disk if served is None else served.entry
        return {
            "name": name,
            "task": entry.task,
            "labels": list(entry.labels),
            "rank": entry.rank,
            "in_memory": served is not None,
            "requests": self.requests[name],
            "problem": self._problem(on_disk) or on_disk.problem,
        }

    def _problem(self, entry: Entry) -> str | None:
        """Give what was wrong when this very version was loaded."""
        identity, sentence = self._problems.get(entry.name, (None, ""))
        return sentence if identity == entry.identity else None

    # What is asked for by hand --------------------------------------------------------------------------------------

    async def reload(self, name: str) -> None:
        """Look at an adapter's folder anew and load it now.

        Raises:
            Refusal: If there is none of that name, or it cannot be used; a version in memory then stays.
        """
        found = await self._read(look, self._folder, name, self.entries.get(name))
        if found is None:
            raise unknown_adapter(name, self.entries)
        self.entries[name] = found
        self._problems.pop(name, None)
        while (running := self._loading.get(name)) is not None:  # it may have begun with what was there before
            await asyncio.wait([running])
        await self._load(name)

    def unload(self, name: str) -> None:
        """Take an adapter out of memory, when the requests that use it are answered.

        Raises:
            Refusal: If there is none of that name.
        """
        self.entry(name)
        self._replace(name, None)

    async def look_again(self) -> None:
        """See what has changed in the folder: new ones are offered, changed ones replaced, missing ones given up.

        A change is taken up when two looks in a row see the same: before, it may be half written.
        """
        try:
            found = await self._read(scan, self._folder, self.entries)
        except OSError as error:
            logger.warning("The folder of adapters cannot be read (%s); it is as it was.", one_line(error))
            return
        before, self.entries = self.entries, found
        for name in [name for name in before if name not in found]:
            self._problems.pop(name, None)
            self._replace(name, None)
        for name, served in list(self._current.items()):
            entry = found.get(name)
            if entry is None or entry.identity == served.entry.identity or entry != before.get(name):
                continue
            if name not in self._loading and self._problem(entry) is None:
                try:
                    await self._load(name)
                except Refusal as error:
                    logger.warning("%s The version in memory stays.", error.sentence)

    # Loading --------------------------------------------------------------------------------------------------------

    async def _load(self, name: str) -> Served:
        """Load the version on disk; whoever asks meanwhile waits for the same."""
        task = self._loading.get(name)
        if task is None:
            task = self._loading[name] = asyncio.create_task(self._loaded(name))
            task.add_done_callback(lambda done: self._ended(name, done))
        return await asyncio.shield(task)

    def _ended(self, name: str, task: asyncio.Task[Served]) -> None:
        del self._loading[name]
        if not task.cancelled():
            task.exception()  # has been seen, even where everybody who waited has given up

    async def _loaded(self, name: str) -> Served:
        entry = self.entry(name)
        known = self._problem(entry)
        if known is not None:  # reading it again and again would keep others waiting
            raise _unusable(name, known)
        try:
            read = await self._read(self._engine.read, entry)
            served = await self._entered(read)
        except (OSError, ValueError) as error:
            self._metrics.failures.inc()
            seen = await self._read(look, self._folder, name, entry)
            if seen is not None:  # as it is by now, which may be newer than what was known
                self.entries[name] = seen
                self._problems[name] = (seen.identity, one_line(error))
            raise _unusable(name, one_line(error)) from error
        self._metrics.loads.inc()
        self._problems.pop(name, None)
        self._replace(name, served)
        return served

    async def _entered(self, read: Read) -> Served:
        """Put an adapter into the model, when there is a place."""
        await self._make_place()
        try:
            return await asyncio.wrap_future(self._scheduler.call(lambda: self._engine.enter(read)))
        except BaseException:
            self._give_back_place()
            raise

    async def _make_place(self) -> None:
        """Take a place in memory: a free one, or that of the least used adapter that no request needs."""
        while self._taken >= self._limit:
            victim = next((name for name, served in self._current.items() if not served.pins), None)
            if victim is None:
                self._freed.clear()
                await self._freed.wait()
            else:
                self._metrics.evictions.inc()
                self._leave(self._current.pop(victim))
        self._taken += 1
        self._metrics.in_memory.set(self._taken)

    def _give_back_place(self) -> None:
        self._taken -= 1
        self._metrics.in_memory.set(self._taken)
        self._freed.set()

    def _replace(self, name: str, served: Served | None) -> None:
        """Let new requests have another version, or none in memory."""
        old = self._current.pop(name, None)
        if served is not None:
            self._current[name] = served
        if old is not None:
            self._release(old)

    def _release(self, served: Served) -> None:
        """Take a version out of the model that nobody uses and nobody will; one that is current may be evicted now."""
        if served.pins or served.left:
            return
        if self._current.get(served.entry.name) is not served:
            self._leave(served)
        self._freed.set()

    def _leave(self, served: Served) -> None:
        """Take a version out of the model; the compute thread does so before whatever is entered later."""
        served.left = True
        self._give_back_place()
        self._scheduler.call(lambda: self._engine.leave(served)).add_done_callback(_log_failure)


def _unusable(name: str, problem: str) -> Refusal:
    return Refusal(503, f"The adapter '{name}' cannot be used: {problem}")


def _log_failure(done: Future[None]) -> None:
    error = done.exception()
    if error is not None:
        logger.error("An adapter could not be taken out of the model.", exc_info=error)
