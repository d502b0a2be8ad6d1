"""The adapter that MRPC, RTE and STS-B start from: of the MNLI launcher here, or the published one."""

from __future__ import annotations

import os
from pathlib import Path

from glue_runs import ROOT, read_run

__all__ = ["find_adapter"]

WEIGHTS = "adapter_model.safetensors"


def find_adapter(launcher: str, outputs: Path) -> Path:
    """Find the adapter of another launcher.

    In this order: its output folder; the best of its seeds there; the published file in the current folder, the
    repository's root, or ``LORA_ADAPTERS``.

    Args:
        launcher: Its name, such as ``roberta_base_mnli``.
        outputs: Folder of the launchers' results.

    Returns:
        The adapter's folder or file.

    Raises:
        ValueError: If there is none; the message says where it was looked for and what to run.
    """
    folder = outputs / launcher
    if (folder / WEIGHTS).is_file():
        return folder
    best = _best_seed(folder)
    if best is not None:
        return best
    published = launcher.removesuffix("_mnli") + "_lora_mnli.bin"
    places = [Path.cwd(), ROOT]
    if os.environ.get("LORA_ADAPTERS"):
        places.append(Path(os.environ["LORA_ADAPTERS"]).expanduser())
    for place in places:
        if (place / published).is_file():
            return place / published
    looked = ", ".join(dict.fromkeys(str(place) for place in places))
    raise ValueError(
        f"this run starts from the MNLI adapter, which is missing. Either train it (bash {ROOT}/scripts/{launcher}.sh "
        f"writes {folder}), or put the published {published} into one of {looked}, or set LORA_ADAPTERS to the folder "
        "that holds it, or name an adapter with --lora_path, or start without one: --start_from none."
    )


def _best_seed(folder: Path) -> Path | None:
    """Give the seed's folder with the best score."""
    seeds = [path for path in sorted(folder.glob("seed-*")) if (path / WEIGHTS).is_file()]
    scores = {path: run.score for path in seeds if (run := read_run(path)) is not None}
    return max(scores, key=lambda path: scores[path], default=None)
