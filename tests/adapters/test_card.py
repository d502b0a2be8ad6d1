"""Model cards: what they say is so, their Python runs, a person's are kept, and they never make a save fail."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_models import DEBERTA
from huggingface_hub import ModelCard, ModelCardData
from tiny import LORA, random_ids, shake
from tiny_checkpoint import write_tiny_checkpoint

from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    PreTrainedModel,
    RobertaForMultipleChoice,
)
from transformers.utils.model_card import CARD_NAME, CardContent, is_own_card, render_card, write_card


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("base") / "tiny")


def _lora(checkpoint: Path, **changes: Any) -> PreTrainedModel:
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, **{**LORA, "num_labels": 3, **changes})
    shake(model)
    return model


def _rows(text: str, heading: str) -> dict[str, str]:
    """Read the table below a heading."""
    part = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| ([^|-]+?) \| (.*) \|$", part, re.MULTILINE))


def _python_of(text: str, heading: str) -> str:
    return text.partition(f"## {heading}\n")[2].partition("```python\n")[2].partition("```")[0]


def test_an_adapters_card(checkpoint: Path, tmp_path: Path) -> None:
    model = _lora(checkpoint, id2label={0: "yes", 1: "no | or", 2: "<b>"}, label2id=None)
    model.base_record.source = "owner/base"  # as if it had come from the hub
    model.save_adapter(tmp_path / "rte")
    card = ModelCard.load(tmp_path / "rte" / CARD_NAME)
    assert card.data.to_dict() == {
        "base_model": "owner/base",
        "base_model_relation": "adapter",
        "library_name": "peft",
        "pipeline_tag": "text-classification",
        "tags": ["lora"],
    }
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    rows = _rows(card.text, "What was trained")
    assert (rows["r"], rows["alpha"], rows["LoRA in"]) == ("4", "8", "`query`, `value`")
    assert rows["trained values"].startswith(f"{trained:,} of {model.num_parameters():,} (")
    assert rows["trained beside"] == "`classifier.dense`, `classifier.out_proj`"
    assert _rows(card.text, "Labels") == {"0": "yes", "1": r"no \| or", "2": "&lt;b>"}
    assert "chooses one and writes it into the metadata" in card.text
    assert 'from_pretrained("owner/base", num_labels=3)' in _python_of(card.text, "Use with PEFT")


def test_its_lines_run(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = _lora(checkpoint)
    model.save_adapter(tmp_path / "adapter")
    AutoModelForTokenClassification.from_pretrained(checkpoint).save_pretrained(tmp_path / "whole")
    tokenizer.save_pretrained(tmp_path / "whole")
    RobertaForMultipleChoice.from_pretrained(checkpoint, **LORA).save_adapter(tmp_path / "choice")
    found: dict[str, Any] = {}
    for name in ("adapter", "whole", "choice"):
        monkeypatch.chdir(tmp_path / name)
        found[name] = space = {}
        exec(_python_of(Path(CARD_NAME).read_text(), "Use"), space)
    label = found["adapter"]["tell"]("A sentence.")[0]
    batch = tokenizer("A sentence.", return_tensors="pt")
    assert label["score"] == pytest.approx(model.eval()(**batch).logits.softmax(-1).max().item())
    assert isinstance(found["choice"]["model"], RobertaForMultipleChoice)


def test_what_peft_cannot_hold_says_so(tmp_path: Path, checkpoint: Path) -> None:
    DebertaV2ForSequenceClassification(DebertaV2Config(**DEBERTA)).save_pretrained(tmp_path / "base")
    deberta = DebertaV2ForSequenceClassification.from_pretrained(tmp_path / "base", **LORA, lora_position_query=False)
    deberta.save_adapter(tmp_path / "positions")
    _lora(checkpoint, apply_lora=False, apply_bitfit=True).save_adapter(tmp_path / "biases")
    for name, reason in (("positions", "lora_position_query=False"), ("biases", "its form has no place for it")):
        card = ModelCard.load(tmp_path / name / CARD_NAME)
        assert card.data.library_name == "transformers"
        assert card.text.partition("## Use with PEFT\n\n")[2].startswith("PEFT refuses it: ")
        assert reason in card.text
    assert _rows(card.text, "What was trained")["apply_bitfit"] == "`True`"


def test_a_local_base_is_not_told_by_its_path(checkpoint: Path, tmp_path: Path) -> None:
    _lora(checkpoint).save_adapter(tmp_path / "rte")
    card = ModelCard.load(tmp_path / "rte" / CARD_NAME)
    assert card.data.base_model is None
    assert str(checkpoint.parent) not in card.content
    assert "`tiny`" in card.text


@pytest.mark.parametrize("change", [lambda text: text + "More.\n", lambda text: text.replace("LoRA", "My", 1)])
def test_a_persons_card_is_kept(
    change: Any, checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, path = _lora(checkpoint), tmp_path / "rte" / CARD_NAME
    model.save_adapter(tmp_path / "rte")
    first = path.read_bytes()
    model.config.id2label = {0: "a", 1: "b", 2: "c"}
    model.save_adapter(tmp_path / "rte")
    assert path.read_bytes() != first, "one that nobody has changed is renewed"
    mine = change(path.read_text())
    path.write_text(mine)
    with caplog.at_level(logging.INFO, "transformers.utils.model_card"):
        model.save_adapter(tmp_path / "rte")
    assert path.read_text() == mine
    assert f"'{path}' was changed by hand, so it is kept as it is." in caplog.messages


def test_line_ends_of_another_system_change_nothing() -> None:
    text = render_card(CardContent("a", {"tags": ["x"]}, [("One", "1\n2")])).encode()
    assert is_own_card(text)
    assert is_own_card(text.replace(b"\n", b"\r\n"))
    assert not is_own_card(text.replace(b"1", b"2"))
    assert not is_own_card(b"")


def test_a_card_never_makes_a_save_fail(checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, ids = _lora(checkpoint), random_ids()
    (tmp_path / "rte" / CARD_NAME).mkdir(parents=True)
    model.save_adapter(tmp_path / "rte")
    assert "could not be written (Is a directory" in caplog.text
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rte")
    assert torch.equal(again(ids).logits, model.eval()(ids).logits)

    def fails() -> CardContent:
        raise ZeroDivisionError("no values")

    write_card(tmp_path, fails)
    assert "could not be written (no values); all else is saved" in caplog.text
    assert not (tmp_path / CARD_NAME).exists()


def test_no_token_is_in_a_card() -> None:
    text = render_card(CardContent("a", sections=[("Labels", "hf_SeCrEtSeCrEtSeCrEtSeCrEt")]))
    assert "SeCrEt" not in text
    assert ModelCardData(**ModelCard(text).data.to_dict()).to_dict() == {}
