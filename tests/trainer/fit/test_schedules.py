"""Learning rates step by step, and what the history of a validation loss decides."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainer.fit.schedules import Rates, best_epoch, has_stopped, plateau_rate, rates

LOSSES = st.lists(st.floats(0.0, 9.0) | st.just(math.nan), max_size=30)


@pytest.mark.parametrize("n_steps", [7, 100, 1350])
@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_one_cycle_is_pytorchs(n_steps: int, kind: str) -> None:
    weight = [nn.Parameter(torch.zeros(1))]
    optimizer = torch.optim.SGD(weight, 1.0, momentum=0.9) if kind == "sgd" else torch.optim.Adam(weight, 1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=n_steps)
    for step in range(n_steps):
        group = optimizer.param_groups[0]
        ours = rates("onecycle", step, n_steps)
        assert ours.learning_rate == pytest.approx(group["lr"], rel=1e-9)
        assert ours.momentum == pytest.approx(group["momentum"] if kind == "sgd" else group["betas"][0], rel=1e-9)
        optimizer.step()
        if step + 1 < n_steps:
            reference.step()


def test_cosine_warms_up_over_a_tenth_and_falls_to_zero() -> None:
    assert [rates("cosine", step, 100).learning_rate for step in (0, 5, 10)] == [0.0, 0.5, 1.0]
    assert rates("cosine", 55, 100).learning_rate == pytest.approx(0.5)
    assert rates("cosine", 100, 100) == Rates(0.0)


def test_linear_holds_until_a_third_and_ends_at_half_a_percent() -> None:
    expected = {0: 0.0, 7: 7 / 15, 15: 1.0, 50: 1.0, 92.5: 0.5025, 134: 0.0167, 135: 0.005, 150: 0.005}
    for epoch, rate in expected.items():
        assert rates("linear", round(10 * epoch), 1500).learning_rate == pytest.approx(rate, abs=2e-3)


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_the_others_are_constant_within_an_epoch(schedule: str) -> None:
    assert {rates(schedule, step, 10) for step in range(12)} == {Rates(1.0)}


@given(st.sampled_from(["cosine", "onecycle", "linear"]), st.integers(1, 500), st.data())
def test_a_rate_is_never_above_its_peak_nor_below_zero(schedule: str, n_steps: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, n_steps))
    found = rates(schedule, step, n_steps)
    assert 0.0 <= found.learning_rate <= 1.0 + 1e-12
    assert found.momentum is None or 0.85 <= found.momentum <= 0.95


def test_a_plateau_counts_anew_after_each_fall() -> None:
    losses = [1.0, 0.9, 0.95, 0.9, 0.95, 0.95, 0.8, 0.9, 0.9]
    assert [plateau_rate(losses[:n], 2, 0.5) for n in range(10)] == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


@given(LOSSES, st.integers(1, 6))
def test_training_stops_where_the_best_loss_lies_so_far_back(losses: list[float], patience: int) -> None:
    best = best_epoch(losses)
    numbers = [loss for loss in losses if not math.isnan(loss)]
    assert (losses[best] == min(numbers)) if numbers else best == -1
    assert best == -1 or all(not loss <= losses[best] for loss in losses[:best])
    assert has_stopped(losses, patience) == (len(losses) - 1 - best >= patience)
    assert not has_stopped(losses, None)


@given(LOSSES, st.integers(1, 6))
def test_the_rate_falls_at_most_once_a_patience(losses: list[float], patience: int) -> None:
    falls = round(-math.log2(plateau_rate(losses, patience, 0.5)))
    assert 0 <= falls <= len(losses) // patience
