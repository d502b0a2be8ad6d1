"""A tiny MRPC, a tiny checkpoint and run_glue.py in processes of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from distributed_case import ROOT, environment

SCRIPT = ROOT / "examples" / "text-classification" / "run_glue.py"
BIN = Path(sys.executable).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


def write_mrpc(folder: Path, train: int = 30, validation: int = 13) -> Path:
    """Write MRPC as a local folder laid out like the hub's data set; give the folder."""
    from datasets import ClassLabel, Dataset, Features, Value

    words = ["good", "bad", "fine", "awful"]
    text, label = Value("string"), ClassLabel(names=["not_equivalent", "equivalent"])
    features = Features({"sentence1": text, "sentence2": text, "label": label, "idx": Value("int32")})
    (folder / "mrpc").mkdir(parents=True)
    lines = ["---", "configs:", "- config_name: mrpc", "  data_files:"]
    for split, size in (("train", train), ("validation", validation), ("test", 5)):
        columns = {
            "sentence1": [f"the film was {words[row % 4]} {row}" for row in range(size)],
            "sentence2": [f"very {words[row % 3]} " * (1 + row % 5) for row in range(size)],
            "label": [int(row % 4 == row % 3) for row in range(size)],
            "idx": list(range(size)),
        }
        Dataset.from_dict(columns, features=features).to_parquet(folder / "mrpc" / f"{split}.parquet")
        lines += [f"  - split: {split}", f"    path: mrpc/{split}.parquet"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    return folder


def launch(
    launcher: list[str], flags: list[object], cache: Path, *, timeout: float = 150, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run run_glue.py under a launcher.

    Args:
        launcher: Its words, before the script.
        flags: Those of run_glue.py.
        cache: Folder of the data sets' cache.
        timeout: Seconds after which the test fails.
        **variables: Of the environment.
    """
    variables = {"HF_DATASETS_CACHE": str(cache), "PATH": f"{BIN}:/usr/bin:/bin", **variables}
    command = [*launcher, str(SCRIPT), *map(str, flags)]
    return subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True, timeout=timeout, check=False
    )
