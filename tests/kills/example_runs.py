"""The examples' scripts on tiny models and the data that lie beside them, for runs that are killed or meet faults."""

from __future__ import annotations

import gc
import os
from pathlib import Path

from tiny_checkpoint import write_tiny_checkpoint
from tiny_glue import write_tiny_glue

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FOLDERS = {
    "run_glue": "text-classification",
    "run_mlm": "language-modeling",
    "run_ner": "token-classification",
    "run_qa": "question-answering",
    "run_swag": "multiple-choice",
}
_FURTHER = {"run_qa": ["--version_2_with_negative", "--max_seq_length", "64", "--doc_stride", "16"]}


def prepare(work: Path) -> dict[str, list[str]]:
    """Write a model and a tiny GLUE, and import what runs need; give the flags that all runs of each script share."""
    import datasets.config

    datasets.config.HF_DATASETS_CACHE = work / "cache"
    os.environ["HF_DATASETS_CACHE"] = str(work / "cache")
    model = write_tiny_checkpoint(work / "model", num_hidden_layers=1)
    (work / "glue").mkdir()
    write_tiny_glue(work / "glue")
    _settle()
    always = ["--model_name_or_path", str(model), "--do_train"]
    always += ["--report_to", "none", "--disable_tqdm", "true", "--no_cuda"]
    words = {name: [*always, *_files(name), *_FURTHER.get(name, [])] for name in FOLDERS if name != "run_glue"}
    return {"run_glue": [*always, "--glue_dataset", str(work / "glue"), "--task_name", "sst2"], **words}


def _files(script: str) -> list[str]:
    """Give the flags for a script's own data, a part of which is enough."""
    folder = EXAMPLES / FOLDERS[script] / "data"
    (train,), (validation,) = folder.glob("train.*"), folder.glob("validation.*")
    files = ["--train_file", str(train), "--validation_file", str(validation)]
    return [*files, "--max_train_samples", "24", "--max_eval_samples", "8"]


def _settle() -> None:
    """Import what runs need, so that forking is cheap; one thread, which makes it safe; no garbage in the children."""
    import accelerate  # noqa: F401
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401
    import scipy.io  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import torch
    import torch._dynamo  # every optimizer wants it

    for script in FOLDERS:
        __import__(script)
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
