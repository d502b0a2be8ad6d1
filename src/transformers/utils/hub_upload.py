"""From a folder on this machine to a repository on the Hugging Face hub.

Sending, going on after an interruption and logging in are `huggingface_hub`'s: what the hub has already is not sent
again, so an upload that was cut is resumed by asking for it once more. This module decides what is sent (no access
token, no hidden file, no card in the place of one that a person has written), and turns failures into one sentence.
"""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import logging
from .hub import is_offline_mode, network_error
from .model_card import CARD_NAME, is_own_card
from .secrets import file_with_secret, hide_tokens

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

__all__ = ["Destination", "NotUploadedError", "PushToHubMixin", "make_repository", "pushing", "upload_folder"]

logger = logging.get_logger(__name__)

_HIDDEN = [".*", "*/.*"]


class NotUploadedError(OSError):
    """Something was not uploaded; its text is one line with what, where, and why. Nothing here is lost by it."""


@dataclass(frozen=True)
class Destination:
    """Where something is uploaded to.

    Attributes:
        repo_id: The repository, ``owner/name``; a name alone is one of the user's own.
        private: Whether a repository that is made for it is private; the hub's own default where None. One that is
            there stays as it is.
        token: An access token; the one that ``hf auth login`` stored where None or True.
        revision: A branch, which is made where it is lacking; the main one where None.
        commit_message: The commit's first line.
        commit_description: What stands below it.
        create_pr: Open a pull request instead of writing into the branch.
    """

    repo_id: str
    private: bool | None = None
    token: str | bool | None = None
    revision: str | None = None
    commit_message: str | None = None
    commit_description: str | None = None
    create_pr: bool = False


def make_repository(to: Destination) -> str:
    """Make the repository where it is lacking, and its branch.

    Returns:
        The repository's full name, ``owner/name``.

    Raises:
        NotUploadedError: If the hub cannot be reached or does not allow it.
    """
    with _failing_in_one_line(to):
        api = _api(to)
        repo_id: str = api.create_repo(to.repo_id, private=to.private, exist_ok=True).repo_id
        if to.revision is not None and not to.revision.startswith("refs/"):
            api.create_branch(repo_id, branch=to.revision, exist_ok=True)
        return repo_id


def upload_folder(
    folder: str | os.PathLike[str],
    to: Destination,
    *,
    only: Collection[str] | None = None,
    without: Collection[str] = (),
    path_in_repo: str = "",
) -> CommitInfo:
    """Upload a folder's files, those that are hidden left out.

    Args:
        folder: The folder.
        to: Where to; the repository is there.
        only: Patterns of the files that are meant, by their paths in the folder; all of them where None.
        without: Patterns of files that stay here.
        path_in_repo: The folder in the repository.

    Returns:
        The commit.

    Raises:
        NotUploadedError: If a file holds an access token, or the hub cannot be reached or refuses.
    """
    folder = Path(folder)
    names = _files_to_send(folder, only, [*_HIDDEN, *without])
    with _failing_in_one_line(to):
        found = file_with_secret((folder / name for name in names), *_tokens(to))
        if found is not None:
            raise NotUploadedError(
                f"'{found}' holds an access token, so nothing of '{folder}' was uploaded to '{to.repo_id}'. Take it "
                "out of the file."
            )
        if not path_in_repo and CARD_NAME in names and _keeps_card(folder / CARD_NAME, to):
            logger.info("The %s of '%s' was changed by hand there, so it is kept as it is.", CARD_NAME, to.repo_id)
            names.remove(CARD_NAME)
        return _api(to).upload_folder(
            repo_id=to.repo_id,
            folder_path=folder,
            path_in_repo=path_in_repo,
            revision=to.revision,
            commit_message=to.commit_message,
            commit_description=to.commit_description,
            create_pr=to.create_pr,
            allow_patterns=[glob.escape(name) for name in names],
        )


def _files_to_send(folder: Path, only: Collection[str] | None, without: Collection[str]) -> list[str]:
    """Name the files of a folder that some pattern means, where there are any, and no other one leaves out."""
    paths = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    names = [name for name in paths if not any(fnmatchcase(name, pattern) for pattern in without)]
    return [name for name in names if only is None or any(fnmatchcase(name, pattern) for pattern in only)]


def _keeps_card(path: Path, to: Destination) -> bool:
    """Say whether the repository's card is a person's, and the one here is not."""
    from huggingface_hub.errors import RemoteEntryNotFoundError, RevisionNotFoundError

    if not is_own_card(path.read_bytes()):
        return False
    try:
        found = _api(to).hf_hub_download(to.repo_id, CARD_NAME, revision=to.revision)
    except (RemoteEntryNotFoundError, RevisionNotFoundError):
        return False
    return not is_own_card(Path(found).read_bytes())


def _api(to: Destination) -> Any:
    from huggingface_hub import HfApi

    from ..version import __version__

    return HfApi(token=to.token, library_name="transformers", library_version=__version__)


def _tokens(to: Destination) -> tuple[object, ...]:
    from huggingface_hub import get_token

    return to.token, get_token()


