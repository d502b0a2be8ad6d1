"""From the words of a command line to flags, and from whatever happens then to an exit code."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from transformers import HfArgumentParser, TrainingArguments, set_seed
from transformers.training.lost_processes import explaining_lost_processes
from transformers.training.signals import TrainingStopped
from transformers.training.threads import choose_threads
from transformers.utils.secrets import hide_tokens, is_secret

from .arguments import ModelArguments
from .endings import give_up, set_up_logging, what_is_left
from .folder import claimed_output
from .process import ending_says

__all__ = ["Arguments", "parse", "run_to_its_end"]

Data = TypeVar("Data")


@dataclass
class Arguments(Generic[Data]):
    """All flags of one run, and the command that gave them, without secrets."""

    model: ModelArguments
    data: Data
    training: TrainingArguments
    command: str = ""

    def groups(self) -> dict[str, Any]:
        """Give the flags of model and data by their groups, for the record."""
        return {"model_arguments": vars(self.model), "data_arguments": vars(self.data)}


def parse(
    words: Sequence[str] | None,
    data_flags: type[Data],
    check: Callable[[ModelArguments, Data, TrainingArguments], None],
    description: str | None,
) -> Arguments[Data]:
    """Read the flags, or the JSON file that stands in for them, and set up logging and seed.

    Args:
        words: The words; those of the process where None.
        data_flags: The dataclass of what only this example has.
        check: Refuses flags that contradict each other.
        description: What ``--help`` says first.

    Raises:
        SystemExit: If they cannot be read or contradict each other (2, after one line that says why), and after
            ``--help``.
    """
    parser = HfArgumentParser((ModelArguments, data_flags, TrainingArguments), description=description)
    model_args, data_args, training_args = parser.parse_args_into_dataclasses(words)
    try:
        check(model_args, data_args, training_args)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    set_up_logging(training_args)
    try:
        set_seed(training_args.seed, deterministic=bool(training_args.use_deterministic_algorithms))
    except ValueError as error:
        parser.error(f"--seed {training_args.seed}: {error}")
    if training_args.num_threads is None:
        choose_threads()
    command = _command(words, model_args, data_args, training_args)
    return Arguments(model_args, data_args, training_args, command)


def _command(words: Sequence[str] | None, *groups: Any) -> str:
    """Give the command line as it is typed, with ``<TOKEN>`` in the place of every access token."""
    secrets = {value for group in groups for name, value in vars(group).items() if is_secret(name)}

    def shown(word: str) -> str:
        flag, equals, value = word.partition("=")
        return f"{flag}=<TOKEN>" if equals and value in secrets else "<TOKEN>" if word in secrets else word

    given = sys.argv[1:] if words is None else words
    return hide_tokens(shlex.join(["python", sys.argv[0], *map(shown, given)]))


def run_to_its_end(arguments: Arguments[Data], work: Callable[[Arguments[Data], str | None], None]) -> int:
    """Do a run's work in its output folder, and say in one line why where it ends before its time.

    Args:
        arguments: The run's flags.
        work: Takes these, and the checkpoint to go on from or None.

    Returns:
        The exit code: 0; 2 where the input cannot be used, or training cannot go on: its values explode, the disk is
        full, memory, threads or file handles are used up, another process died, another run is under way in the folder
        (one line on standard error says why); 128 and its number after a signal: 130 after Ctrl-C, 143 after SIGTERM.
    """
    ending_says(lambda: what_is_left(arguments.training))
    try:
        with explaining_lost_processes(), claimed_output(arguments.training, arguments.model) as checkpoint:
            work(arguments, checkpoint)
    except (ValueError, OSError, FloatingPointError, ImportError, MemoryError, RuntimeError) as error:
        return give_up(error)
    except TrainingStopped as stopped:
        return stopped.exit_code
    return 0
