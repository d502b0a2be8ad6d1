"""``transformers-cli export onnx``: a folder from an adapter, with figures; a line where that cannot be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from tiny import LORA, shake
from tiny_checkpoint import write_tiny_checkpoint

from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoModelForSequenceClassification, AutoTokenizer
from transformers.commands.transformers_cli import main

TEXTS = ["the film was good", "very bad", "not fine", "awful film"]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_tiny_checkpoint(tmp_path / "base", num_hidden_layers=1)


def test_an_adapter_and_its_accuracy(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("transformers.exporting.onnx")
    pytest.importorskip("onnxruntime")
    labels = {0: "bad", 1: "good"}
    model = AutoModelForSequenceClassification.from_pretrained(base, **LORA, id2label=labels).eval()
    shake(model)
    model.save_adapter(tmp_path / "adapter")
    tokenizer = AutoTokenizer.from_pretrained(base)
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits
    right = [labels[int(best)] for best in logits.argmax(-1)]
    right[0] = next(label for label in labels.values() if label != right[0])  # one that counts as wrong
    rows = "".join(f"{text}\t{label}\n" for text, label in zip(TEXTS, right, strict=True))
    (tmp_path / "dev.tsv").write_text(f"sentence\tlabel\n{rows}")

    out = tmp_path / "out"
    words = ["export", "onnx", str(tmp_path / "adapter"), str(out), "--int8"]
    assert main([*words, "--validation_file", str(tmp_path / "dev.tsv")]) == 0
    said = capsys.readouterr().out
    assert re.search(r"accuracy on 4 texts: PyTorch 0\.7500, model\.onnx 0\.7500, model_int8\.onnx [01]\.\d{4}", said)
    assert AutoConfig.from_pretrained(out).id2label == labels
    again = AutoTokenizer.from_pretrained(out)(TEXTS, padding=True, return_tensors="pt")
    (found,) = onnx.run_session(onnx.open_session(out / "model.onnx"), dict(again))
    torch.testing.assert_close(found, logits, atol=1e-4, rtol=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base", "dev.tsv", "out"]

    assert main(words) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "flags", "said"),
    [
        ("sentence\tlabel\ngood\tgreat\n", [], "has the label 'great'; those of the model are bad, good"),
        ("text\tlabel\ngood\tbad\n", [], "has no 'sentence' in row 1; it has text, label"),
        ("sentence\tlabel\ngood\n", [], "has no 'label' in row 1; it has sentence"),
        ("sentence\tlabel\n", [], "has no rows"),
        ("sentence\tlabel\ngood\tbad\n", ["--task", "question-answering"], "question answering has two scores"),
    ],
)
def test_what_cannot_be(
    rows: str, flags: list[str], said: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = {0: "bad", 1: "good", 2: "so so"} if flags else {0: "bad", 1: "good"}
    model = AutoModelForSequenceClassification.from_pretrained(base, id2label=labels)
    model.save_pretrained(tmp_path / "model")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "model")
    (tmp_path / "dev.tsv").write_text(rows)
    words = ["export", "onnx", str(tmp_path / "model"), str(tmp_path / "out"), *flags]
    assert main([*words, "--validation_file", str(tmp_path / "dev.tsv")]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert said in errors[0]
    assert not (tmp_path / "out").exists()


def test_other_heads_have_no_accuracy(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    AutoModelForQuestionAnswering.from_pretrained(base, num_labels=2).save_pretrained(tmp_path / "model")
    words = ["export", "onnx", str(tmp_path / "model"), str(tmp_path / "out"), "--validation_file", "dev.tsv"]
    assert main(words) == 2
    assert "for classifiers of texts; this is a RobertaForQuestionAnswering" in capsys.readouterr().err


def test_a_bare_encoders_config_says_its_task(base: Path) -> None:
    from transformers.models.auto.saved_task import saved_task

    assert saved_task(base) == "base"
