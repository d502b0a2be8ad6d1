"""From the command line to a server that listens, and to its end."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import torch
import uvicorn

from .app import make_application
from .catalog import base_of, meaning_of, scan
from .engine import Engine
from .options import ServeOptions

__all__ = ["run_server"]

_INTERRUPTED = 130
_BACKLOG = 2048
_KEEP_ALIVE = 75  # seconds; longer than proxies keep a connection, so that it is they who close it


def run_server(options: ServeOptions) -> int:
    """Serve until a signal comes.

    Args:
        options: What was chosen.

    Returns:
        The exit code: 0 after SIGTERM, 130 after SIGINT; what was asked before is answered.

    Raises:
        OSError: If the folder or the base is not there, or the port is taken.
        ValueError: If the base is not known, or cannot be loaded.
    """
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    listening = _listen(options.host, options.port)
    try:
        entries = scan(Path(options.adapters), {})
        base = base_of(entries) if options.model is None else options.model
        engine = Engine(base, options.device, position_query=meaning_of(entries), is_chosen=options.model is not None)
        config = uvicorn.Config(
            make_application(options, engine, entries),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=max(1, round(options.timeout)),
        )
        seen: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises what it was stopped with once more
            signal.signal(number, lambda number, frame: seen.append(number))
        print(f"Serving {len(entries)} adapters over '{base}' at {_address(listening)}", flush=True)
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()
    print("Stopped; what was asked is answered.", file=sys.stderr)
    return _INTERRUPTED if signal.SIGINT in seen else 0


def _listen(host: str, port: int) -> socket.socket:
    """Open the socket.

    Raises:
        OSError: If it cannot be had, in one line.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise OSError(
            f"{host}:{port} cannot be listened on: {error.strerror or error}. Choose another --port."
        ) from error


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
