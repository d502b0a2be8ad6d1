"""A page as a headless Chromium shows it."""

from __future__ import annotations

import shutil
import subprocess
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

__all__ = ["CHROMIUM", "page"]

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)


def page(server: str, profile: Path, **query: str) -> str:
    """Open the server's page as a link does, let it ask, and give what it then shows."""
    url = f"{server}/?{urlencode({**query, 'run': '1'})}"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--virtual-time-budget=9000"]
    done = subprocess.run([CHROMIUM, *flags, "--dump-dom", url], capture_output=True, text=True, timeout=120)
    return unescape(done.stdout)
