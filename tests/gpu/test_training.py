"""Training on a GPU learns as on the CPU, in every precision, and a killed run goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from lora_case import lora_trainer
from tiny_checkpoint import write_tiny_checkpoint
from tiny_glue import write_tiny_glue
from training_case import BrokenRow, build, outcome, pad, run_in_process, with_a_broken_row

import run_glue
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    pipeline,
)
from transformers.trainer_utils import get_last_checkpoint

SCRIPT = Path(run_glue.__file__)


def _losses(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("precision", [{}, {"bf16": True}, {"fp16": True}], ids=["fp32", "bf16", "fp16"])
def test_learns_as_on_the_cpu(precision: dict[str, bool], tmp_path: Path) -> None:
    on_cpu = build(str(tmp_path / "cpu"), dropout=0.0, max_grad_norm=1.0)
    on_gpu = build(str(tmp_path / "gpu"), dropout=0.0, max_grad_norm=1.0, no_cuda=False, **precision)
    on_cpu.train()
    on_gpu.train()
    assert on_gpu.args.device.type == "cuda"
    assert next(on_gpu.model.parameters()).is_cuda
    assert _losses(on_gpu) == pytest.approx(_losses(on_cpu), abs=0.03 if precision else 1e-4)
    metrics = on_gpu.evaluate()
    assert metrics["eval_loss"] == pytest.approx(on_cpu.evaluate()["eval_loss"], abs=0.03 if precision else 1e-4)


@pytest.mark.parametrize(
    "settings",
    [{}, {"bf16": True}, {"fp16": True}, {"random_collator": True, "dataloader_num_workers": 2}],
    ids=["fp32", "bf16", "fp16", "workers"],
)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(settings: dict[str, Any], tmp_path: Path) -> None:
    straight = build(str(tmp_path / "straight"), no_cuda=False, **settings)
    straight.train()
    killed = run_in_process(
        tmp_path / "never", output_dir=str(tmp_path / "killed"), kill_at=14, no_cuda=False, **settings
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert get_last_checkpoint(str(tmp_path / "killed")) is not None
    torch.manual_seed(999)
    torch.cuda.manual_seed(998)
    resumed = build(str(tmp_path / "killed"), no_cuda=False, **settings)
    resumed.train(resume_from_checkpoint=True)
    first, second = outcome(straight), outcome(resumed)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert straight.state.loss_sum == resumed.state.loss_sum


def test_memory_of_the_gpu_is_told(tmp_path: Path) -> None:
    trainer = build(str(tmp_path / "out"), no_cuda=False, evaluation_strategy="no", skip_memory_metrics=False)
    metrics = trainer.train().metrics
    assert metrics["train_mem_gpu_peaked_delta"] >= 0
    assert metrics["init_mem_gpu_alloc_delta"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("precision", [[], ["--bf16"], ["--fp16"]], ids=["fp32", "bf16", "fp16"])
def test_the_command(precision: list[str], tmp_path: Path) -> None:
    """``run_glue.py`` trains on the GPU, and its folder is then read on the GPU and the CPU alike."""
    (tmp_path / "glue").mkdir()
    glue = write_tiny_glue(tmp_path / "glue")
    checkpoint = write_tiny_checkpoint(tmp_path / "model")
    lora = ["--apply_lora", "--lora_r", "2", "--lora_alpha", "4", "--max_steps", "4"]
    words = ["--model_name_or_path", str(checkpoint), "--task_name", "mrpc", "--glue_dataset", str(glue)]
    words += ["--do_train", "--do_eval", "--output_dir", str(tmp_path / "out"), *lora, *precision]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2] / "src"), "HF_HUB_OFFLINE": "1"}
    environment["HF_DATASETS_CACHE"] = str(tmp_path / "cache")
    command = [sys.executable, str(SCRIPT), *words]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    record = json.loads((tmp_path / "out" / "run_record.json").read_text())
    assert "NVIDIA" in json.dumps(record["environment"])
    texts = ["a man is here", "it was good and the best of all", "no"]
    found = []
    for device in ("cpu", "cuda:0"):
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
        classify = pipeline("text-classification", model=model, tokenizer=tokenizer, device=device, top_k=None)
        assert classify.device.type == torch.device(device).type
        found.append([{row["label"]: row["score"] for row in rows} for rows in classify(texts)])
    for on_cpu, on_gpu in zip(*found, strict=True):
        assert on_gpu == pytest.approx(on_cpu, abs=1e-4)


class WithoutWaits(TrainerCallback):
    """Lets PyTorch refuse every wait for the device within a step."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        torch.cuda.set_sync_debug_mode("error" if state.global_step else "default")  # the first one makes its memory

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("precision", [{}, {"bf16": True}], ids=["fp32", "bf16"])
@pytest.mark.parametrize("family", ["roberta", "deberta"])
def test_no_step_waits_for_the_device(family: str, precision: dict[str, bool], tmp_path: Path) -> None:
    settings = {"output_dir": str(tmp_path), "report_to": "none", "disable_tqdm": True, "save_strategy": "no"}
    args = TrainingArguments(**settings, **precision, max_steps=6, per_device_train_batch_size=4, logging_steps=4)
    trainer = lora_trainer(family, args)
    trainer.add_callback(WithoutWaits())
    try:
        trainer.train()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trainer.optimizer.defaults["fused"]
    assert trainer.state.loss_sum > 0


@pytest.mark.parametrize("choice", ["stop", "skip", "warn"])
def test_a_step_that_is_not_finite_is_found_as_on_the_cpu(choice: str, tmp_path: Path) -> None:
    def run(no_cuda: bool) -> tuple[Trainer, list[int]]:
        folder = tmp_path / str(no_cuda)
        settings = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no", "optim": "adamw_torch_fused"}
        args = TrainingArguments(str(folder), **settings, no_cuda=no_cuda, on_nonfinite=choice, max_steps=24)
        torch.manual_seed(0)
        trainer = Trainer(BrokenRow(dropout=0.0), args, pad, with_a_broken_row(17))
        with pytest.raises(FloatingPointError) if choice == "stop" else nullcontext():
            trainer.train()
        lines = (folder / "nonfinite_steps.jsonl").read_text().splitlines()
        return trainer, [json.loads(line)["step"] for line in lines]

    (on_cpu, wanted), (on_gpu, found) = run(True), run(False)
    assert found == wanted
    assert on_gpu.state.global_step == on_cpu.state.global_step
    for name, value in on_cpu.model.state_dict().items():
        torch.testing.assert_close(on_gpu.model.state_dict()[name].cpu(), value, atol=1e-5, rtol=1e-4, equal_nan=True)