@contextmanager
def _failing_in_one_line(to: Destination) -> Iterator[None]:
    """Turn whatever the hub's client raises into one sentence, without the token."""
    from huggingface_hub.errors import HfHubHTTPError

    if is_offline_mode():
        raise NotUploadedError(f"Uploading to '{to.repo_id}' failed: offline mode (HF_HUB_OFFLINE) is on.")
    try:
        yield
    except NotUploadedError:
        raise
    except (HfHubHTTPError, network_error(), OSError, ValueError, RuntimeError) as error:
        why = hide_tokens(_reason(error), *_tokens(to)).rstrip(".")
        raise NotUploadedError(f"Uploading to '{to.repo_id}' failed: {why}.") from None  # its cause may hold the token


_REFUSALS = {
    401: "the hub does not know who asks; log in with `hf auth login`, or pass a token that may write",
    403: "the token may not write there",
    404: "there is no such repository or branch, or the token may not see it",
    409: "somebody else wrote there at the same time; call it again",
}


def _reason(error: BaseException) -> str:
    cause = error.__cause__ if type(error) is RuntimeError and error.__cause__ is not None else error
    status = getattr(getattr(cause, "response", None), "status_code", None)
    said = " ".join((getattr(cause, "server_message", None) or str(cause) or type(cause).__name__).split())
    if status == 403:
        return f"{_REFUSALS[403]} ({said})"
    return _REFUSALS.get(status, said) if status is not None else said


# Objects that are saved, and folders that are written -----------------------------------------------------------


class PushToHubMixin:
    """What can be uploaded as it is: models, tokenizers and configurations, PEFT's models too."""

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        commit_description: str | None = None,
        private: bool | None = None,
        token: bool | str | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        max_shard_size: int | str | None = "50GB",
        tags: list[str] | None = None,
    ) -> str:
        """Upload to the hub; of a model on a frozen base what it trained (its adapter), else the whole.

        Args:
            repo_id: The repository, ``owner/name``; a name alone is one of the user's own. Made where it is lacking.
            commit_message: The commit's first line.
            commit_description: What stands below it.
            private: Whether a new repository is private; the hub's own default where None.
            token: An access token; the one that ``hf auth login`` stored by default.
            revision: A branch, made where it is lacking.
            create_pr: Open a pull request instead of writing into the branch.
            max_shard_size: Size of a file of weights, such as ``"5GB"``.
            tags: Further tags of the model card.

        Returns:
            The commit's address (huggingface_hub's ``CommitInfo``, which is a text).

        Raises:
            NotUploadedError: An `OSError`; if the hub cannot be reached or refuses. Called again it goes on.
            ValueError: If what is to be saved cannot be.
        """
        what = commit_message or f"Upload {type(self).__name__}"
        to = Destination(repo_id, private, token, revision, what, commit_description, create_pr)
        to = replace(to, repo_id=make_repository(to))
        with tempfile.TemporaryDirectory() as folder:
            self._save_for_hub(Path(folder), to.repo_id, max_shard_size, tags)
            return upload_folder(folder, to)

    def _save_for_hub(
        self, folder: Path, repo_id: str, max_shard_size: int | str | None, tags: list[str] | None
    ) -> None:
        """Write into an empty folder what is uploaded to a repository."""
        self.save_pretrained(folder)  # type: ignore[attr-defined]


_OPTIONS = ("private", "token", "revision", "commit_message", "commit_description", "create_pr")


@contextmanager
def pushing(
    folder: str | os.PathLike[str], options: Mapping[str, Any], *, strict: bool = False
) -> Iterator[str | None]:
    """Upload the files that a block writes into a folder, where ``push_to_hub=True`` is among the options.

    Args:
        folder: Where the block writes.
        options: Keywords of a ``save_pretrained``, of which those of `Destination` and ``use_auth_token`` count.
            ``repo_id`` is the folder's name where it is lacking.
        strict: Refuse others.

    Yields:
        The repository's full name; None where nothing is uploaded.

    Raises:
        NotUploadedError: If the hub cannot be reached or refuses. What was written stays.
        TypeError: If a keyword is unknown.
    """
    folder = Path(folder)
    unknown = sorted(set(options) - {"push_to_hub", "repo_id", "use_auth_token", *_OPTIONS})
    if unknown and strict:
        raise TypeError(f"'{unknown[0]}' is no keyword here; push_to_hub takes repo_id, {', '.join(_OPTIONS)}.")
    if not options.get("push_to_hub"):
        yield None
        return
    name = folder.resolve().name
    chosen = {option: options[option] for option in _OPTIONS if options.get(option) is not None}
    to = Destination(
        options.get("repo_id") or name,
        **{"token": options.get("use_auth_token"), "commit_message": f"Upload {name}", **chosen},
    )
    before, failed = _states_of(folder), None
    try:
        to = replace(to, repo_id=make_repository(to))
    except NotUploadedError as error:
        failed = error  # told of when the block has written its files
    yield to.repo_id
    if failed is not None:
        raise failed
    written = [name for name, state in _states_of(folder).items() if before.get(name) != state]
    upload_folder(folder, to, only=written)


def _states_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Give what tells a file that is written anew from the one that was there, by name."""
    paths = folder.iterdir() if folder.is_dir() else ()
    found = {path.name: path.stat() for path in paths if path.is_file()}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}
