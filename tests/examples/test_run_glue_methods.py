"""run_glue.py with bottleneck adapters, BitFit and consistency training, for both model types, and its switches."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import run_glue
from transformers import AutoConfig, AutoModelForSequenceClassification, DebertaV2Config, DebertaV2Model, Trainer
from transformers.layers.dropout import Dropout

LORA = ["--apply_lora", "--lora_r", "2", "--lora_alpha", "4"]
HOULSBY = ["--apply_adapter", "--adapter_type", "houlsby", "--adapter_size", "8"]
PFEIFFER = ["--apply_adapter", "--adapter_type", "pfeiffer", "--adapter_size", "16"]
BITFIT = ["--apply_bitfit"]
CUTOFF = ["--reg_loss_wgt", "1.0", "--masking_prob", "0.1"]  # as the original's mnli.cutoff.sh gives them
QUICK = ["--max_steps", "2", "--per_device_train_batch_size", "4", "--report_to", "none", "--disable_tqdm", "true"]
D, INNER, LAYERS, R = 32, 64, 2, 2  # of the tiny checkpoints
HEAD = D * D + D + D * 2 + 2


def run(*words: object) -> int:
    """Run the script's main here; give its exit code."""
    try:
        return run_glue.main([str(word) for word in words])
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture(scope="session")
def tiny_deberta(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a DeBERTa of the same sizes, with the same tokenizer."""
    folder = tmp_path_factory.mktemp("deberta") / "model"
    shutil.copytree(tiny_checkpoint, folder)
    sizes = AutoConfig.from_pretrained(tiny_checkpoint)
    config = DebertaV2Config(
        vocab_size=sizes.vocab_size,
        hidden_size=D,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=INNER,
        max_position_embeddings=64,
        relative_attention=True,
        pos_att_type="p2c|c2p",
        share_att_key=True,
        position_buckets=8,
        norm_rel_ebd="layer_norm",
        pad_token_id=0,
        tokenizer_class="BertTokenizer",
    )
    torch.manual_seed(0)
    DebertaV2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture(params=["roberta", "deberta"])
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def checkpoint(family: str, tiny_checkpoint: Path, tiny_deberta: Path) -> Path:
    return tiny_checkpoint if family == "roberta" else tiny_deberta


@pytest.fixture
def go(tiny_glue: Path) -> Any:
    """Give a function that runs the script on tiny GLUE."""

    def run_task(model: Path, output: Path, *words: object, task: str = "rte", verbs: Sequence[str] = ()) -> int:
        verbs = verbs or ("--do_train", "--do_eval")
        data = ["--task_name", task, "--glue_dataset", tiny_glue]
        return run("--model_name_or_path", model, *QUICK, *data, *verbs, "--output_dir", output, *words)

    return run_task


def record(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / "run_record.json").read_text())
    return content


def adapter_values(size: int) -> int:
    return 2 * D * size + size + D


def bias_values(family: str) -> int:
    layer = 3 * D + D + D + INNER + D + D
    return LAYERS * layer + D + (D if family == "deberta" else 0)  # the embeddings' norm; the relative ones' norm


METHODS: dict[str, tuple[list[str], int, bool]] = {
    "houlsby": (HOULSBY, 2 * LAYERS * adapter_values(8), False),
    "pfeiffer": (PFEIFFER, LAYERS * adapter_values(16), False),
    "default": (["--apply_adapter"], 2 * LAYERS * adapter_values(64), False),
    "bitfit": (BITFIT, 0, True),
    "lora-houlsby": ([*LORA, *HOULSBY], 4 * LAYERS * R * D + 2 * LAYERS * adapter_values(8), False),
    "lora-bitfit": ([*LORA, *BITFIT], 4 * LAYERS * R * D, True),
    "all": ([*LORA, *PFEIFFER, *BITFIT], 4 * LAYERS * R * D + LAYERS * adapter_values(16), True),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_its_part_and_goes_on_from_the_folder(
    method: str, family: str, checkpoint: Path, go: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, count, biases = METHODS[method]
    output = tmp_path / "out"
    assert go(checkpoint, output, *words) == 0
    count += HEAD + (bias_values(family) if biases else 0)
    assert record(output)["trainable_values"] == count
    table = capsys.readouterr().out
    assert f"{count:,} / " in table
    assert "finds its base itself" in table
    assert not (output / "model.safetensors").exists(), "not another copy of the base"
    saved = load_file(next(output.glob("*.safetensors")))
    assert sum(tensor.numel() for tensor in saved.values()) == count

    model = AutoModelForSequenceClassification.from_pretrained(output)
    assert list(model.config.id2label.values()) == ["entailment", "not_entailment"]
    first = record(output)["metrics"]["eval_loss"]
    assert go(output, tmp_path / "again", verbs=["--do_eval"]) == 0
    assert record(tmp_path / "again")["metrics"]["eval_loss"] == pytest.approx(first, rel=1e-6)


@pytest.mark.parametrize("precision", [["--bf16"], ["--gradient_checkpointing"]], ids=["bf16", "recompute"])
def test_methods_train_in_bf16_and_with_recomputed_activations(
    precision: list[str], checkpoint: Path, go: Any, tmp_path: Path
) -> None:
    words = [*LORA, *HOULSBY, *BITFIT, *CUTOFF]
    assert go(checkpoint, tmp_path / "out", *words, *precision) == 0
    assert math.isfinite(record(tmp_path / "out")["metrics"]["train_loss"])


def test_a_run_starts_from_the_adapters_of_another_task(checkpoint: Path, go: Any, tmp_path: Path) -> None:
    assert go(checkpoint, tmp_path / "mnli", *PFEIFFER, task="mnli") == 0
    words = ["--apply_adapter", "--adapter_path", tmp_path / "mnli", "--learning_rate", "0"]
    assert go(checkpoint, tmp_path / "rte", *words) == 0
    before, after = (load_file(tmp_path / task / "trained_model.safetensors") for task in ("mnli", "rte"))
    for name, tensor in before.items():
        same = after[name].shape == tensor.shape and torch.equal(after[name], tensor)
        assert same is (".adapter." in name), name  # three labels there, two here: the head is new


def test_a_position_query_that_peft_reads_can_be_asked_for(tiny_deberta: Path, go: Any, tmp_path: Path) -> None:
    for name, words, kind in (("ours", [], False), ("peft", ["--lora_position_query"], True)):
        assert go(tiny_deberta, tmp_path / name, *LORA, *words) == 0
        assert AutoConfig.from_pretrained(tmp_path / name).lora_position_query is kind
        described = json.loads((tmp_path / name / "adapter_config.json").read_text())
        assert (described["peft_type"] == "LORA") is kind


# Consistency ----------------------------------------------------------------------------------------------------


def test_both_kinds_train_and_differ_from_plain_training(checkpoint: Path, go: Any, tmp_path: Path) -> None:
    kinds = {
        "plain": [],
        "cutoff": CUTOFF,
        "named": ["--consistency", "cutoff", *CUTOFF],
        "rdrop": ["--consistency", "rdrop", "--reg_loss_wgt", "1.0"],
        "as the original's mnli.rdrop.sh": ["--reg_loss_wgt", "1.0"],
    }
    losses = {}
    for name, words in kinds.items():
        assert go(checkpoint, tmp_path / name, *LORA, *words, "--cls_dropout", "0.4") == 0
        losses[name] = record(tmp_path / name)["metrics"]["train_loss"]
    assert losses["cutoff"] == losses["named"]
    assert len(set(losses.values())) == 4
    for name in ("cutoff", "rdrop"):
        assert losses[name] == pytest.approx(2 * losses["plain"], rel=0.3), "two cross-entropies"


def test_the_tokenizers_ids_are_what_is_masked(
    checkpoint: Path, go: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    train = Trainer.train

    def look_and_train(self: Trainer, **options: Any) -> Any:
        seen.append(self.model.config)
        return train(self, **options)

    monkeypatch.setattr(Trainer, "train", look_and_train)
    assert go(checkpoint, tmp_path / "out", *LORA, *CUTOFF) == 0
    ids = [getattr(seen[0], name) for name in ("pad_token_id", "unk_token_id", "cls_token_id", "sep_token_id")]
    assert ids == [0, 1, 2, 3], "[PAD] [UNK] [CLS] [SEP] of the tiny vocabulary"


def test_regression_says_that_consistency_does_not_apply(
    checkpoint: Path, go: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (CUTOFF, ["--consistency", "rdrop", "--reg_loss_wgt", "1"]):
        assert go(checkpoint, tmp_path / "out", *LORA, *words, task="stsb") == 2
        assert "does not apply to regression" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# Switches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", ["0", "0.15"])
def test_cls_dropout_is_the_heads(
    rate: str, family: str, checkpoint: Path, go: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[tuple[float, float]] = []
    train = Trainer.train

    def look_and_train(self: Trainer, **options: Any) -> Any:
        head = self.model.classifier.dropout if family == "roberta" else self.model.dropout
        inner = {module.p for module in self.model.base_model.modules() if isinstance(module, Dropout)}
        rates.append((head.p, max(inner)))
        return train(self, **options)

    monkeypatch.setattr(Trainer, "train", look_and_train)
    assert go(checkpoint, tmp_path / "out", *LORA, "--cls_dropout", rate) == 0
    assert rates == [(float(rate), 0.1)]


def test_gradient_checkpointing_gives_the_same_weights(checkpoint: Path, go: Any, tmp_path: Path) -> None:
    saved = []
    for name, words in (("plain", []), ("recompute", ["--gradient_checkpointing"])):
        assert go(checkpoint, tmp_path / name, *LORA, *words, "--learning_rate", "1e-2") == 0
        saved.append(load_file(tmp_path / name / "adapter_model.safetensors"))
    for name, tensor in saved[0].items():
        torch.testing.assert_close(saved[1][name], tensor, rtol=1e-4, atol=1e-5, msg=name)


# Bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--adapter_size", "8"], "without --apply_adapter"),
        (["--adapter_type", "pfeiffer"], "without --apply_adapter"),
        (["--adapter_path", "somewhere"], "without --apply_adapter"),
        (["--apply_adapter", "--adapter_type", "compacter"], "pfeiffer"),
        (["--apply_adapter", "--adapter_size", "0"], "adapter_size is 0"),
        (["--apply_adapter", "--adapter_path", "nowhere"], "no bottleneck adapters"),
        (["--consistency", "rdrop"], "needs --reg_loss_wgt"),
        (["--consistency", "mixup", "--reg_loss_wgt", "1"], "rdrop"),
        (["--consistency", "rdrop", "--reg_loss_wgt", "1", "--masking_prob", "0.1"], "R-Drop masks no token"),
        (["--masking_prob", "0.1"], "reg_loss_wgt is 0"),
        (["--reg_loss_wgt", "-1"], "reg_loss_wgt is -1.0"),
        (["--reg_loss_wgt", "1", "--masking_prob", "2"], "masking_prob is 2.0"),
        (["--reg_loss_wgt", "1", "--label_smoothing_factor", "0.1"], "exclude each other"),
    ],
    ids=str,
)
def test_flags_that_mean_nothing_together(
    words: list[str], message: str, tiny_checkpoint: Path, go: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert go(tiny_checkpoint, tmp_path / "out", *words) == 2
    assert message in capsys.readouterr().err


def test_type_and_size_that_contradict_the_folder(
    tiny_checkpoint: Path, go: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert go(tiny_checkpoint, tmp_path / "first", *HOULSBY) == 0
    for words in (PFEIFFER, ["--apply_adapter", "--adapter_size", "16"]):
        assert go(tiny_checkpoint, tmp_path / "out", *words, "--adapter_path", tmp_path / "first") == 2
        assert "type houlsby and size 8" in capsys.readouterr().err
