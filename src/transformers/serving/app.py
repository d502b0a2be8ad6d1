"""The routes: what may be asked over HTTP, and how an answer is made of the parts."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from ..version import __version__
from .asking import EXAMPLES, SCHEMA, Question, make_rows, read_question
from .catalog import Entry
from .engine import Engine
from .guard import Guard
from .memory import AdapterMemory
from .metrics import Metrics
from .options import ServeOptions
from .refusal import Refusal
from .scheduler import Scheduler

__all__ = ["make_application"]

_PAGE = Path(__file__).with_name("page.html")
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_LOOK_SECONDS = 1.0
_LOOK_REST = 20  # times as long as a look takes
_READERS = 2

_Result = TypeVar("_Result")


class _Server:
    """The parts of a server, and what it answers with them."""

    def __init__(self, options: ServeOptions, engine: Engine, entries: dict[str, Entry]) -> None:
        self.options, self.engine, self.metrics = options, engine, Metrics()
        self.scheduler = Scheduler(
            engine,
            self.metrics,
            batch_tokens=options.max_batch_tokens,
            wait=options.max_wait_ms / 1000,
            queue_tokens=options.queue_tokens,
            longest_wait=options.timeout / 4,
        )
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="reader")
        self._texts = ThreadPoolExecutor(1, thread_name_prefix="texts")  # a tokenizer is no thing for two at once
        self.memory = AdapterMemory(
            Path(options.adapters),
            entries,
            engine,
            self.scheduler,
            self._readers,
            options.adapters_in_memory,
            self.metrics,
        )
        self._in_hand = 0

    @asynccontextmanager
    async def running(self, application: FastAPI) -> AsyncIterator[None]:
        """Let the threads run inside the ``with``."""
        self.scheduler.start()
        watching = asyncio.create_task(self._watch()) if self.options.watch else None
        try:
            yield
        finally:
            if watching is not None:
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching
            for pool in (self._readers, self._texts):
                pool.shutdown(cancel_futures=True)
            await asyncio.to_thread(self.scheduler.close)

    async def _watch(self) -> None:
        took = 0.0
        while True:
            await asyncio.sleep(max(_LOOK_SECONDS, took * _LOOK_REST))  # thousands of folders take their time
            begin = time.monotonic()
            await self.memory.look_again()
            took = time.monotonic() - begin

    async def predict(self, body: bytes) -> dict[str, Any]:
        """Answer a request.

        Raises:
            Refusal: If it is not to be answered.
        """
        if self._in_hand >= self.options.max_requests:
            sentence = f"{self._in_hand} requests are in hand already. Try again in a second."
            raise Refusal(429, sentence, {"Retry-After": "1"})
        self.scheduler.refuse_if_full()
        question = read_question(body, self.options.max_texts)
        self._in_hand += 1
        try:
            async with asyncio.timeout(self.options.timeout):
                with self.metrics.latency.time():
                    return await self._answered(question)
        except TimeoutError:
            raise Refusal(504, f"There was no answer within {self.options.timeout:g} seconds.") from None
        finally:
            self._in_hand -= 1

    async def _answered(self, question: Question) -> dict[str, Any]:
        async with self.memory.using(question.adapter) as served:
            asked = await self._in_texts(make_rows, served.pipeline, question)
            try:
                outputs = await asyncio.wrap_future(self.scheduler.submit(served, asked))
            except ValueError as error:  # what its choices make impossible
                raise Refusal(422, str(error)) from error
            answer = await self._in_texts(served.pipeline.answer, asked, outputs)
            return {"adapter": question.adapter, "task": served.pipeline.task, "outputs": answer}

    async def _in_texts(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._texts, function, *arguments)


def make_application(options: ServeOptions, engine: Engine, entries: dict[str, Entry]) -> FastAPI:
    """Make the application.

    Args:
        options: What was chosen.
        engine: The base.
        entries: The adapters that are there.
    """
    server = _Server(options, engine, entries)
    application = FastAPI(
        title="transformers-cli serve",
        version=__version__,
        description="Adapters over one base; requests for different adapters are computed together.",
        lifespan=server.running,
        docs_url=None,  # these pages need resources from elsewhere
        redoc_url=None,
    )
    application.add_exception_handler(Refusal, _answer_refusal)
    application.add_exception_handler(HTTPException, _answer_unknown)
    _add_asking(application, server)
    _add_adapters(application, server)
    _add_watching(application, server)
    application.add_middleware(
        Guard, metrics=server.metrics, token=options.token, max_body=options.max_body, timeout=options.timeout
    )
    return application


async def _answer_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return JSONResponse({"error": error.sentence}, error.status, error.headers)


async def _answer_unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = {404: "There is nothing at this path.", 405: "This path does not take this method."}
    return JSONResponse(
        {"error": sentence.get(error.status_code, f"{error.detail}.")}, error.status_code, error.headers
    )


def _add_asking(application: FastAPI, server: _Server) -> None:
    refusals: dict[int | str, dict[str, Any]] = {
        code: {"description": text}
        for code, text in {
            400: "The body is no JSON in UTF-8.",
            404: "There is no such adapter.",
            413: "The body is too large.",
            422: "It cannot be answered as it is asked; `error` says why.",
            429: "Too much is waiting; `Retry-After` says when to come again.",
            503: "The adapter cannot be used.",
            504: "It took too long.",
        }.items()
    }
    body = {"required": True, "content": {"application/json": {"schema": SCHEMA, "examples": EXAMPLES}}}

    @application.post("/predict", responses=refusals, openapi_extra={"requestBody": body})
    async def predict(request: Request) -> Response:
        """Answer with an adapter: `outputs` is what `pipeline(model=its folder)(inputs, …)` gives."""
        content = await server.predict(await request.body())
        try:
            return Response(json.dumps(content, ensure_ascii=False, allow_nan=False), media_type="application/json")
        except ValueError as error:
            raise Refusal(500, f"The adapter '{content['adapter']}' gives scores that are no numbers.") from error

    @application.get("/", include_in_schema=False)
    async def page() -> Response:
        return HTMLResponse(_PAGE.read_text(encoding="utf-8"), headers=_PAGE_HEADERS)


def _add_adapters(application: FastAPI, server: _Server) -> None:
    memory = server.memory

    @application.get("/adapters")
    async def adapters() -> list[dict[str, Any]]:
        """List the adapters: task, labels, rank, whether in memory, requests so far, and what is wrong with one."""
        return [memory.describe(name) for name in sorted(memory.entries)]

    @application.get("/adapters/{name}")
    async def adapter(name: str) -> dict[str, Any]:
        """Say of one adapter what the list says."""
        memory.entry(name)
        return memory.describe(name)

    @application.post("/adapters/{name}")
    async def load(name: str) -> dict[str, Any]:
        """Load an adapter now; where it is in memory, the version that is on disk now."""
        await memory.reload(name)
        return memory.describe(name)

    @application.delete("/adapters/{name}")
    async def unload(name: str) -> dict[str, Any]:
        """Take an adapter out of memory; it is loaded again when it is asked for."""
        memory.unload(name)
        return memory.describe(name)


def _add_watching(application: FastAPI, server: _Server) -> None:
    @application.get("/healthz")
    async def healthz() -> Response:
        """Say whether the server can answer."""
        if server.scheduler.is_alive:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "the compute thread has ended"}, 503)

    @application.get("/metrics")
    async def metrics() -> Response:
        """Give Prometheus's metrics."""
        return Response(server.metrics.text(), media_type=CONTENT_TYPE_LATEST)
