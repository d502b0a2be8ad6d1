"""Training over a base of 4 and 8 bits, and with optimizers of 8: resumed exactly, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from test_lora_runs import TINY, base
from training_case import examples, pad

from transformers import (
    AutoModelForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    Trainer,
    TrainingArguments,
)
from transformers.optimization import create_optimizer
from transformers.training.eight_bit import EIGHT_BIT

pytest.importorskip("bitsandbytes")

NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
INT8 = {"load_in_8bit": True}
LORA = {"apply_lora": True, "lora_r": 256, "lora_alpha": 256}  # lora_A and lora_B of 4,096 values each
ARGUMENTS: dict[str, Any] = {
    "report_to": "none",
    "disable_tqdm": True,
    "no_cuda": True,
    "max_steps": 6,
    "save_steps": 3,
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 5,
    "logging_steps": 1,
}


def build(folder: Path, output: str, bits: dict[str, Any], fields: dict[str, Any] = LORA, **changes: Any) -> Trainer:
    torch.manual_seed(4)
    kept = {"quantization_config": bits} if bits else {}
    model = AutoModelForSequenceClassification.from_pretrained(base(folder), num_labels=3, **fields, **kept)
    return Trainer(model, TrainingArguments(str(folder / output), **{**ARGUMENTS, **changes}), pad, examples(30))


@pytest.mark.parametrize(
    ("bits", "changes"),
    [
        (NF4, {"optim": "adamw_8bit"}),
        (NF4, {"optim": "paged_adamw_8bit", "bf16": True, "gradient_checkpointing": True}),
        (INT8, {"optim": "adamw_torch"}),
        ({}, {"optim": "adamw_bnb_8bit"}),
    ],
    ids=["nf4", "nf4-bf16-recompute", "int8", "full-precision"],
)
@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
def test_a_run_over_few_bits_resumes_exactly(bits: dict[str, Any], changes: dict[str, Any], tmp_path: Path) -> None:
    straight = build(tmp_path, "straight", bits, **changes)
    bases = {name: tensor.clone() for name, tensor in straight.model.state_dict().items() if ".lora_" not in name}
    straight.train()
    checkpoint = tmp_path / "straight" / "checkpoint-3"
    assert not list(checkpoint.glob("model*")), "the base's bits are no part of a checkpoint"
    resumed = build(tmp_path, "resumed", bits, **changes)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
        if name in bases and not name.startswith("classifier"):
            assert torch.equal(value, bases[name]), f"{name} is frozen"
    losses = [[e["loss"] for e in t.state.log_history if "loss" in e] for t in (straight, resumed)]
    assert losses[0] == losses[1]
    if "8bit" in changes["optim"]:
        states = straight.optimizer.state.values()
        assert {state["state1"].dtype for state in states} == {torch.uint8, torch.float32}
        qmaps = {id(state["qmap1"]) for state in states if "qmap1" in state}
        assert len(qmaps) == 1, "one table for all, which a checkpoint writes for each"


def test_other_bits_are_another_run(tmp_path: Path) -> None:
    build(tmp_path, "run", NF4, max_steps=3).train()
    checkpoint = str(tmp_path / "run" / "checkpoint-3")
    for bits in ({}, INT8, {**NF4, "bnb_4bit_quant_type": "fp4"}):
        with pytest.raises(ValueError, match="how the base is kept was"):
            build(tmp_path, "run", bits).train(resume_from_checkpoint=checkpoint)


def test_a_base_of_few_bits_is_not_trained_itself_nor_shared_out(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"kept in 8 bits, so its weights cannot be trained"):
        build(tmp_path, "full", INT8, {}).train()
    assert build(tmp_path, "full", INT8, {}).predict(examples(3)).predictions.shape == (3, 3)
    for bits in EIGHT_BIT:
        with pytest.raises(ValueError, match="fsdp and optim"):
            TrainingArguments(str(tmp_path / "fsdp"), optim=bits, fsdp="full_shard", no_cuda=True)


def test_tables_of_embeddings_keep_32_bits(tmp_path: Path) -> None:
    model = RobertaForSequenceClassification(RobertaConfig(**{**TINY, "vocab_size": 100, "hidden_size": 64}))
    args = TrainingArguments(str(tmp_path), optim="adamw_8bit", no_cuda=True)
    optimizer = create_optimizer(args, model)
    words, large = model.get_input_embeddings().weight, model.classifier.dense.weight
    before = large.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert words.numel() > 4096
    assert optimizer.state[words]["state1"].dtype == torch.float32
    assert optimizer.state[large]["state1"].dtype == torch.uint8
    assert torch.allclose(before - large, torch.tensor(args.learning_rate), atol=1e-6)  # the first step of Adam


def test_without_bitsandbytes_one_line_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = base(tmp_path)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # what Python itself takes for a module that is not there
    for load in (
        lambda: TrainingArguments(str(tmp_path), optim="adamw_8bit", no_cuda=True),
        lambda: AutoModelForSequenceClassification.from_pretrained(folder, load_in_4bit=True),
    ):
        with pytest.raises(ValueError, match="need bitsandbytes, which is not installed: pip install bitsandbytes"):
            load()
