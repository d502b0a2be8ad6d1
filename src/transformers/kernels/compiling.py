"""From C++ to functions of this process: compiled once for a machine, kept, and loaded.

A C++ compiler takes some seconds. What it made is kept in ``kernels`` of ``HF_HOME``, named by the sources, the
compiler and the processor, and used again only where nobody but this user could have written it; else it is compiled
for this process alone.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..utils import logging
from ..utils.writing import write_bytes

__all__ = ["FOLDER", "load"]

logger = logging.get_logger(__name__)

FOLDER = "kernels"
_SOURCES = Path(__file__).parent
# Each source, and whether a product and a sum may be rounded once: where matrices are multiplied it is twice as fast.
_CONTRACTION = {"attention.cpp": "fast", "attention_tiles.cpp": "fast", "elementwise.cpp": "off"}
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC", "-fno-math-errno", "-fno-trapping-math")
_NEEDED = "GOMP_parallel"  # of the OpenMP library that PyTorch has loaded: a second one would have threads of its own


def load() -> ctypes.CDLL | None:
    """Give the compiled functions; None, with the reason in the log, where they cannot be had."""
    compiler = shutil.which(os.environ.get("CXX") or "g++")
    if compiler is None or not sys.platform.startswith("linux"):
        logger.info("Without a C++ compiler (g++): plain operations compute what kernels would (--compile_kernels).")
        return None
    if not hasattr(ctypes.CDLL(None), _NEEDED):
        logger.info("PyTorch has no GNU OpenMP here: plain operations compute what kernels would (--compile_kernels).")
        return None
    try:
        return _kept(compiler) or _compiled_here(compiler)
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        logger.warning("Kernels were not compiled, plain operations do their work: %s", reason[0] if reason else error)
        return None


def _kept(compiler: str) -> ctypes.CDLL | None:
    """Load what was compiled before, or compile and keep it; None where nothing can be kept safely."""
    from huggingface_hub import constants

    place = Path(constants.HF_HOME, FOLDER, f"{_key(compiler)}.so")
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(place.parent):
            return None
        if not place.exists():
            with tempfile.TemporaryDirectory() as name:
                write_bytes(place, _compile(compiler, Path(name)).read_bytes())
            place.chmod(0o600)  # a umask may let the group write
        return ctypes.CDLL(str(place)) if _is_private(place) else None
    except OSError as error:  # no room, no right, or a damaged file
        logger.debug("Kernels are not kept: %s", error)
        return None


def _compiled_here(compiler: str) -> ctypes.CDLL:
    """Compile for this process alone."""
    with tempfile.TemporaryDirectory() as name:
        return ctypes.CDLL(str(_compile(compiler, Path(name))))


def _compile(compiler: str, folder: Path) -> Path:
    """Compile into a folder. Linking leaves OpenMP's names open: what PyTorch has loaded answers them."""
    linked = folder / "kernels.so"
    objects = [str(folder / name) + ".o" for name in _CONTRACTION]
    commands = [
        [compiler, *_FLAGS, f"-ffp-contract={contraction}", "-c", str(_SOURCES / name), "-o", compiled]
        for (name, contraction), compiled in zip(_CONTRACTION.items(), objects, strict=True)
    ]
    with ThreadPoolExecutor() as pool:  # side by side
        list(pool.map(_run, commands))
    _run([compiler, "-shared", *objects, "-o", str(linked)])
    return linked


def _run(command: list[str]) -> str:
    """Run a command, and give what it printed."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def _key(compiler: str) -> str:
    """Name what is compiled by all that it depends on."""
    sources = [
        path.read_text(encoding="utf-8") for path in sorted(_SOURCES.iterdir()) if path.suffix in (".h", ".cpp")
    ]
    parts = (*sources, repr((_FLAGS, _CONTRACTION)), _run([compiler, "--version"]), platform.machine(), _processor())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _processor() -> str:
    """Tell the processor's model and instructions; a home may be shared by several machines."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    names = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(names)}))


def _is_private(path: Path) -> bool:
    """Say whether only this user can have written a file or folder."""
    about = path.stat()
    return about.st_uid == os.geteuid() and not about.st_mode & 0o022
