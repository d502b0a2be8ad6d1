"""A resumed run is the same run: a killed process, its last checkpoint, and every number bit by bit."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_case import build, outcome

from transformers import EarlyStoppingCallback, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "grouped-by-length": {"group_by_length": True},
    "one-pass-a-step": {"gradient_accumulation_steps": 1, "save_steps": 7, "kill_at": 17},
    "at-the-end-of-an-epoch": {"save_strategy": "epoch"},
    "last-batch-dropped": {"dataloader_drop_last": True},
    "random-collator": {"random_collator": True},
    "random-collator-in-workers": {"random_collator": True, "dataloader_num_workers": 2},
    "cosine-and-adafactor": {"optim": "adafactor", "lr_scheduler_type": "cosine", "max_grad_norm": 0},
    "bf16": {"bf16": True},
    "a-trainer-of-2021": {"older": True},
}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize("name", CASES)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    name: str, run_forked: Callable[..., Any], tmp_path: Path
) -> None:
    settings = dict(CASES[name])
    kill_at = settings.pop("kill_at", 14)
    straight = build(str(tmp_path / "straight"), **settings)
    straight.train()

    killed = run_forked(tmp_path / "never", output_dir=str(tmp_path / "killed"), kill_at=kill_at, **settings)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    checkpoint = get_last_checkpoint(str(tmp_path / "killed"))
    assert checkpoint is not None
    step = json.loads(Path(checkpoint, "trainer_state.json").read_text())["global_step"]
    assert 0 < step < kill_at - 1  # steps after the checkpoint were lost, and are made again

    torch.manual_seed(999)  # nothing may hang on what the new process drew before
    resumed = build(str(tmp_path / "killed"), **settings)
    resumed.train(resume_from_checkpoint=True)
    assert_same(outcome(straight), outcome(resumed))
    assert straight.state.global_step == resumed.state.global_step == 20
    assert straight.state.loss_sum == resumed.state.loss_sum


def test_evaluating_does_not_change_the_training(tmp_path: Path) -> None:
    with_evaluations = build(str(tmp_path / "with"))
    without = build(str(tmp_path / "without"), evaluation_strategy="no")
    with_evaluations.train()
    without.train()
    for name, value in with_evaluations.model.state_dict().items():
        assert torch.equal(value, without.model.state_dict()[name])


def test_the_seed_decides(tmp_path: Path) -> None:
    runs = [build(str(tmp_path / str(number)), seed=seed) for number, seed in enumerate((1, 1, 2))]
    for run in runs:
        run.train()
    first, again, other = map(outcome, runs)
    assert_same(first, again)
    assert not torch.equal(first["model.hidden.weight"], other["model.hidden.weight"])


def test_a_resumed_run_of_a_finished_training_changes_nothing(tmp_path: Path) -> None:
    finished = build(str(tmp_path))
    finished.train()
    again = build(str(tmp_path))
    output = again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-20"))
    assert output.global_step == 20
    for name, value in finished.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])


class StopAfter(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step >= self.step


def test_the_patience_of_early_stopping_survives(tmp_path: Path) -> None:
    settings = {"load_best_model_at_end": True, "learning_rate": 0.0, "max_steps": 40, "eval_steps": 5}
    straight = build(str(tmp_path / "straight"), **settings)
    straight.add_callback(EarlyStoppingCallback(3))
    straight.train()
    stopped = build(str(tmp_path / "stopped"), **settings)
    stopped.add_callback(EarlyStoppingCallback(3))
    stopped.add_callback(StopAfter(10))
    stopped.train()
    resumed = build(str(tmp_path / "stopped"), **settings)
    resumed.add_callback(EarlyStoppingCallback(3))
    resumed.train(resume_from_checkpoint=True)
    assert stopped.state.global_step == 10
    assert straight.state.global_step == resumed.state.global_step == 20  # 5 is best, then three without improvement


def test_a_torn_checkpoint_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build(str(tmp_path)).train()
    weights = tmp_path / "checkpoint-20" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    resumed = build(str(tmp_path))
    with pytest.raises(ValueError, match="not whole"):
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-20"))
    assert get_last_checkpoint(str(tmp_path)) == str(tmp_path / "checkpoint-10")
    assert resumed.train(resume_from_checkpoint=True).global_step == 20
    assert get_last_checkpoint(str(tmp_path)) == str(tmp_path / "checkpoint-20")


def test_no_checkpoint_to_resume_from_is_an_error(tmp_path: Path) -> None:
    trainer = build(str(tmp_path))
    with pytest.raises(ValueError, match="no whole checkpoint"):
        trainer.train(resume_from_checkpoint=True)
    with pytest.raises(ValueError, match="no such folder"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "nowhere"))


def test_a_model_s_folder_gives_its_weights_to_a_training_from_the_start(tmp_path: Path) -> None:
    source = build(str(tmp_path / "first"))
    source.train()
    source.save_model(str(tmp_path / "model"))
    trainer = build(str(tmp_path / "second"), max_steps=1, learning_rate=0.0)
    assert trainer.train(resume_from_checkpoint=str(tmp_path / "model")).global_step == 1
    for name, value in source.model.state_dict().items():
        assert torch.equal(value, trainer.model.state_dict()[name])


def test_a_model_only_checkpoint_says_that_it_cannot_be_resumed(tmp_path: Path) -> None:
    build(str(tmp_path), save_only_model=True).train()
    with pytest.raises(ValueError, match="save_only_model"):
        build(str(tmp_path)).train(resume_from_checkpoint=True)


def test_a_checkpoint_of_another_model_is_named(tmp_path: Path) -> None:
    build(str(tmp_path)).train()
    trainer = build(str(tmp_path))
    trainer.model.classifier = torch.nn.Linear(16, 5)
    with pytest.raises(ValueError, match=r"classifier\.bias, classifier\.weight in another shape"):
        trainer.train(resume_from_checkpoint=True)
