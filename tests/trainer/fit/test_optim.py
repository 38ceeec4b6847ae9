"""Optimisers over what is trained, and the moving average of the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.training import tiny_config
from torch import nn

from trainer.fit.optim import Average, make_optimizer, set_rates
from trainer.fit.schedules import Rates


def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.Flatten(), nn.Linear(9, 2))


def test_adamw_leaves_biases_and_normalisations_undecayed(tmp_path: Path) -> None:
    made = net()
    decayed, free = make_optimizer(made, tiny_config(tmp_path).train).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.05, 0.0)
    assert {id(p) for p in decayed["params"]} == {id(made[0].weight), id(made[3].weight)}
    assert len(free["params"]) == 4


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_adam_and_sgd_penalise_every_weight(tmp_path: Path, name: str) -> None:
    made = net()
    made[0].requires_grad_(False)
    train = tiny_config(tmp_path, f"train.optimizer={name}", "train.weight_decay=0.1", "train.momentum=0.8").train
    optimizer = make_optimizer(made, train)
    (group,) = optimizer.param_groups
    assert len(group["params"]) == 4
    assert group["weight_decay"] == 0.1
    if name == "sgd":
        assert (group["momentum"], group["nesterov"]) == (0.8, False)
    assert set_rates(optimizer, Rates(0.5, 0.9), 0.02) == 0.01
    assert group["lr"] == 0.01
    assert (group["betas"][0] if name == "adam" else group["momentum"]) == 0.9
    set_rates(optimizer, Rates(1.0), 0.02)
    assert (group["betas"][0] if name == "adam" else group["momentum"]) == 0.9


def test_the_average_is_that_of_the_formula() -> None:
    made = net()
    average = Average(made)
    expected = made[0].weight.detach().clone()
    for step in range(30):
        with torch.no_grad():
            made[0].weight.add_(torch.randn_like(made[0].weight))
        made[1].running_mean.fill_(step)
        made[1].num_batches_tracked.fill_(step)
        decay = min(0.6, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * made[0].weight.detach()
        average.follow(step, 0.6)
    torch.testing.assert_close(average.network[0].weight, expected)
    assert 20 < float(average.network[1].running_mean[0]) < 29
    assert int(average.network[1].num_batches_tracked) == 29
    assert not average.network.training
    assert not any(parameter.requires_grad for parameter in average.network.parameters())


def test_without_decay_the_average_is_the_network() -> None:
    made = net()
    average = Average(made)
    with torch.no_grad():
        made[0].weight.mul_(3.0)
    average.follow(100, 0.0)
    assert torch.equal(average.network[0].weight, made[0].weight)
