"""Batches of so many tokens: everything once, within the budget, the same for any number of processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transformers import Trainer, TrainingArguments
from transformers.data.token_batches import TokenBatchSampler

sys.path.insert(0, str(Path(__file__).parent / "training"))
from training_case import TinyClassifier, examples, pad

lengths_of_examples = st.lists(st.integers(1, 40), min_size=1, max_size=60)


@settings(deadline=None, max_examples=60)
@given(lengths_of_examples, st.integers(1, 120), st.integers(1, 3), st.integers(1, 3), st.integers(0, 3))
def test_everything_once_within_the_budget(
    lengths: list[int], tokens: int, accumulation: int, processes: int, epoch: int
) -> None:
    def sampler(process: int, first_step: int = 0) -> TokenBatchSampler:
        made = TokenBatchSampler(
            lengths, tokens=tokens, accumulation=accumulation, processes=processes, process=process, seed=7
        )
        made.set_epoch(epoch, first_step)
        return made

    samplers = [sampler(process) for process in range(processes)]
    dealt = [list(each) for each in samplers]
    steps = samplers[0].steps(epoch)
    assert sorted(index for step in steps for part in step for index in part) == list(range(len(lengths)))
    for part in (part for step in steps for part in step):
        assert len(part) * max(lengths[index] for index in part) <= tokens or len(part) == 1
    counted = []
    for step, passes in enumerate(steps):
        flags = [each.passes_of_step(step) for each in samplers]
        assert len({len(each) for each in flags}) == 1, "all processes make as many passes"
        places = [(turn, process) for turn in range(len(flags[0])) for process in range(processes)]
        taken = [dealt[process].pop(0) for _, process in places]
        mine = [part for part, (turn, process) in zip(taken, places, strict=True) if flags[process][turn]]
        assert mine == passes
        counted.append(mine)
    assert not any(dealt)
    assert counted == steps
    whole = TokenBatchSampler(lengths, tokens=tokens, accumulation=accumulation * processes, seed=7)
    assert whole.steps(epoch) == steps, "the number of processes changes no step"
    assert whole.steps_per_epoch == len(steps)
    assert len(TokenBatchSampler(lengths, tokens=tokens, seed=8).steps(epoch + 1)) == len(whole._ends)
    half = len(steps) // 2
    rest = list(sampler(0, half))
    assert rest == list(sampler(0))[len(list(sampler(0))) - len(rest) :]
    assert len(sampler(0, half)) == len(rest)
    assert samplers[0].global_batches(epoch) == [[index for part in step for index in part] for step in steps]


def test_epochs_differ_and_long_examples_stand_alone() -> None:
    lengths = [5] * 40 + [90]
    sampler = TokenBatchSampler(lengths, tokens=20, seed=3)
    first, second = sampler.steps(0), sampler.steps(1)
    assert first != second
    assert {frozenset(part) for step in first for part in step} != {frozenset(p) for step in second for p in step}
    assert [40] in [part for step in first for part in step]
    assert sampler.batch_size == 4
    assert first == TokenBatchSampler(lengths, tokens=20, seed=3).steps(0)
    assert first != TokenBatchSampler(lengths, tokens=20, seed=4).steps(0)


def test_what_makes_no_step_is_refused() -> None:
    with pytest.raises(ValueError, match="3 training examples make no step: they fill 1 passes of 100 tokens"):
        TokenBatchSampler([5, 5, 5], tokens=100, accumulation=2, drop_last=True)
    with pytest.raises(ValueError, match="0 training examples make no step"):
        TokenBatchSampler([], tokens=100)
    assert TokenBatchSampler([5] * 5, tokens=10, accumulation=2, drop_last=True).steps_per_epoch == 1


def trainer(folder: Path, rows: Any = None, **arguments: Any) -> Trainer:
    torch.manual_seed(5)
    settings = {"report_to": "none", "disable_tqdm": True, "no_cuda": True, "learning_rate": 1e-2, "save_steps": 4}
    args = TrainingArguments(str(folder), **{**settings, **arguments})
    return Trainer(TinyClassifier(0.0 if rows is not None else 0.25), args, pad, rows or examples(61))


def test_a_step_is_the_mean_over_its_examples(tmp_path: Path) -> None:
    rows = examples(61)
    packed = trainer(
        tmp_path / "tokens",
        rows,
        train_tokens_per_batch=40,
        gradient_accumulation_steps=3,
        max_steps=1,
        max_grad_norm=0,
    )
    packed.train()
    step = packed.callback_handler.train_dataloader.batch_sampler.global_batches(0)[0]
    at_once = trainer(tmp_path / "rows", [rows[index] for index in step], per_device_train_batch_size=len(step))
    at_once.args.max_steps, at_once.args.max_grad_norm = 1, 0.0
    at_once.train()
    for name, value in packed.model.state_dict().items():
        torch.testing.assert_close(value, at_once.model.state_dict()[name], rtol=1e-4, atol=1e-6)


def test_a_resumed_run_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    options = {"train_tokens_per_batch": 50, "gradient_accumulation_steps": 2, "num_train_epochs": 2}
    whole = trainer(tmp_path / "run", **options)
    whole.train()
    steps = whole.callback_handler.train_dataloader.batch_sampler.steps_per_epoch
    assert whole.state.max_steps == whole.state.global_step == 2 * steps > 8
    resumed = trainer(tmp_path / "run", **{**options, "train_tokens_per_batch": 99, "per_device_train_batch_size": 2})
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-8"))
    assert resumed.args.train_tokens_per_batch == 50, "kept as the checkpoint's"
    assert resumed.state.global_step == whole.state.global_step
    assert resumed.state.log_history[-1]["train_loss"] == whole.state.log_history[-1]["train_loss"]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])


def test_a_stream_has_no_lengths(tmp_path: Path) -> None:
    class Stream(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(examples(9))

    made = trainer(tmp_path, Stream(), train_tokens_per_batch=50, max_steps=2)
    with pytest.raises(ValueError, match="train_tokens_per_batch needs a training set with a length"):
        made.train()
    with pytest.raises(ValueError, match="train_tokens_per_batch is 0; it must be at least 1"):
        TrainingArguments(str(tmp_path), train_tokens_per_batch=0)
