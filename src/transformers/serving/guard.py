"""What stands in front of every request: the token, the size of the body, and what a fault looks like outside.

Written against ASGI itself: a body that is too large is not kept, and no exception gets past here.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ..utils import logging
from .metrics import Metrics
from .refusal import Refusal

__all__ = ["Guard"]

logger = logging.get_logger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_OPEN = ("/", "/healthz")  # what needs no token: the page asks for it
_COUNTED = ("/", "/healthz", "/metrics", "/predict", "/openapi.json", "/adapters")
_DRAIN_SECONDS = 10.0


class Guard:
    """An application behind its checks.

    Args:
        application: What answers.
        metrics: What is counted.
        token: What requests must bring; none where None.
        max_body: The most bytes of a body.
        timeout: Seconds in which a body must have come.
    """

    def __init__(
        self, application: Application, metrics: Metrics, token: str | None, max_body: int, timeout: float
    ) -> None:
        self._application, self._metrics = application, metrics
        self._token = None if token is None else token.encode()
        self._max_body, self._timeout = max_body, timeout

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        started = False

        async def counted(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._metrics.requests.labels(_counted_as(scope["path"]), str(message["status"])).inc()
            await send(message)

        try:
            self._check_token(scope)
            body = await self._body(scope, receive)
            await self._application(scope, _given(body, receive), counted)
        except Refusal as refusal:
            await _refuse(refusal, counted)
        except Exception:
            number = uuid.uuid4().hex[:12]
            logger.exception("Fault %s while answering %s %s", number, scope["method"], _counted_as(scope["path"]))
            if started:
                raise
            await _refuse(Refusal(500, f"An internal fault; the server's log says more under {number}."), counted)

    def _check_token(self, scope: MutableMapping[str, Any]) -> None:
        if self._token is None or scope["path"] in _OPEN:
            return
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        kind, _, token = given.partition(b" ")
        if kind.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self._token):
            sentence = "This server needs its token: send the header Authorization: Bearer TOKEN."
            raise Refusal(401, sentence, {"WWW-Authenticate": "Bearer"})

    async def _body(self, scope: MutableMapping[str, Any], receive: Receive) -> bytes:
        """Receive a body within its bounds.

        Raises:
            Refusal: If it is too large or too slow.
        """
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        expected = int(length) if length.isdigit() else 0
        if expected > self._max_body and b"expect" in headers:  # it has not been sent yet
            raise self._too_large()
        try:
            async with asyncio.timeout(self._timeout):
                body = bytearray()
                async for chunk in _chunks(receive):
                    if len(body) + len(chunk) > self._max_body or expected > self._max_body:
                        await _drain(receive)
                        raise self._too_large()
                    body += chunk
        except TimeoutError:
            raise Refusal(408, "The body did not come in time.", {"Connection": "close"}) from None
        return bytes(body)

    def _too_large(self) -> Refusal:
        sentence = f"The body is too large; at most {self._max_body} bytes are taken."
        return Refusal(413, sentence, {"Connection": "close"})


async def _chunks(receive: Receive) -> Any:
    """Give the parts of a body as they come."""
    more = True
    while more:
        message = await receive()
        more = message["type"] == "http.request" and message.get("more_body", False)
        yield message.get("body", b"")


async def _drain(receive: Receive) -> None:
    """Let the rest of a body go by, so that its sender gets to read the answer."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in _chunks(receive):
                pass
    except TimeoutError:
        return  # a sender that is so slow may miss it


def _given(body: bytes, receive: Receive) -> Receive:
    """Give a body that was received to who receives it."""
    waiting = [body]

    async def once() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return once


async def _refuse(refusal: Refusal, send: Send) -> None:
    content = json.dumps({"error": refusal.sentence}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(content)), **refusal.headers}
    await send(
        {
            "type": "http.response.start",
            "status": refusal.status,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": content})


def _counted_as(path: str) -> str:
    """Give what a path is counted as: not each adapter by itself."""
    return path if path in _COUNTED else "/adapters/{name}" if path.startswith("/adapters/") else "other"
