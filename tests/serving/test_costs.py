"""The planner: what it chooses follows from what passes cost, and changes with it."""

from __future__ import annotations

import random

import pytest

from transformers.serving.costs import Planner, RunningCost


def run(planner: Planner, overhead: float, picking: float, batches: int, seed: int = 0) -> list[list[list[int]]]:
    """Let a planner plan random batches on a machine that costs so much a pass and a mixed adapter."""
    rng, plans = random.Random(seed), []
    for _ in range(batches):
        tokens = [rng.randrange(5, 200) for _ in range(rng.randrange(2, 9))]
        plan = planner.plan(tokens)
        assert sorted(each for group in plan for each in group) == list(range(len(tokens)))
        plans.append(plan)
        for group in plan:
            number = sum(tokens[each] for each in group)
            seconds = overhead + number * 1e-4 + (picking * len(group) if len(group) > 1 else 0)
            planner.measured(len(group), number, seconds * rng.uniform(0.9, 1.1))
    return plans


def share_together(plans: list[list[list[int]]]) -> float:
    return sum(len(plan) == 1 for plan in plans) / len(plans)


def test_it_mixes_where_passes_are_dear_and_not_where_picking_is() -> None:
    planner = Planner()
    assert share_together(run(planner, overhead=0.02, picking=0.001, batches=200)[50:]) > 0.9
    assert share_together(run(planner, overhead=0.001, picking=0.02, batches=400, seed=1)[300:]) < 0.1
    assert share_together(run(planner, overhead=0.02, picking=0.001, batches=400, seed=2)[300:]) > 0.9


def test_one_with_many_tokens_may_be_computed_alone_beside_a_mixed_rest() -> None:
    planner, rng = Planner(), random.Random(3)
    for _ in range(300):  # mixing costs by token here
        tokens, adapters = rng.randrange(10, 1000), rng.randrange(2, 9)
        planner.measured(1, tokens, 0.01 + 1e-4 * tokens)
        planner.measured(adapters, tokens, 0.01 + 2e-4 * tokens)
    assert planner.plan([10, 900, 10, 10]) == [[1], [0, 2, 3]]


def test_nothing_and_one_need_no_choice() -> None:
    assert Planner().plan([]) == []
    assert Planner().plan([5]) == [[0]]


def test_costs_are_found_and_stay_bounded() -> None:
    cost = RunningCost(2)
    for tokens in [10, 500, 30, 1000, 250] * 10:
        cost.measured((1, tokens), 0.004 + tokens * 1e-4)
    assert cost.expected((1, 700)) == pytest.approx(0.074, rel=1e-3)
    for _ in range(20_000):  # always the same: nothing is learned of other sizes, and nothing overflows
        cost.measured((1, 64), 0.02)
    assert cost.expected((1, 64)) == pytest.approx(0.02, rel=1e-3)
    for tokens in [10, 500, 30, 1000, 250] * 10:
        cost.measured((1, tokens), 0.004 + tokens * 1e-4)
    assert cost.expected((1, 700)) == pytest.approx(0.074, rel=0.05)
