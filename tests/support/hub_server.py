"""A small server that answers as the Hugging Face hub does, for what a download asks of it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Hub", "serve"]

COMMITS = {"main": "a" * 40, "v1": "b" * 40}


@dataclass
class Hub:
    """What the server holds, and what it was asked.

    Attributes:
        files: Content by ``(repository, revision, path)``; revisions are the keys of `COMMITS`.
        gated: Repositories that nobody may read.
        broken: Repositories that the server cannot serve.
        cut: Repositories whose files end in the middle.
        url: Where the server listens.
        requests: Method, path and token of each request.
    """

    files: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    url: str = ""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)

    def find(self, url_path: str) -> tuple[int, str, bytes, str]:
        """Give status, error code, content and commit for ``/owner/name/resolve/revision/path``."""
        repository, _, rest = url_path.strip("/").partition("/resolve/")
        revision, _, path = rest.partition("/")
        if repository in self.broken:
            return 400, "", b"", ""  # a 500 is retried for half a minute
        if repository in self.gated:
            return 403, "GatedRepo", b"", ""
        if not any(repository == known for known, _, _ in self.files):
            return 401, "RepoNotFound", b"", ""
        revision = next((name for name, commit in COMMITS.items() if revision in (name, commit)), "")
        if not revision:
            return 404, "RevisionNotFound", b"", ""
        content = self.files.get((repository, revision, path))
        if content is None:
            return 404, "EntryNotFound", b"", COMMITS[revision]
        return 200, "", content, COMMITS[revision]

    def downloads(self) -> list[str]:
        """Give the paths of all files that were sent."""
        return [path for method, path, _ in self.requests if method == "GET" and "/resolve/" in path]


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, with_body: bool) -> None:
            hub.requests.append((self.command, self.path, self.headers.get("Authorization")))
            status, code, content, commit = hub.find(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            for name, value in (("X-Error-Code", code), ("X-Repo-Commit", commit)):
                if value:
                    self.send_header(name, value)
            self.end_headers()
            if with_body:
                half = any(self.path.startswith(f"/{name}/") for name in hub.cut)
                self.wfile.write(content[: len(content) // 2] if half else content)
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    return Handler


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Let a hub listen on a free port of this machine while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
