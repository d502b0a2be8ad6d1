"""The package's own log: one root logger, one handler, the verbosity in one place.

``TRANSFORMERS_VERBOSITY`` (debug, info, warning, error, critical) sets the level at the start.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from logging import CRITICAL, DEBUG, ERROR, FATAL, INFO, NOTSET, WARN, WARNING

__all__ = [
    "CRITICAL",
    "DEBUG",
    "ERROR",
    "FATAL",
    "INFO",
    "NOTSET",
    "WARN",
    "WARNING",
    "add_handler",
    "disable_default_handler",
    "disable_propagation",
    "enable_default_handler",
    "enable_explicit_format",
    "enable_propagation",
    "get_logger",
    "get_verbosity",
    "remove_handler",
    "reset_format",
    "set_verbosity",
    "set_verbosity_debug",
    "set_verbosity_error",
    "set_verbosity_info",
    "set_verbosity_warning",
]

_ROOT_NAME = __name__.split(".")[0]
_LEVELS = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR, "critical": CRITICAL}
_lock = threading.Lock()
_default_handler: logging.Handler | None = None


class _StderrHandler(logging.Handler):
    """Writes to whatever ``sys.stderr`` is now, so that tests and progress bars may replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        sys.stderr.write(self.format(record) + "\n")


def _initial_level() -> int:
    name = os.environ.get("TRANSFORMERS_VERBOSITY", "warning")
    if name not in _LEVELS:
        logging.getLogger().warning(
            "TRANSFORMERS_VERBOSITY=%s is unknown; choose from %s. Taking 'warning'.", name, ", ".join(_LEVELS)
        )
    return _LEVELS.get(name, WARNING)


def _root() -> logging.Logger:
    """Give the package's root logger, set up at the first call."""
    global _default_handler
    root = logging.getLogger(_ROOT_NAME)
    with _lock:
        if _default_handler is None:
            _default_handler = _StderrHandler()
            root.addHandler(_default_handler)
            root.setLevel(_initial_level())
            root.propagate = False
    return root


def get_logger(name: str | None = None) -> logging.Logger:
    """Give the logger of a module of this package (its root logger without a name)."""
    root = _root()
    return root if name is None else logging.getLogger(name)


def get_verbosity() -> int:
    """Give the current level of the package's root logger, as in Python's ``logging``."""
    return _root().getEffectiveLevel()


def set_verbosity(verbosity: int) -> None:
    """Set the level of the package's root logger, as in Python's ``logging``."""
    _root().setLevel(verbosity)


def set_verbosity_info() -> None:
    """Show what happens: files read, keys left out, steps."""
    set_verbosity(INFO)


def set_verbosity_warning() -> None:
    """Show warnings and errors only (the default)."""
    set_verbosity(WARNING)


def set_verbosity_debug() -> None:
    """Show everything."""
    set_verbosity(DEBUG)


def set_verbosity_error() -> None:
    """Show errors only."""
    set_verbosity(ERROR)


def _handler() -> logging.Handler:
    _root()
    if _default_handler is None:
        raise RuntimeError("The default log handler was not set up.")
    return _default_handler


def disable_default_handler() -> None:
    """Stop writing to standard error."""
    _root().removeHandler(_handler())


def enable_default_handler() -> None:
    """Write to standard error again."""
    _root().addHandler(_handler())


def add_handler(handler: logging.Handler) -> None:
    """Send the package's records to one more handler."""
    _root().addHandler(handler)


def remove_handler(handler: logging.Handler) -> None:
    """Take a handler away again.

    Raises:
        ValueError: If the handler was never added.
    """
    if handler not in _root().handlers:
        raise ValueError(f"{handler!r} is not among the handlers of the '{_ROOT_NAME}' logger.")
    _root().removeHandler(handler)


def disable_propagation() -> None:
    """Keep the package's records from the root logger of the process (the default)."""
    _root().propagate = False


def enable_propagation() -> None:
    """Pass the package's records on to the root logger of the process."""
    _root().propagate = True


def enable_explicit_format() -> None:
    """Print level, file, line and time in front of every record."""
    formatter = logging.Formatter("[%(levelname)s|%(filename)s:%(lineno)s] %(asctime)s >> %(message)s")
    for handler in _root().handlers:
        handler.setFormatter(formatter)


def reset_format() -> None:
    """Print the bare message again."""
    for handler in _root().handlers:
        handler.setFormatter(None)
