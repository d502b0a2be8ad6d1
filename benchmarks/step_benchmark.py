"""How long does a LoRA training step take here, how long with upstream Transformers + PEFT, on the same batches?

What the benchmarks of single models share. Each side is a process of its own that stays alive (`own_step.py`,
`upstream_step.py`); they take turns step by step, so that whatever else the machine does hits both alike. The batches
are real RTE pairs, padded to the longest of each batch. Peak memory: `step_memory.py`.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from other_side import REFERENCE, ROOT, LiveProcess
from transformers import PreTrainedModel
from transformers.training.environment import describe_environment

BATCH_SIZE = 16


def glue_batches(
    text: str, count: int, vocab_size: int, seed: int, pad: int, size: int = BATCH_SIZE
) -> list[dict[str, Tensor]]:
    """Draw batches of GLUE's training texts, or of texts of one length.

    Words are cut into pieces of up to eight letters and numbered by a hash: ids of no tokenizer, but with lengths
    like a real one's (1.36 tokens a word), and the same for both sides.

    Args:
        text: ``"rte"`` (pairs), ``"sst2"`` (sentences), or a number of tokens, as text.
        count: Number of batches.
        vocab_size: Ids are below this.
        seed: Of the draw.
        pad: Id of the padding token.
        size: Texts of a batch.

    Returns:
        ``input_ids``, ``attention_mask`` and ``labels`` of each batch.

    Raises:
        OSError: If the GLUE data is absent.
    """
    generator = torch.Generator().manual_seed(seed)
    if text.isdecimal():
        rows = torch.randint(10, vocab_size, (count * size, int(text)), generator=generator)
        texts, labels = list(rows), torch.randint(2, (count * size,), generator=generator)
    else:
        import pandas as pd

        folder = Path(os.environ.get("LORA_SHARED_DATA", ROOT.parent / "shared" / "data"))
        table = pd.read_parquet(folder / "glue" / text / "train-00000-of-00001.parquet")
        columns = [name for name in ("sentence", "sentence1", "sentence2") if name in table.columns]
        chosen = table.iloc[torch.randperm(len(table), generator=generator)[: count * size].tolist()]
        parts = [[_ids(str(row[name]), vocab_size) for name in columns] for _, row in chosen.iterrows()]
        texts = [torch.tensor([5, *(id_ for part in row for id_ in (*part, 6))]) for row in parts]
        labels = torch.tensor([int(label) for label in chosen.label])
    batches = []
    for at in range(0, count * size, size):
        input_ids = torch.nn.utils.rnn.pad_sequence(texts[at : at + size], True, pad)
        mask = (input_ids != pad).long()
        batches.append({"input_ids": input_ids, "attention_mask": mask, "labels": labels[at : at + size]})
    return batches


def _ids(text: str, vocab_size: int) -> list[int]:
    return [10 + zlib.crc32(piece.encode()) % (vocab_size - 10) for piece in re.findall(r"\w{1,8}|[^\w\s]", text)]


class Side(LiveProcess):
    """One of the two processes.

    Args:
        python: The interpreter of its environment.
        script: In this folder.
        model_folder: A saved encoder.
        settings: See `upstream_step.py`.
        source: The ``src`` folder that our side is run from; this checkout's where None.
    """

    def __init__(
        self, python: Path | str, script: str, model_folder: Path, settings: dict[str, Any], source: str | None = None
    ) -> None:
        # Passive: threads that wait do not spin, which would cost the other side, or whoever shares the machine, time.
        variables = {"OMP_NUM_THREADS": str(settings["threads"]), "OMP_WAIT_POLICY": "PASSIVE"}
        if script == "own_step.py":
            variables["PYTHONPATH"] = source or str(ROOT / "src")
        super().__init__(python, script, [str(model_folder), json.dumps(settings)], variables)

    def step(self, batch: Path) -> dict[str, Any]:
        """Run one step."""
        return self.ask(batch)


def compare_steps(
    model: PreTrainedModel,
    *,
    head: list[str],
    seed: int,
    rounds: int,
    threads: int,
    batch_count: int,
    r: int,
    alpha: int,
    targets: list[str] | None = None,
    dtypes: Sequence[str] = ("float32", "bfloat16"),
    device: str = "cpu",
    cuda_graphs: bool = False,
) -> dict[str, Any]:
    """Measure both sides in each dtype of the frozen base.

    Args:
        model: The bare encoder.
        head: The classifier's modules, which PEFT has to be told.
        seed: Of the batches and of dropout.
        rounds: Steps of each side on each batch; one more comes first and is not counted.
        threads: CPU threads of each side.
        batch_count: Number of batches of 16 pairs.
        r: LoRA's rank.
        alpha: LoRA's alpha.
        targets: Ends of the paths of LoRA's layers; the model type's own where None.
        dtypes: By name; a CPU without bf16 products takes minutes for a step in bf16.
        device: ``"cpu"`` or ``"cuda"``.
        cuda_graphs: Let our side launch its passes as graphs.

    Returns:
        Settings, environments and results, JSON-ready.
    """
    batches = glue_batches("rte", batch_count, model.config.vocab_size, seed, model.config.pad_token_id or 0)
    settings = {"threads": threads, "seed": seed, "r": r, "alpha": alpha, "head": head, "device": device}
    settings["cuda_graphs"] = cuda_graphs
    settings["targets"] = list(model.config.lora_targets) if targets is None else targets
    settings["own_fields"] = {} if targets is None else {"lora_target_modules": targets}
    results: dict[str, Any] = {}
    about: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = _write_work(folder, model, batches)
        for dtype in dtypes:
            options = {**settings, "dtype": dtype}
            with (
                Side(sys.executable, "own_step.py", folder / "model", options) as ours,
                Side(REFERENCE, "upstream_step.py", folder / "model", options) as theirs,
            ):
                results[dtype] = _take_turns(ours, theirs, files, rounds)
                about = {"ours": ours.about, "upstream": theirs.about}
    return {
        "settings": {**settings, "rounds": rounds, "batch_size": BATCH_SIZE, "dropout": 0.1, "optimizer": "AdamW"},
        "batches": [
            {"padded_length": mask.shape[1], "tokens": int(mask.sum())}
            for mask in (b["attention_mask"] for b in batches)
        ],
        "model": model.config.to_diff_dict(),
        "sides": about,
        "environment": {**describe_environment(device), "threads": threads},
        "load_average": os.getloadavg(),
        "results": results,
    }


def _write_work(folder: Path, model: PreTrainedModel, batches: list[dict[str, Tensor]]) -> list[Path]:
    """Write model and batches for both sides; give the batches' files."""
    model.save_pretrained(folder / "model")
    files = [folder / f"{number}.safetensors" for number in range(len(batches))]
    for file, batch in zip(files, batches, strict=True):
        save_file(batch, file)
    return files


