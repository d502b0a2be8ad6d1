"""``transformers-cli``: the package's command line. Each command is a module of this folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..version import __version__
from . import adapter

__all__ = ["main"]


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: Its words; those of the process where None.

    Returns:
        0; 1 where a check found something wrong; 2 where the input cannot be used (one line on standard error).
    """
    parser = argparse.ArgumentParser(prog="transformers-cli", description="Tools around models and adapters.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    adapter.add_command(commands)
    options = parser.parse_args(words)
    try:
        code: int = options.run(options)
    except (ValueError, OSError) as error:
        print(f"transformers-cli: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return code


if __name__ == "__main__":
    sys.exit(main())
