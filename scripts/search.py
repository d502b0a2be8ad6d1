r"""Search for the best flags of run_glue.py; see docs/search.md.

For example:

    python scripts/search.py --trials 30 --search learning_rate=1e-4:5e-3:log --search lora_r=4,8,16 \
        --model_name_or_path models/minilm-roberta --task_name mrpc --apply_lora --lora_alpha 16 \
        --num_train_epochs 3 --output_dir output/search-mrpc
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "examples"), str(ROOT / "examples" / "text-classification")]

from common.process import behave, ending_says  # noqa: E402 (found through the lines above)

if __name__ == "__main__":
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # a search says a line for each trial
    behave()  # before the imports, which take seconds

try:
    import optuna
except ImportError:
    raise SystemExit("search.py: error: a search needs Optuna: pip install -e '.[search]'.") from None

from common.endings import give_up, say  # noqa: E402
from searching.plan import Plan, make_plan  # noqa: E402
from searching.report import report  # noqa: E402
from searching.seeds import seeds_left, train_seeds  # noqa: E402
from searching.store import Store  # noqa: E402
from searching.trials import check_same_search, run_trials  # noqa: E402
from transformers.training.devices import end_process  # noqa: E402
from transformers.training.signals import TrainingStopped  # noqa: E402


def main(words: Sequence[str] | None = None) -> int:
    """Search.

    Args:
        words: The command line's; those of the process where None.

    Returns:
        The exit code: 0; 2 where the input cannot be used or nothing can be written; 128 and a signal's number.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        plan = make_plan(words)
        return search(plan)
    except (ValueError, OSError, ImportError, MemoryError, RuntimeError) as error:
        return give_up(error)
    except TrainingStopped as stopped:
        say(f"ended by {stopped.signal_name}; the same command makes the trial that was under way anew.")
        return stopped.exit_code


def search(plan: Plan) -> int:
    """Make the trials that are left, train the best few with other seeds, and report."""
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5) if plan.options.pruner == "median" else None
    store = Store(plan.folder, "trials", plan.direction, plan.options.search_seed, pruner)
    seeds = Store(plan.folder, "seeds", plan.direction)

    standing = _Standing()
    ending_says(standing)
    check_same_search(store, plan)
    if plan.options.backend == "ray":
        from searching.ray_processes import run_trials_by_ray

        run_trials_by_ray(store, plan, standing.tell)
    else:
        run_trials(store, plan, standing.tell)
    if plan.options.seeds and not store.running():
        train_seeds(store, seeds, plan, standing.tell)
    report(store, seeds, plan)
    left = len(store.running()) or seeds_left(seeds)
    if left:
        print(f"\nOther processes are at work on {left} more; the same command says at any time how it stands.")
    return 0


class _Standing:
    """How far a search is: what the line says that ends it before its time."""

    def __init__(self) -> None:
        self._done = "nothing was searched yet"

    def __call__(self) -> str:
        return f"{self._done}; the same command goes on"

    def tell(self, text: str, done: str) -> None:
        """Print a line about a trial.

        Args:
            text: The line.
            done: How many trials are finished.
        """
        self._done = done
        print(text, flush=True)


if __name__ == "__main__":
    end_process(main())
