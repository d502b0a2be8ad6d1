"""``transformers-cli adapter show``: what it says is true of the model type."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import LORA, write_base

from transformers import AutoModelForSequenceClassification, DebertaV2Config, DebertaV2Model
from transformers.commands.transformers_cli import main


def _shown(base: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    AutoModelForSequenceClassification.from_pretrained(base, **LORA).save_adapter(folder)
    assert main(["adapter", "show", str(folder)]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("metadata", [True, False])
def test_roberta_has_no_position_query(metadata: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = _shown(write_base(tmp_path / "base"), tmp_path / "adapter", capsys)
    if not metadata:  # as PEFT writes it
        (tmp_path / "adapter" / "lora_metadata.json").unlink()
        assert main(["adapter", "show", str(tmp_path / "adapter")]) == 0
        shown = capsys.readouterr().out
    assert "r, alpha, scaling" in shown
    assert "position query" not in shown


def test_debertas_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    positions = {"relative_attention": True, "share_att_key": True, "pos_att_type": "p2c|c2p", "position_buckets": 4}
    DebertaV2Model(DebertaV2Config(**sizes, intermediate_size=16, **positions)).save_pretrained(tmp_path / "base")
    shown = _shown(tmp_path / "base", tmp_path / "adapter", capsys)
    assert "position query     the base's, as the original's" in shown