def _take_turns(ours: Side, theirs: Side, files: list[Path], rounds: int) -> dict[str, Any]:
    """Let the sides step alternately, and sum up: medians of each batch's steps, added over the batches."""
    sides = {"ours": ours, "upstream": theirs}
    steps: dict[str, list[list[dict[str, Any]]]] = {name: [[] for _ in files] for name in sides}
    for number in range(rounds + 1):
        for place, file in enumerate(files):
            for name, side in sides.items():
                answer = side.step(file)
                if number > 0:  # the first round warms up
                    steps[name][place].append(answer)
                print(f"  {name:9} {answer['seconds']:8.3f} s {answer['peak_bytes'] / 1e9:6.2f} GB", flush=True)
    summary: dict[str, Any] = {}
    for name, by_batch in steps.items():
        summary[name] = {
            "seconds_per_step": sum(median(a["seconds"] for a in answers) for answers in by_batch) / len(files),
            "cpu_seconds_per_step": sum(median(a["cpu_seconds"] for a in answers) for answers in by_batch)
            / len(files),
            "peak_bytes": by_batch[-1][-1]["peak_bytes"],
            "seconds": [[round(a["seconds"], 5) for a in answers] for answers in by_batch],
        }
    for name, key in (("speedup", "seconds_per_step"), ("cpu_speedup", "cpu_seconds_per_step")):
        summary[name] = round(summary["upstream"][key] / summary["ours"][key], 3)
    summary["memory_share"] = round(summary["ours"]["peak_bytes"] / summary["upstream"]["peak_bytes"], 3)
    return summary
