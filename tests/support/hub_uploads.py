"""How the small hub takes files, in the calls that huggingface_hub makes: create, preupload, LFS, commit."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from hub_server import Hub

__all__ = ["Refusal", "Uploads"]

LARGE = (".safetensors", ".bin")
USER = "somebody"


class Refusal(Exception):
    """An answer that is none: status, the hub's code for it, and words."""

    def __init__(self, status: int, code: str = "", said: str = "", **more: str) -> None:
        super().__init__(said)
        self.status, self.code, self.content = status, code, json.dumps({"error": said, **more}).encode()


@dataclass
class Uploads:
    """What was made and taken, and who may.

    Attributes:
        writers: Tokens that may write; any where it is empty.
        repositories: What was made, with what its maker asked for.
        objects: Large files by their sha256.
        commits: What each commit says of itself, with its revision.
        large: Whether large files go the way of LFS; all are small otherwise.
        dies_after: How many large files are taken before the hub refuses everything; None for no end.
    """

    writers: set[str] = field(default_factory=set)
    repositories: dict[str, dict[str, Any]] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    commits: list[dict[str, Any]] = field(default_factory=list)
    large: bool = True
    dies_after: int | None = None

    def answer(self, hub: Hub, method: str, path: str, token: str | None, body: bytes) -> bytes:
        """Answer a request.

        Raises:
            Refusal: If the hub refuses it.
        """
        if self.dies_after is not None and len(self.objects) >= self.dies_after:
            raise Refusal(410, said="the hub is going down")
        path = path.partition("?")[0]
        if method == "PUT":
            return self._take_object(path.rpartition("/")[2], body)
        self._check_token(token)
        asked = json.loads(body) if body and not path.count("/commit/") else {}
        if path == "/api/repos/create":
            return _json(self._create(hub, asked))
        if path == "/api/validate-yaml":
            return _json({"errors": [], "warnings": []})
        if path.endswith("/info/lfs/objects/batch"):
            return _json(self._batch(hub, asked))
        repository, _, rest = path.removeprefix("/api/models/").partition("/")
        name, _, rest = rest.partition("/")
        repository = f"{repository}/{name}"
        if repository not in self.repositories:
            raise Refusal(404, "RepoNotFound", "Repository not found")
        call, _, revision = rest.partition("/")
        revision = unquote(revision) or "main"
        if call == "branch":
            return self._branch(hub, repository, revision)
        if call == "preupload":
            return _json({"files": [self._mode(hub, repository, revision, each) for each in asked["files"]]})
        if call == "commit":
            return _json(self._commit(hub, repository, revision, body))
        if call in ("", "revision"):
            return _json({"id": repository, "sha": hub.commits.get((repository, revision), "a" * 40)})
        raise Refusal(404, said=f"no such call: {call}")

    def _check_token(self, token: str | None) -> None:
        if token is None:
            raise Refusal(401, said="Invalid username or password.")
        if self.writers and token.removeprefix("Bearer ") not in self.writers:
            raise Refusal(403, said="You don't have the rights")

    def _create(self, hub: Hub, asked: dict[str, Any]) -> dict[str, Any]:
        repository = f"{asked.get('organization') or USER}/{asked['name']}"
        address = {"url": f"{hub.url}/{repository}", "id": repository}
        if repository in self.repositories:
            raise Refusal(409, said="You already created this model repo", **address)
        self.repositories[repository] = asked
        if asked.get("visibility") == "private":
            hub.private.add(repository)
        return address

    def _branch(self, hub: Hub, repository: str, branch: str) -> bytes:
        if (repository, branch) in hub.commits:
            raise Refusal(409, said="Reference already exists")
        hub.commits[repository, branch] = hub.commits.get((repository, "main"), "a" * 40)
        return b"{}"

    def _mode(self, hub: Hub, repository: str, revision: str, asked: dict[str, Any]) -> dict[str, Any]:
        path = asked["path"]
        large = self.large and path.endswith(LARGE)
        held = hub.files.get((repository, revision, path))
        oid = None
        if held is not None:
            blob = hashlib.sha1(b"blob %d\0" % len(held) + held).hexdigest()
            oid = hashlib.sha256(held).hexdigest() if large else blob
        return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}

    def _batch(self, hub: Hub, asked: dict[str, Any]) -> dict[str, Any]:
        objects = []
        for each in asked["objects"]:
            upload = {"upload": {"href": f"{hub.url}/lfs/{each['oid']}"}}
            objects.append({**each, **({} if each["oid"] in self.objects else {"actions": upload})})
        return {"transfer": "basic", "objects": objects}

    def _take_object(self, oid: str, body: bytes) -> bytes:
        if hashlib.sha256(body).hexdigest() != oid:
            raise Refusal(400, said="the content is not what its name says")
        self.objects[oid] = body
        return b""

    def _commit(self, hub: Hub, repository: str, revision: str, body: bytes) -> dict[str, Any]:
        header, *changes = [json.loads(line) for line in body.splitlines()]
        for change in changes:
            value = change["value"]
            if change["key"] == "file":
                hub.files[repository, revision, value["path"]] = base64.b64decode(value["content"])
            elif change["key"] == "lfsFile":
                hub.files[repository, revision, value["path"]] = self.objects[value["oid"]]
        oid = hashlib.sha1(body).hexdigest()
        hub.commits[repository, revision] = oid
        self.commits.append({**header["value"], "revision": revision, "repository": repository})
        url = f"{hub.url}/{repository}/commit/{oid}"
        return {"commitUrl": url, "commitOid": oid, "pullRequestUrl": f"{hub.url}/{repository}/discussions/1"}


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()
