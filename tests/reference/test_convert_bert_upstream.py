"""A BERT turned into RoBERTa's layout gives the hidden states of upstream's BERT."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from parity import EVAL_TOLERANCE, Upstream
from safetensors.torch import load_file, save_file
from tiny_bert import write_bert

from transformers import AutoTokenizer, RobertaModel
from transformers.models.roberta.convert_bert_to_roberta import convert

pytestmark = pytest.mark.reference

ROOT = Path(__file__).resolve().parents[2]


def _compare(bert: Path, folder: Path, upstream: Upstream) -> None:
    """Compare every layer's hidden states on padded pairs with token types."""
    convert(bert, folder / "roberta")
    tokenizer = AutoTokenizer.from_pretrained(folder / "roberta")
    texts = ["the film was good", "the film", "good the was film the the good"]
    inputs = tokenizer(texts, texts[::-1], padding=True, return_tensors="pt", return_token_type_ids=True)
    save_file(dict(inputs), folder / "inputs.safetensors")
    upstream("upstream_bert.py", bert, folder / "inputs.safetensors", folder / "outputs.safetensors")
    model = RobertaModel.from_pretrained(folder / "roberta", add_pooling_layer=False)
    with torch.no_grad():
        ours = model(**inputs, output_hidden_states=True).hidden_states
    theirs, valid = load_file(folder / "outputs.safetensors"), inputs["attention_mask"].bool()
    assert len(ours) == len(theirs)
    assert inputs["token_type_ids"].any()
    for number, state in enumerate(ours):
        assert (state - theirs[str(number)])[valid].abs().max() <= EVAL_TOLERANCE, number


def test_random_bert(tmp_path: Path, upstream: Upstream) -> None:
    _compare(write_bert(tmp_path / "bert"), tmp_path, upstream)


def test_minilm(tmp_path: Path, upstream: Upstream) -> None:
    folder = Path(os.environ.get("LORA_MINILM_BERT", ROOT / "models" / "minilm-bert"))
    if not (folder / "config.json").is_file():
        pytest.skip(f"needs MiniLM in BERT's layout ({folder} is absent; LORA_MINILM_BERT names another place)")
    _compare(folder, tmp_path, upstream)
