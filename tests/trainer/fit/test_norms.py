"""Running statistics in a short training: a plain mean at first, the momentum's after; frozen ones stay."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from trainer.fit.norms import NormWarmup


def batches(n: int, seed: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [1e-2 * torch.randn(16, 3, generator=generator) + 5 for _ in range(n)]


def run(norm: nn.BatchNorm1d, warmup: NormWarmup, given: list[torch.Tensor]) -> None:
    warmup.begin()
    for batch in given:
        warmup.step()
        norm(batch)
    warmup.end()


def test_the_first_batches_count_alike_and_the_initial_values_nothing():
    norm = nn.BatchNorm1d(3, momentum=0.01)
    given = batches(40)
    run(norm, NormWarmup(norm), given)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    expected = torch.stack([batch.mean(dim=0) for batch in given]).mean(dim=0)
    np.testing.assert_allclose(norm.running_mean, expected, rtol=1e-6)
    np.testing.assert_allclose(
        norm.running_var, torch.stack([batch.var(dim=0) for batch in given]).mean(dim=0), rtol=1e-5
    )
    assert norm.momentum == 0.01


def test_afterwards_the_momentum_decides():
    norm = nn.BatchNorm1d(3, momentum=0.25)
    given = batches(30)
    run(norm, NormWarmup(norm), given)
    assert norm.running_mean is not None
    expected = torch.stack([batch.mean(dim=0) for batch in given[:4]]).mean(dim=0)
    for batch in given[4:]:
        expected = 0.75 * expected + 0.25 * batch.mean(dim=0)
    np.testing.assert_allclose(norm.running_mean, expected, rtol=1e-6)


def test_epochs_and_stops_change_nothing():
    whole, parts = nn.BatchNorm1d(3, momentum=0.01), nn.BatchNorm1d(3, momentum=0.01)
    given = batches(20)
    run(whole, NormWarmup(whole), given)
    run(parts, NormWarmup(parts), given[:7])
    resumed = nn.BatchNorm1d(3, momentum=0.01)
    resumed.load_state_dict(parts.state_dict())
    run(resumed, NormWarmup(resumed), given[7:])
    assert torch.equal(whole.running_mean, resumed.running_mean)  # type: ignore[arg-type]


def test_a_frozen_normalisation_keeps_its_statistics():
    norm = nn.BatchNorm1d(3, momentum=0.01).eval()
    run(norm, NormWarmup(norm), batches(5))
    assert norm.momentum == 0.01
    assert torch.equal(norm.running_mean, torch.zeros(3))  # type: ignore[arg-type]
