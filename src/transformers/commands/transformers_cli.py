"""``transformers-cli``: the package's command line. Each command is a module of this folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..version import __version__
from .interrupts import INTERRUPTED, SAID, ending_at_once

__all__ = ["main"]

_HUB = "accounts and repositories are huggingface_hub's; write `hf auth login`, `hf auth whoami` or `hf upload`."
_UPSTREAM = "it belongs to model types and tools that this package does not have; upstream Transformers has it."
# The other commands of 4.4.2.
_ELSEWHERE = {
    **dict.fromkeys(("login", "logout", "whoami", "repo", "s3_datasets", "upload", "lfs-enable-largefiles"), _HUB),
    **dict.fromkeys(("add-new-model", "convert", "lfs-multipart-upload"), _UPSTREAM),
    "download": "a model is fetched when it is first loaded; write `hf download NAME` to have it before.",
    "run": "take transformers.pipeline in Python (docs/pipelines.md), or run_glue.py --do_predict for a file.",
    "train": "run_glue.py trains.",
}


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: Its words; those of the process where None.

    Returns:
        0; 1 where a check found something wrong; 2 where the input cannot be used (one line on standard error); 130
        where it was interrupted.
    """
    try:
        return _run(list(sys.argv[1:] if words is None else words))
    except (ValueError, OSError) as error:
        print(f"transformers-cli: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(SAID, file=sys.stderr)
        return INTERRUPTED


def _run(given: Sequence[str]) -> int:
    with ending_at_once():
        from . import adapter, env, export, serve  # they need PyTorch, which takes its time

    parser = argparse.ArgumentParser(prog="transformers-cli", description="Tools around models and adapters.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    adapter.add_command(commands)
    env.add_command(commands)
    export.add_command(commands)
    serve.add_command(commands)
    if given and given[0] in _ELSEWHERE:
        print(f"transformers-cli: error: {given[0]} is not here: {_ELSEWHERE[given[0]]}", file=sys.stderr)
        return 2
    options = parser.parse_args(given)
    code: int = options.run(options)
    return code


if __name__ == "__main__":
    sys.exit(main())
