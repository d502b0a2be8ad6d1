"""``transformers-cli serve``: a folder of adapters over one base, behind HTTP."""

from __future__ import annotations

import argparse
import os
from dataclasses import fields
from typing import Any

from ..serving.options import ServeOptions
from .interrupts import ending_at_once

__all__ = ["add_command"]

_TOKEN = "TRANSFORMERS_SERVE_TOKEN"
_NEEDS = "pip install -e '.[serve]' in the project's folder"


def add_command(commands: Any) -> None:
    """Add ``serve`` to the command line."""
    default = {field.name: field.default for field in fields(ServeOptions)}
    parser = commands.add_parser(
        "serve",
        help="answer over HTTP with all adapters of a folder, computed together over one base",
        description="Serves every adapter of a folder; a page to try them is at /. See docs/serving.md.",
    )
    parser.set_defaults(run=run_serve)
    parser.add_argument("--adapters", required=True, metavar="FOLDER", help="each of its folders is an adapter")
    parser.add_argument("--model", metavar="BASE", help="the base, where it is not where the adapters say")
    parser.add_argument("--host", help="address to listen on; default: %(default)s, this machine alone")
    parser.add_argument("--port", type=int, help="default: %(default)s; 0 takes a free one")
    parser.add_argument("--token", default=os.environ.get(_TOKEN), help=f"what requests must bring; or {_TOKEN}")
    computing = parser.add_argument_group("computing")
    computing.add_argument("--device", help="such as cpu or cuda; default: the GPU where there is one")
    computing.add_argument("--threads", type=int, help="threads of PyTorch; default: its own choice")
    computing.add_argument("--max_batch_tokens", type=int, help="the most tokens at once; default: %(default)s")
    computing.add_argument("--max_wait_ms", type=float, help="wait so long for others; default: %(default)s")
    computing.add_argument("--adapters_in_memory", type=int, help="the most at once; default: %(default)s")
    computing.add_argument(
        "--no_watch", dest="watch", action="store_false", help="do not look by itself for what changes in the folder"
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument("--queue_tokens", type=int, help="the most tokens that wait; default: %(default)s")
    limits.add_argument("--max_requests", type=int, help="the most requests in hand; default: %(default)s")
    limits.add_argument("--max_body", type=int, help="the most bytes of a request; default: %(default)s")
    limits.add_argument("--max_texts", type=int, help="the most texts of a request; default: %(default)s")
    limits.add_argument("--timeout", type=float, help="seconds for a request, and for stopping; default: %(default)s")
    parser.set_defaults(**{name: value for name, value in default.items() if name not in ("adapters", "token")})


def run_serve(options: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    chosen = ServeOptions(**{field.name: getattr(options, field.name) for field in fields(ServeOptions)})
    try:
        with ending_at_once():
            from ..serving.running import run_server
    except ImportError as error:
        raise ValueError(f"Serving needs fastapi, uvicorn and prometheus-client ({error}): {_NEEDS}.") from error
    return run_server(chosen)
