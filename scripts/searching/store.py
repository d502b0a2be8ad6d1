"""A study on disk: a journal that survives kills and is shared by processes, and who is at work on which trial."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from common.endings import say
from transformers.training.lock import FolderInUseError, locked_folder

__all__ = ["DEAD", "ERROR", "Claim", "Store"]

JOURNAL = "study.journal"
ERROR, AGAIN = "error", "again"
DEAD, DEAD_TWICE = "its process ended", "its process ended twice"


class _SystemLock:
    """Optuna's journal is written under a lock of the system's, which a killed process cannot leave behind."""

    def __init__(self, path: Path) -> None:
        self._path, self._descriptor = path, -1

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Give it back."""
        os.close(self._descriptor)


_claims: set[Path] = set()
"""Folders of the trials that this process is at work on: it could lock them a second time."""


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Hold a trial's folder."""
    path = folder.resolve()
    with locked_folder(path):
        _claims.add(path)
        try:
            yield
        finally:
            _claims.discard(path)


@dataclass(frozen=True)
class Claim:
    """A trial that this process is at work on.

    Attributes:
        trial: Optuna's.
        folder: Its own, locked for as long as the process is at work.
    """

    trial: optuna.Trial
    folder: Path


class Store:
    """A study, its journal, and a locked folder for each running trial.

    Args:
        folder: The search's.
        name: The study's name; the journal may hold several.
        direction: ``minimize`` or ``maximize``.
        seed: Of the sampler. What it draws for a trial depends on this, the trial's number and the trials before.
        pruner: Optuna's; none by default.
    """

    def __init__(
        self, folder: Path, name: str, direction: str, seed: int = 0, pruner: optuna.pruners.BasePruner | None = None
    ) -> None:
        self.folder, self.name, self._seed = folder, name, seed
        folder.mkdir(parents=True, exist_ok=True)
        journal = folder / JOURNAL
        with self._alone():
            _mend(journal, _SystemLock(folder / f".{JOURNAL}.lock"))
            backend = optuna.storages.journal.JournalFileBackend(
                str(journal), lock_obj=_SystemLock(folder / f".{JOURNAL}.lock")
            )
            self.study = optuna.create_study(
                storage=optuna.storages.JournalStorage(backend),
                study_name=name,
                direction=direction,
                load_if_exists=True,
                pruner=pruner or optuna.pruners.NopPruner(),
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from choosing a trial meanwhile."""
        lock = _SystemLock(self.folder / ".choosing.lock")
        lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Give the trials in these states, or all."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def finished(self) -> list[FrozenTrial]:
        """Give the trials that came to their end: with a value, without promise, or with an error of their own."""
        ended = self.trials(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        return [trial for trial in ended if trial.user_attrs.get(ERROR) != DEAD]

    def running(self) -> list[FrozenTrial]:
        """Give the trials that some process is at work on."""
        return self.trials(TrialState.RUNNING)

    def enqueue(self, trials: list[dict[str, Any]]) -> None:
        """Let trials be made with these values before any are drawn; those that are there already are left out."""
        with self._alone():
            known = [trial.params or trial.system_attrs.get("fixed_params") for trial in self.trials()]
            for values in trials:
                if values not in known:
                    self.study.enqueue_trial(values)

    @contextmanager
    def claim(self, total: int | None) -> Iterator[Claim | None]:
        """Choose the next trial and hold it while the block runs.

        Args:
            total: How many trials the study is to have; None for those that are enqueued.

        Yields:
            The trial; None where there is nothing left to begin.
        """
        with ExitStack() as held:
            with self._alone():
                self._end_dead_trials()
                waiting = self.trials(TrialState.WAITING)
                left = len(waiting) if total is None else total - len(self.finished()) - len(self.running())
                if left <= 0:
                    yield None
                    return
                number = waiting[0].number if waiting else len(self.trials())
                self.study.sampler = optuna.samplers.TPESampler(seed=(self._seed * 1_000_003 + number) % 2**32)
                trial = self.study.ask()
                folder = self._folder_of(trial.number)
                held.enter_context(_claimed(folder))
            yield Claim(trial, folder)

    def _folder_of(self, number: int) -> Path:
        return self.folder / self.name / str(number)

    def _end_dead_trials(self) -> None:
        """Note trials whose process has ended without a word, and let each be made again, once."""
        for trial in self.running():
            if self._folder_of(trial.number).resolve() in _claims:
                continue
            try:
                with locked_folder(self._folder_of(trial.number)):
                    if trial.number not in {each.number for each in self.running()}:
                        continue  # it came to its end just now
                    self._end_dead_trial(trial)
            except FolderInUseError:
                continue

    def _end_dead_trial(self, trial: FrozenTrial) -> None:
        repeated = AGAIN in trial.user_attrs
        own = optuna.Trial(self.study, trial._trial_id)
        own.set_user_attr(ERROR, DEAD_TWICE if repeated else DEAD)
        self.study.tell(trial.number, state=TrialState.FAIL)
        values = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        if repeated:
            say(f"The process of trial {trial.number} has ended, as with its values before; they are left.")
        elif values:
            say(f"The process of trial {trial.number} has ended; its values are tried again.")
            self.study.enqueue_trial(values, user_attrs={AGAIN: trial.number})


def _mend(journal: Path, lock: _SystemLock) -> None:
    """Cut off half a line that a machine's end has left: what follows it could not be read."""
    lock.acquire()
    try:
        if not journal.is_file():
            return
        content = journal.read_bytes()
        if content and not content.endswith(b"\n"):
            say(f"'{journal}' ends in half a line, which is cut off.")
            os.truncate(journal, content.rfind(b"\n") + 1)
    finally:
        lock.release()
