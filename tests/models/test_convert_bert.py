"""The converter from BERT's layout: names, positions, tokenizer, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_bert import SIZES, write_bert

from transformers import AutoTokenizer, RobertaModel
from transformers.models.roberta.convert_bert_to_roberta import convert, convert_state_dict, main


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return write_bert(tmp_path / "bert")


def test_layout(bert: Path, tmp_path: Path) -> None:
    assert main([str(bert), str(tmp_path / "new")]) == 0
    model, report = RobertaModel.from_pretrained(tmp_path / "new", output_loading_info=True)
    assert not any(report.values())
    config = model.config
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (2, 3, 0)
    assert (config.max_position_embeddings, config.type_vocab_size, config.hidden_size) == (21, 2, 16)
    old, table = load_file(bert / "model.safetensors"), model.embeddings.position_embeddings.weight
    assert not table[0].any()
    assert torch.equal(table[1:], old["bert.embeddings.position_embeddings.weight"])
    assert torch.equal(model.embeddings.LayerNorm.weight, old["bert.embeddings.LayerNorm.gamma"])
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "new")
    assert tokenizer("the film was good")["input_ids"] == [2, 5, 6, 7, 9, 3]
    assert tokenizer.model_max_length == 20
    assert model(**tokenizer(["the film", "good"], padding=True, return_tensors="pt"))[0].isfinite().all()


def _change(folder: Path, **fields: Any) -> None:
    content = {**SIZES, **fields}
    (folder / "config.json").write_text(json.dumps({name: value for name, value in content.items() if value != "-"}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda b: (b / "config.json").unlink(), "holds no config.json"),
        (lambda b: _change(b, model_type="gpt2"), "'gpt2' model; 'bert' was expected"),
        (lambda b: _change(b, position_embedding_type="relative_key"), "'relative_key' positions"),
        (lambda b: _change(b, max_position_embeddings="-"), "does not say max_position_embeddings"),
        (lambda b: (b / "vocab.txt").unlink(), r"holds no vocab\.txt"),
        (lambda b: (b / "vocab.txt").write_text("a\nb\n"), r"holds no \[CLS\]"),
        (lambda b: (b / "model.safetensors").unlink(), "holds no weights"),
        (lambda b: save_file({"a": torch.ones(1)}, b / "model.safetensors"), "a BERT encoder was expected"),
    ],
)
def test_what_is_no_bert(
    bert: Path, tmp_path: Path, spoil: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(bert)
    with pytest.raises((OSError, ValueError), match=message):
        convert(bert, tmp_path / "new")
    assert main([str(bert), str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err.startswith("convert_bert_to_roberta: ")
    assert not (tmp_path / "new").exists(), "nothing half-written is left"


def test_no_folder_is_overwritten(bert: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        convert(bert, tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("pad", [0, 3])
def test_position_table_is_shifted_behind_the_padding_id(pad: int) -> None:
    table = torch.randn(6, 4)
    (shifted,) = convert_state_dict({"embeddings.position_embeddings.weight": table}, pad).values()
    assert torch.equal(shifted, torch.cat([torch.zeros(pad + 1, 4), table]))
