"""What a search is about: the flags of all its trials, the space, the metric, and the words of one trial."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch_flags import Flags, is_on, merge, parse_flags, to_words
from launch_task import RUN_GLUE

from .space import Space, read_space
from .trial import Sources, read_words

__all__ = ["Plan", "make_plan"]

_ALWAYS: Flags = {
    "do_train": [],
    "do_eval": [],
    "evaluation_strategy": ["epoch"],  # what is reported to the pruner
    "save_strategy": ["no"],
    "report_to": ["none"],
    "disable_tqdm": ["true"],
}
_OF_SEARCH = ("report_to", "disable_tqdm")  # of no effect on what is learnt


@dataclass(frozen=True)
class Plan:
    """A search as it was asked for.

    Attributes:
        options: The flags of the search itself.
        folder: Where it keeps everything.
        flags: Those of run_glue.py that all trials have.
        given: Values of the space that were given, which are tried first.
        space: What is searched.
        metric: The metric that is searched by, as an evaluation names it.
        sources: What the trials of this process share.
    """

    options: argparse.Namespace
    folder: Path
    flags: Flags
    given: dict[str, str]
    space: Space
    metric: str
    sources: Sources

    @property
    def direction(self) -> str:
        """``minimize`` for a loss, else ``maximize``."""
        return "minimize" if self.metric.endswith("loss") else "maximize"

    def words(self, values: Mapping[str, str], output: Path, seed: int | None = None) -> list[str]:
        """Give the words of a trial.

        Args:
            values: By setting of the space.
            output: Its folder.
            seed: Another seed than the search's.
        """
        flags = merge(self.flags, self.space.flags_of(values, self.flags))
        if seed is not None:
            flags["seed"] = [str(seed)]
        return to_words({**flags, "output_dir": [str(output)]})

    def command(self, values: Mapping[str, str], threads: int | None) -> str:
        """Give the command line that trains with these values, to the same figures, as anybody would type it.

        Args:
            values: By setting of the space.
            threads: How many the trial was computed with; None leaves it to run_glue.py.
        """
        script = os.path.relpath(RUN_GLUE) if Path.cwd() in RUN_GLUE.parents else str(RUN_GLUE)
        flags = {name: words for name, words in self.flags.items() if name not in _OF_SEARCH}
        if threads is not None:
            flags.setdefault("num_threads", [str(threads)])
        flags = merge(flags, self.space.flags_of(values, self.flags))
        return shlex.join(["python", script, *to_words({**flags, "output_dir": [str(self.folder / "best")]})])

    def about(self) -> dict[str, Any]:
        """Say what must be the same for a search to be continued."""
        return {"flags": self.flags, "space": self.space.describe(), "metric": self.metric}


def make_plan(words: Sequence[str] | None) -> Plan:
    """Read the command line, and look once at the data that it names.

    Raises:
        ValueError: If something in it cannot be used.
        OSError: If a file is not found.
        SystemExit: After ``--help``, or a flag of the search's own that cannot be read.
    """
    options, rest = _parser().parse_known_args(words)
    flags = parse_flags(rest)
    if "output_dir" not in flags or not flags["output_dir"]:
        raise ValueError("give --output_dir: the folder of the search, in which it is continued.")
    _refuse_what_is_no_trial(flags)
    folder = Path(flags.pop("output_dir")[-1])
    space = read_space(options.search, options.space, flags)
    given = space.take_given(flags)
    flags = merge(_ALWAYS, flags)
    if is_on(flags, "load_best_model_at_end") and flags["save_strategy"] == ["no"]:
        flags |= {"save_strategy": flags["evaluation_strategy"], "save_total_limit": ["1"]}
    sources = Sources()
    plan = Plan(options, folder, flags, given, space, "", sources)
    data = sources.data_of(read_words(plan.words({**space.some_values(), **given}, folder)))
    metric = f"eval_{(options.metric or data.metrics[0]).removeprefix('eval_')}"
    known = ["loss", *data.metrics, *(["combined_score"] if data.combined else [])]
    if metric.removeprefix("eval_") not in known:
        raise ValueError(f"--metric {options.metric} is no metric of this task; it has {', '.join(known)}.")
    return Plan(options, folder, flags, given, space, metric, sources)


_NO_TRIAL = ("do_predict", "push_to_hub", "overwrite_output_dir", "resume_from_checkpoint")


def _refuse_what_is_no_trial(flags: Flags) -> None:
    """Refuse flags that would be done for each trial anew, and several processes that train one model."""
    given = next((name for name in _NO_TRIAL if name in flags), None)
    if given is not None:
        raise ValueError(f"--{given} is nothing for a search; give it with the best command.")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ValueError("each trial trains in one process: start the search without torchrun, as often as you like.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=Path(sys.argv[0]).name,
        allow_abbrev=False,
        description="Search for the best flags of run_glue.py. All flags that are not listed here are run_glue.py's; "
        "those that are searched may be given too: these values are tried first. The same command goes on with a "
        "search that was ended, and takes part in one that is under way. See docs/search.md.",
    )
    parser.add_argument("--trials", type=int, default=20, help="trials of the whole search")
    parser.add_argument(
        "--search", action="append", default=[], metavar="NAME=VALUES", help="lr=1e-4:5e-3:log, lora_r=4,8"
    )
    parser.add_argument("--space", metavar="FILE", help="a YAML file with the space")
    parser.add_argument("--metric", help="what to search by; the task's main metric by default")
    parser.add_argument("--pruner", choices=["median", "none"], default="median", help="what ends trials early")
    parser.add_argument("--search_seed", type=int, default=0, help="seed of the values that are drawn")
    parser.add_argument("--seeds", type=int, nargs="+", default=[], help="train the best few with these seeds as well")
    parser.add_argument("--top", type=int, default=3, help="how many are the best few")
    parser.add_argument(
        "--backend", choices=["optuna", "ray"], default="optuna", help="ray: trials in Ray's processes"
    )
    parser.add_argument("--ray_address", help="a cluster's; one on this machine is started by default")
    parser.add_argument("--ray_workers", type=int, default=1, help="trials at once with Ray")
    parser.add_argument("--gpus_per_trial", type=float, default=0, help="with Ray")
    parser.add_argument("--cpus_per_trial", type=float, default=1, help="with Ray")
    return parser
