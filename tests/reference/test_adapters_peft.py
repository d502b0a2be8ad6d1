"""Adapters go to real PEFT over real upstream and back; what PEFT cannot mean it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from adapter_models import KINDS, batch, load_base, logits, make_adapted, write_base
from parity import Upstream
from safetensors.torch import load_file, save_file

from transformers import AutoModelForSequenceClassification

pytestmark = pytest.mark.reference

CASES = [name for name, kind in KINDS.items() if kind.dtype == torch.float32]
REFUSED = {"deberta-base-positions"}
LABELS = 3


@pytest.fixture(scope="module")
def cases(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    for name in CASES:
        kind, case = KINDS[name], folder / name
        write_base(kind, case / "base")
        model = make_adapted(kind, case / "base", num_labels=LABELS)
        model.save_adapter(case / "ours")
        inputs = batch()
        inputs["attention_mask"][2] = 1  # upstream's head reads column 0, so no padding on the left
        save_file(inputs, case / "inputs.safetensors")
        content = {
            "num_labels": LABELS,
            "targets": sorted(model.config.lora_targets),
            "head": ["classifier", "pooler"] if kind.deberta else ["classifier"],
            "bias": "all" if kind.biases else "none",
        }
        (case / "case.json").write_text(json.dumps(content))
    upstream("upstream_adapters.py", folder)
    return folder


def _logits(model: torch.nn.Module, case: Path) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        result: torch.Tensor = model(**load_file(case / "inputs.safetensors")).logits
    return result


@pytest.mark.parametrize("name", CASES)
def test_an_adapter_of_ours_means_the_same_to_peft(cases: Path, name: str) -> None:
    case = cases / name
    theirs = load_file(case / "logits.safetensors")
    if name in REFUSED:
        assert "ours" not in theirs
        assert "lora_position_query=False" in (case / "refused.txt").read_text()
        return
    ours = AutoModelForSequenceClassification.from_pretrained(case / "ours")
    for way in ("ours", "card"):
        assert (_logits(ours, case) - theirs[way]).abs().max() <= 1e-5


@pytest.mark.parametrize("name", CASES)
def test_an_adapter_of_pefts_means_the_same_here(cases: Path, name: str) -> None:
    case, kind = cases / name, KINDS[name]
    theirs = load_file(case / "logits.safetensors")["peft"]
    ours = AutoModelForSequenceClassification.from_pretrained(case / "peft")
    assert (_logits(ours, case) - theirs).abs().max() <= 1e-5
    if name in REFUSED:
        other = make_adapted(kind, case / "base", num_labels=LABELS)
        with pytest.raises(ValueError, match="lora_position_query"):
            other.load_adapter(case / "peft", "theirs")
        return
    plain = load_base(kind, case / "base")
    plain.load_adapter(case / "peft", "theirs")
    assert (_logits(plain, case) - theirs).abs().max() <= 1e-5


@pytest.mark.parametrize("name", [name for name in CASES if name not in REFUSED])
def test_a_merged_checkpoint_is_upstreams(cases: Path, name: str, tmp_path: Path) -> None:
    merged = AutoModelForSequenceClassification.from_pretrained(cases / name / "ours").merge_and_unload()
    theirs = load_file(cases / name / "logits.safetensors")["ours"]
    assert (_logits(merged, cases / name) - theirs).abs().max() <= 1e-5


def test_merging_unties_what_upstream_then_loads(upstream: Upstream, tmp_path: Path) -> None:
    """DeBERTa's original meaning cannot be PEFT's, but its merged checkpoint is plain upstream."""
    kind = KINDS["deberta-base-positions"]
    model = make_adapted(kind, write_base(kind, tmp_path / "base"), num_labels=LABELS)
    expected = logits(model)
    case = tmp_path / "cases" / "merged"
    model.merge_and_unload().save_pretrained(case / "model")
    save_file({**batch(), "labels": torch.arange(6) % LABELS}, case / "inputs.safetensors")
    (case / "case.json").write_text(json.dumps({"class": "DebertaV2ForSequenceClassification"}))
    upstream("upstream_model.py", tmp_path / "cases")
    theirs = load_file(case / "outputs.safetensors")["logits"]
    right_padded = [row for row in range(6) if row != 2]
    assert (expected - theirs)[right_padded].abs().max() <= 1e-5
