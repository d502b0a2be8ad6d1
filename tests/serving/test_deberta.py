"""Adapters over DeBERTa, of both meanings of its position query."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_models import DEBERTA
from served import in_process, write_adapter
from tiny_checkpoint import write_tiny_checkpoint

from transformers import DebertaV2Config, DebertaV2Model, pipeline

KINDS: dict[str, dict[str, Any]] = {
    "two": {"r": 2, "labels": 2},
    "seven": {"r": 5, "labels": 7},
    "names": {"kind": "token", "r": 3, "labels": 4},
    "all-linear": {"r": 2, "labels": 3, "target_modules": "all-linear"},
}


def as_peft(folder: Path) -> None:
    """Leave what PEFT itself would have written, whose meaning is the other one."""
    (folder / "lora_metadata.json").unlink()
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "peft_type": "LORA"}))


@pytest.mark.parametrize("peft", [False, True])
def test_answers_are_the_pipelines(tmp_path: Path, peft: bool) -> None:
    base = write_tiny_checkpoint(tmp_path / "base")
    words = len((base / "vocab.txt").read_text().split())
    sizes = {"vocab_size": words, "pad_token_id": 0, "max_position_embeddings": 64}
    DebertaV2Model(DebertaV2Config(**{**DEBERTA, **sizes})).save_pretrained(base)
    adapters = tmp_path / "adapters"
    for seed, (name, how) in enumerate(KINDS.items()):
        write_adapter(adapters / name, base, seed=seed, **how)
        if peft:
            as_peft(adapters / name)
    texts = ["good film", "a bad film was not very awful", "fine"]
    with in_process(adapters, max_wait_ms=100) as server, ThreadPoolExecutor(len(KINDS)) as pool:

        def ask(name: str) -> Any:
            return server.post("/predict", json={"adapter": name, "inputs": texts}).json()["outputs"]

        for _ in range(3):
            for name, found in zip(KINDS, pool.map(ask, KINDS), strict=True):
                expected = pipeline(model=adapters / name, tokenizer=base)(texts)
                for one, other in zip(flat(found), flat(expected), strict=True):
                    assert one == (pytest.approx(other, abs=1e-5) if isinstance(other, float) else other), name
        kinds = server.get("/metrics").text
        assert ('kind="mixed"' in kinds) is not peft, "what relative positions go through is never mixed"
    assert torch.is_inference_mode_enabled() is False


def flat(answers: Any) -> list[Any]:
    """Give all values of an answer, in order."""
    if isinstance(answers, dict):
        return [each for name in sorted(answers) for each in flat(answers[name])]
    return [each for one in answers for each in flat(one)] if isinstance(answers, list) else [answers]
