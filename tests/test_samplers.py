"""The order of the data: a function of (seed, epoch, index), however the work is split."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformers.data.samplers import (
    EvalBatchSampler,
    ExampleSampler,
    GlobalBatchSampler,
    epoch_order,
    length_grouped_order,
    split_batch,
)
from transformers.trainer_pt_utils import get_length_grouped_indices

sizes = st.integers(1, 80)
few = st.integers(1, 5)


@given(sizes, st.integers(0, 2**40), st.integers(0, 5))
def test_an_epoch_s_order_is_a_permutation_that_depends_on_seed_and_epoch(size: int, seed: int, epoch: int) -> None:
    order = epoch_order(size, seed, epoch)
    assert sorted(order) == list(range(size))
    assert order == epoch_order(size, seed, epoch)
    if size > 20:
        assert order != epoch_order(size, seed, epoch + 1)
        assert order != epoch_order(size, seed + 1, epoch)


@given(sizes, few, few, few, st.booleans(), st.booleans())
@settings(max_examples=150)
def test_every_process_count_sees_the_same_steps(
    size: int, batch_size: int, accumulation: int, processes: int, drop_last: bool, grouped: bool
) -> None:
    lengths = [(index * 7) % 13 for index in range(size)] if grouped else None
    together = batch_size * accumulation * processes
    if drop_last and size < together:
        with pytest.raises(ValueError, match=f"{size} training examples make no step"):
            GlobalBatchSampler(size, batch_size=together, drop_last=True)
        return
    alone = GlobalBatchSampler(size, batch_size=together, seed=3, drop_last=drop_last, lengths=lengths)
    steps = alone.global_batches(epoch=2)
    everything = [index for batch in steps for index in batch]
    assert len(set(everything)) == len(everything)
    assert len(everything) == (size // together * together if drop_last else size)
    seen = [Counter[int]() for _ in steps]
    passes: list[list[int]] = []
    for process in range(processes):
        sampler = GlobalBatchSampler(
            size,
            batch_size=batch_size,
            accumulation=accumulation,
            processes=processes,
            process=process,
            seed=3,
            drop_last=drop_last,
            lengths=lengths,
        )
        sampler.set_epoch(2)
        length = len(sampler)
        batches = list(sampler)
        assert len(batches) == length
        position = 0
        for number in range(len(steps)):
            for counts in sampler.passes_of_step(number):
                assert 1 <= len(batches[position]) <= batch_size
                if counts:
                    seen[number].update(batches[position])
                position += 1
        assert position == len(batches)
        passes.append([len(sampler.passes_of_step(number)) for number in range(len(steps))])
    assert [Counter(batch) for batch in steps] == seen  # every example of a step once, over all processes
    assert all(counts == passes[0] for counts in passes)  # and all processes take part equally often


@given(sizes, few, few, st.integers(0, 30))
def test_an_epoch_goes_on_from_any_step(size: int, batch_size: int, accumulation: int, first: int) -> None:
    sampler = GlobalBatchSampler(size, batch_size=batch_size, accumulation=accumulation, seed=1)
    first = min(first, sampler.steps_per_epoch)
    sampler.set_epoch(4)
    whole = list(sampler)
    done = sum(len(sampler.passes_of_step(step)) for step in range(first))
    sampler.set_epoch(4, first)
    assert len(sampler) == len(whole) - done
    assert list(sampler) == whole[done:]
    sampler.set_epoch(5)
    following = list(sampler)
    sampler.set_epoch(4)
    assert [list(sampler), list(sampler)] == [whole, following]  # who does not choose an epoch sees the next one


@given(sizes, few, few, few, st.booleans())
def test_single_examples_make_the_same_batches(
    size: int, batch_size: int, accumulation: int, processes: int, drop_last: bool
) -> None:
    """A loader that takes them one by one, in several processes, goes through the same batches as ours."""
    if drop_last and size < batch_size * accumulation * processes:
        return
    rounds = set()
    for process in range(processes):
        batches = GlobalBatchSampler(
            size,
            batch_size=batch_size,
            accumulation=accumulation,
            processes=processes,
            process=process,
            drop_last=drop_last,
        )
        single = ExampleSampler(batches)
        single.set_epoch(3)
        one_by_one = list(single)
        assert len(one_by_one) == len(single)
        batches.set_epoch(3)
        grouped = list(batches)
        cut = [one_by_one[start : start + batch_size] for start in range(0, len(one_by_one), batch_size)]
        assert cut == grouped
        rounds.add(len(cut))
    assert len(rounds) == 1


def test_an_order_of_the_caller_s_has_the_length_that_it_promised() -> None:
    def order(epoch: int) -> list[int]:
        return [5] * epoch + [1] * (4 - epoch)

    sampler = GlobalBatchSampler(4, batch_size=3, order=order)
    assert [list(sampler), list(sampler)] == [[[1, 1, 1], [1]], [[5, 1, 1], [1]]]
    sampler.set_epoch(5)
    with pytest.raises(ValueError, match="holds 5 examples; its length said 4"):
        list(sampler)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=300), few, st.integers(0, 9))
def test_grouping_by_length_keeps_every_example_and_puts_the_longest_first(
    lengths: list[int], batch_size: int, epoch: int
) -> None:
    order = length_grouped_order(lengths, batch_size, seed=0, epoch=epoch)
    assert sorted(order) == list(range(len(lengths)))
    assert order == length_grouped_order(lengths, batch_size, seed=0, epoch=epoch)
    if len(lengths) % batch_size == 0 and len(lengths) <= 50 * batch_size:
        assert lengths[order[0]] == max(lengths)


def test_grouping_by_length_makes_batches_of_like_length_in_a_random_order() -> None:
    lengths = [(index * 37) % 100 for index in range(1000)]

    def padding(order: list[int]) -> int:
        batches = [order[start : start + 10] for start in range(0, 1000, 10)]
        return sum(10 * max(lengths[i] for i in batch) - sum(lengths[i] for i in batch) for batch in batches)

    grouped = length_grouped_order(lengths, 10, seed=0, epoch=0)
    assert padding(grouped) < padding(epoch_order(1000, 0, 0)) / 5
    firsts = [lengths[index] for index in grouped[::10]]
    assert firsts != sorted(firsts, reverse=True)
    assert grouped != length_grouped_order(lengths, 10, seed=0, epoch=1)


@given(st.integers(1, 40), few, few)
def test_a_batch_is_spread_evenly(size: int, batch_size: int, processes: int) -> None:
    shares = [split_batch(range(size), batch_size, processes, process) for process in range(processes)]
    assert len({len(share) for share in shares}) == 1
    for parts in zip(*shares, strict=True):
        counted = [len(part.indices) for part in parts if part.counts]
        assert max(counted) - min(counted) <= 1
        assert max(counted) <= batch_size


@given(st.integers(0, 80), few, few)
def test_an_evaluation_deals_out_every_example_once(size: int, batch_size: int, processes: int) -> None:
    samplers = [
        EvalBatchSampler(size, batch_size=batch_size, processes=processes, process=process)
        for process in range(processes)
    ]
    owned = [index for sampler in samplers for batch in sampler.owned for index in batch]
    assert sorted(owned) == list(range(size))
    assert len({len(list(sampler)) for sampler in samplers}) == 1
    for sampler in samplers:
        assert list(sampler)[: len(sampler.owned)] == sampler.owned
        assert len(sampler) == len(list(sampler))


def test_the_function_that_scripts_import() -> None:
    lengths = [3, 9, 1, 7, 5, 2]
    order = get_length_grouped_indices(lengths, 2)
    assert sorted(order) == list(range(6))
    assert order[0] == 1
