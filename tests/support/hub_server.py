"""A small server that answers as the Hugging Face hub does, for what downloads and uploads ask of it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hub_uploads import Refusal, Uploads

__all__ = ["Hub", "connect", "serve"]

COMMITS = {"main": "a" * 40, "v1": "b" * 40}


@dataclass
class Hub:
    """What the server holds, and what it was asked.

    Attributes:
        files: Content by ``(repository, revision, path)``.
        commits: The commit by ``(repository, revision)`` where something was uploaded; that of `COMMITS` otherwise.
        private: Repositories that only those with a token may see.
        gated: Repositories that nobody may read.
        broken: Repositories that the server cannot serve.
        cut: Repositories whose files end in the middle.
        uploads: How it takes files.
        url: Where the server listens.
        requests: Method, path and token of each request.
        bodies: All that was sent to it.
    """

    files: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    commits: dict[tuple[str, str], str] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    gated: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    uploads: Uploads = field(default_factory=Uploads)
    url: str = ""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def find(self, url_path: str, token: str | None = None) -> tuple[int, str, bytes, str]:
        """Give status, error code, content and commit for ``/owner/name/resolve/revision/path``."""
        repository, _, rest = url_path.strip("/").partition("/resolve/")
        revision, _, path = rest.partition("/")
        if repository in self.broken:
            return 400, "", b"", ""  # a 500 is retried for half a minute
        if repository in self.gated:
            return 403, "GatedRepo", b"", ""
        known = any(repository == name for name, _, _ in self.files) or repository in self.uploads.repositories
        if not known or (repository in self.private and token is None):
            return 401, "RepoNotFound", b"", ""
        commits = COMMITS | {name: commit for (where, name), commit in self.commits.items() if where == repository}
        revision = next((name for name, commit in commits.items() if revision in (name, commit)), "")
        if not revision:
            return 404, "RevisionNotFound", b"", ""
        content = self.files.get((repository, revision, path))
        if content is None:
            return 404, "EntryNotFound", b"", commits[revision]
        return 200, "", content, commits[revision]

    def downloads(self) -> list[str]:
        """Give the paths of all files that were sent."""
        return [path for method, path, _ in self.requests if method == "GET" and "/resolve/" in path]

    def folder(self, repository: str, revision: str = "main") -> dict[str, bytes]:
        """Give the files of a repository by their paths."""
        return {
            path: held for (name, where, path), held in self.files.items() if (name, where) == (repository, revision)
        }


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            if self.path.startswith("/api/"):
                self._take()
            else:
                self._answer(with_body=True)

        def do_POST(self) -> None:
            self._take()

        def do_PUT(self) -> None:
            self._take()

        def _take(self) -> None:
            """Answer a request that writes, or asks about a repository."""
            token, body = self.headers.get("Authorization"), self._body()
            hub.requests.append((self.command, self.path, token))
            hub.bodies.append(body)
            try:
                status, code, content = 200, "", hub.uploads.answer(hub, self.command, self.path, token, body)
            except Refusal as refusal:
                status, code, content = refusal.status, refusal.code, refusal.content
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", "application/json")
            if code:
                self.send_header("X-Error-Code", code)
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = True

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            pieces = []
            while size := int(self.rfile.readline(), 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            return b"".join(pieces)

        def _answer(self, with_body: bool) -> None:
            token = self.headers.get("Authorization")
            hub.requests.append((self.command, self.path, token))
            status, code, content, commit = hub.find(self.path, token)
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
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def connect(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch, *, xet: bool = False) -> None:
    """Let this process use a hub, without anybody logged in.

    Args:
        hub: A hub that listens.
        home: Where downloads are kept.
        monkeypatch: Undoes it.
        xet: Send through hf_xet where the hub has large files; as LFS otherwise.
    """
    from huggingface_hub import constants

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    settings = {"ENDPOINT": hub.url, "HUGGINGFACE_CO_URL_TEMPLATE": template, "HF_HUB_OFFLINE": False}
    settings |= {"HF_HUB_DISABLE_XET": not xet}
    for name, value in {**settings, "HF_HUB_CACHE": str(home / "hub"), "HF_TOKEN_PATH": str(home / "token")}.items():
        monkeypatch.setattr(constants, name, value)
