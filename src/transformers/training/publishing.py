"""The part of a ``Trainer`` that shows a training to others: model cards, and uploads to the hub."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from ..modeling_utils import PreTrainedModel
from ..trainer_utils import HubStrategy
from ..utils import logging
from ..utils.hub_upload import Destination, NotUploadedError, make_repository, upload_folder
from ..utils.model_card import CARD_NAME, write_card
from ..utils.writing import scratch_beside
from .card import CardWishes, describe_training
from .checkpoint import MANIFEST_NAME, is_leftover
from .checkpointing import CheckpointingTrainer
from .foreign_models import is_peft_model, saves_itself
from .overrides import takes
from .saving import TRAINER_STATE_NAME

__all__ = ["STAYS_HERE", "PublishingTrainer"]

logger = logging.get_logger(__name__)

# What an output folder holds beside the model that is not sent: checkpoints, and texts of the data.
STAYS_HERE = ("checkpoint-*", "earlier-run-*", "*predictions*", "report*", "nonfinite_steps.jsonl")
_STATE_OF_TRAINING = ("optimizer.*", "scheduler.*", "rng_state.*", "run.json", TRAINER_STATE_NAME, MANIFEST_NAME)


class PublishingTrainer(CheckpointingTrainer):
    """The part of a ``Trainer`` that writes model cards and uploads; see ``Trainer`` for the arguments.

    Attributes:
        hub_model_id: The repository's full name, once it was made.
    """

    hub_model_id: str | None = None
    _wishes = CardWishes()
    _upload: _Upload | None = None

    # -- card ----------------------------------------------------------------------------------------------------

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """Write the model card of ``output_dir``, ``README.md``, on the main process; a person's is kept.

        What is said here is remembered for the cards of later saves.

        Args:
            language: Code of the language, such as ``"en"``.
            license: Name of the license, such as ``"mit"``; without it the card asks for one.
            tags: Further tags.
            model_name: The model's name for people.
            finetuned_from: Name of the base on the hub; what the model was loaded from by default.
            tasks: The hub's names of the tasks; the model's own by default.
            dataset_tags: The hub's names of the data sets, such as ``"nyu-mll/glue"``.
            dataset: Their names for people, such as ``"GLUE MRPC"``.
            dataset_args: Their configurations, such as ``"mrpc"``.
        """
        self._wishes = CardWishes(
            language, license, tags, model_name, finetuned_from, tasks, dataset_tags, dataset, dataset_args
        )
        if self.is_world_process_zero():
            Path(self.args.output_dir).mkdir(parents=True, exist_ok=True)
            self._write_card(Path(self.args.output_dir))

    def _write_card(self, folder: Path) -> None:
        repo_id = self.hub_model_id
        write_card(folder, lambda: describe_training(self.model, folder, self.args, self.state, self._wishes, repo_id))

    def _save(self, output_dir: str | None = None) -> None:
        """Do what ``save_model`` does, and write the card, but into a checkpoint, which is for going on."""
        super()._save(output_dir)
        folder = Path(output_dir or self.args.output_dir)
        own = (
            isinstance(self.model, PreTrainedModel) and not is_peft_model(self.model) and not saves_itself(self.model)
        )
        if own and not is_leftover(folder.name):
            self._write_card(folder)

    # -- hub -----------------------------------------------------------------------------------------------------

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Make the repository ``hub_model_id`` where it is lacking, on the main process.

        Args:
            token: An access token; ``hub_token`` by default, or the one that ``hf auth login`` stored.
            private: Whether a new one is private; ``hub_private_repo`` by default.

        Raises:
            NotUploadedError: An `OSError`; if the hub cannot be reached or does not allow it.
        """
        if self.is_world_process_zero():
            self.hub_model_id = make_repository(self._destination(token=token, private=private))

    def _prepare_publishing(self) -> None:
        """See before anything is computed whether the hub will take it."""
        if self.args.push_to_hub:
            self.init_hf_repo()

    def _destination(
        self,
        commit_message: str | None = None,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
    ) -> Destination:
        args = self.args
        return Destination(
            self.hub_model_id or args.hub_model_id or Path(args.output_dir).resolve().name,
            private=args.hub_private_repo if private is None else private,
            token=token or args.hub_token,
            revision=revision or args.hub_revision,
            commit_message=commit_message,
        )

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> str | None:
        """Save the model, write its card, and upload ``output_dir`` without checkpoints and texts of the data.

        All processes call it.

        Args:
            commit_message: The commit's first line.
            blocking: Wait until it is uploaded; otherwise it goes on beside, and a failure is a warning.
            token: An access token; ``hub_token`` by default, or the one that ``hf auth login`` stored.
            revision: A branch; ``hub_revision`` by default.
            private: Whether a new repository is private; ``hub_private_repo`` by default.
            **kwargs: Those of `create_model_card`; without any, those of its last call hold.

        Returns:
            The commit's address (huggingface_hub's ``CommitInfo``); None on other processes, and if not blocking.

        Raises:
            NotUploadedError: An `OSError`; if the hub cannot be reached or refuses. The model is saved then.
        """
        internal: dict[str, Any] = {"_internal_call": True} if takes(self.save_model, "_internal_call") else {}
        self.save_model(**internal)
        if not self.is_world_process_zero():
            return None
        self._end_upload()
        to, failed = self._destination(commit_message, token, revision, private), None
        try:
            self.hub_model_id = repo_id = make_repository(to)
            to = replace(to, repo_id=repo_id)
        except NotUploadedError as error:
            failed = error  # the card is written all the same
        if kwargs:
            self.create_model_card(**kwargs)
        else:
            self._write_card(Path(self.args.output_dir))
        if failed is not None:
            raise failed
        send = partial(upload_folder, self.args.output_dir, to, without=STAYS_HERE)
        if blocking:
            return send()
        self._upload = _Upload(send)
        return None

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the model, its tokenizer, card and arguments; of a LoRA model the adapter and the head only.

        All processes call it. An override also writes the model of every checkpoint: it is given the folder in which
        the checkpoint is prepared. With ``push_to_hub`` what is saved into ``args.output_dir`` is uploaded.

        Args:
            output_dir: The folder; ``args.output_dir`` by default.
        """
        super().save_model(output_dir, _internal_call)
        is_own = output_dir is None or Path(output_dir).resolve() == Path(self.args.output_dir).resolve()
        if self.args.push_to_hub and is_own and not _internal_call and self.is_world_process_zero():
            self._end_upload()
            upload = _Upload(
                partial(upload_folder, self.args.output_dir, self._destination("Model save"), without=STAYS_HERE)
            )
            upload.wait()

    def _save_checkpoint(self, model: nn.Module, trial: Any = None, metrics: Mapping[str, Any] | None = None) -> None:
        super()._save_checkpoint(model, trial, metrics)
        uploads = self.args.push_to_hub and self.args.hub_strategy != HubStrategy.END
        if uploads and self.is_world_process_zero():
            self._push_from_checkpoint(str(Path(self.args.output_dir, f"checkpoint-{self.state.global_step}")))

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Upload a checkpoint beside the training: its model always, all of it as ``hub_strategy`` says.

        It is sent from links to its files, since the training may delete the checkpoint meanwhile.
        """
        if self._upload is not None and not self._upload.done and not self.args.hub_always_push:
            logger.info("The upload before is still under way, so %s is not uploaded.", checkpoint_folder)
            return
        self._end_upload()
        places: dict[str, Sequence[str]] = {"": (*_STATE_OF_TRAINING, *STAYS_HERE)}
        if self.args.hub_strategy == HubStrategy.CHECKPOINT:
            places["last-checkpoint"] = (CARD_NAME,)
        elif self.args.hub_strategy == HubStrategy.ALL_CHECKPOINTS:
            places[Path(checkpoint_folder).name] = (CARD_NAME,)
        to = self._destination(f"Training in progress, step {self.state.global_step}")
        with ExitStack() as stack:
            scratch = stack.enter_context(scratch_beside(Path(self.args.output_dir, "upload")))
            links = scratch / "files"
            shutil.copytree(checkpoint_folder, links, copy_function=_link)
            self._write_card(links)
            self._upload = _Upload(partial(_send, links, to, places), stack.pop_all())

    def _end_upload(self) -> None:
        """Wait for what is being uploaded beside."""
        if self._upload is not None:
            self._upload.wait()
        self._upload = None


def _send(folder: Path, to: Destination, places: Mapping[str, Sequence[str]]) -> None:
    for place, without in places.items():
        upload_folder(folder, to, without=without, path_in_repo=place)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copy2(source, target)


class _Upload:
    """An upload in a thread of its own, whose failure is a warning: what was trained is on the disk."""

    def __init__(self, send: Callable[[], object], cleaning: ExitStack | None = None) -> None:
        self._send, self._cleaning = send, cleaning or ExitStack()
        self._thread = threading.Thread(target=self._run, daemon=True, name="upload to the hub")
        self._thread.start()

    def _run(self) -> None:
        with self._cleaning:
            try:
                self._send()
            except NotUploadedError as error:
                logger.warning("%s Nothing is lost; what was trained is here.", error)

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def wait(self) -> None:
        self._thread.join()
