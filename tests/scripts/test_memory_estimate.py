"""The memory arithmetic: its counts are those of real tensors, and its verdict on XXL is what the project promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch

from transformers import (
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
)
from transformers.layers.quantized import quantized_layers

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "memory_estimate.py"
SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "apply_lora": True,
    "lora_r": 4,
    "lora_alpha": 8,
    "hidden_dropout_prob": 0.0,  # on a CPU the project's own dropout keeps less than PyTorch's
    "attention_probs_dropout_prob": 0.0,
}
POSITIONS: dict[str, Any] = {"relative_attention": True, "position_buckets": 8, "pos_att_type": "p2c|c2p"}


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=variables, timeout=300)


def _model(kind: str) -> PreTrainedModel:
    if kind == "roberta":
        return RobertaForSequenceClassification(RobertaConfig(**SIZES))
    return DebertaV2ForSequenceClassification(DebertaV2Config(**SIZES, **POSITIONS, conv_kernel_size=3))


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", ["roberta", "deberta"])
def test_counts_on_the_meta_device_are_those_of_real_tensors(kind: str, checkpointing: bool) -> None:
    kept_bytes = run_path(str(SCRIPT))["kept_bytes"]
    counts = []
    for device in ("cpu", "meta"):
        with torch.device(device):
            model = _model(kind).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        counts.append(kept_bytes(model, 3, 9))
    # RoBERTa's fused attention keeps other things on a CPU.
    assert counts[1] == (pytest.approx(counts[0], rel=0.1) if kind == "roberta" else counts[0])
    assert counts[0] > 0


@pytest.mark.parametrize("bits", [4, 8])
def test_a_base_of_few_bits_takes_what_is_reckoned(bits: int, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    script = run_path(str(SCRIPT))
    quantization = script["_quantization"](bits)
    RobertaModel(RobertaConfig(**{**SIZES, "apply_lora": False}), add_pooling_layer=False).save_pretrained(tmp_path)
    model = RobertaForSequenceClassification.from_pretrained(
        tmp_path, apply_lora=True, lora_r=4, lora_alpha=8, quantization_config=quantization
    )
    assert isinstance(model, RobertaForSequenceClassification)
    scales = [buffer for _, layer in quantized_layers(model) for buffer in layer.buffers()]
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    found = script["estimate"](RobertaConfig(**SIZES), 2, 8, torch.float32, False, quantization)
    assert found.frozen == sum(tensor.nbytes for tensor in [*frozen, *scales])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_xxl_fits_24_gb(dtype: str) -> None:
    arguments = ("--batch", "4", "--length", "128", "--lora_r", "16", "--dtype", dtype, "--gradient_checkpointing")
    done = _run("deberta-v2-xxlarge", *arguments, "--budget", "24")
    assert done.returncode == 0, done.stderr
    row = done.stdout.splitlines()[-1].split()
    assert row[0] == "deberta-v2-xxlarge"
    assert 3.1 < float(row[1]) < 3.2  # 1.56 billion values of two bytes
    assert float(row[7]) < 24


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    DebertaV2Config(**{**SIZES, **POSITIONS}).save_pretrained(tmp_path)
    done = _run(str(tmp_path), "--length", "20", "--budget", "0.1")
    assert done.returncode == 1
    assert "DOES NOT FIT" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no-such-model"], "'no-such-model' is neither one of deberta-v2-xxlarge, "),
        (["."], "'.' is neither one of"),
        (["roberta-base", "--batch", "0"], "'0' is no whole number of at least 1"),
        (["roberta-base", "--lora_r", "-4"], "'-4' is no whole number of at least 1"),
    ],
)
def test_what_cannot_be_reckoned_is_one_line(words: list[str], said: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert ran.returncode == 2
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == "", "nothing is printed before it"


def test_a_folder_with_a_configuration_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    ran = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert f"the configuration of '{tmp_path}' cannot be used" in ran.stderr
    assert "Traceback" not in ran.stderr
