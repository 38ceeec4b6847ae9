"""Averaging over windows of time as a matrix, against PyTorch's adaptive pool."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainer.models.pooling import TimePool, averaging_matrix


def test_eleven_steps_to_four():
    matrix = averaging_matrix(11, 4)
    spans = [(column.nonzero()[0].item(), column.nonzero()[-1].item() + 1) for column in matrix.T]
    assert spans == [(0, 3), (2, 6), (5, 9), (8, 11)]
    torch.testing.assert_close(matrix.sum(dim=0), torch.ones(4))


def test_waves_and_spectrograms_pool_as_pytorch_does():
    torch.manual_seed(0)
    pool = TimePool(11, 4).double()
    maps = torch.randn(3, 256, 11, dtype=torch.float64)
    torch.testing.assert_close(pool(maps), nn.AdaptiveAvgPool1d(4)(maps), rtol=0, atol=1e-7)
    maps = torch.randn(3, 256, 8, 11, dtype=torch.float64)
    expected = nn.AdaptiveAvgPool2d((1, 4))(maps).squeeze(2)
    torch.testing.assert_close(pool(maps.mean(dim=2)), expected, rtol=0, atol=1e-7)


@given(n_in=st.integers(1, 60), n_out=st.integers(1, 60))
def test_any_length_pools_as_pytorch_does(n_in, n_out):
    steps = torch.arange(n_in, dtype=torch.float64).sin()[None, None]
    pooled = steps @ averaging_matrix(n_in, n_out).double()
    torch.testing.assert_close(pooled, nn.AdaptiveAvgPool1d(n_out)(steps), rtol=0, atol=1e-7)


def test_the_matrix_is_no_weight():
    pool = TimePool(11, 4)
    assert not list(pool.parameters())
    assert not pool.state_dict()


@pytest.mark.parametrize(("n_in", "n_out"), [(12, 4), (8, 8)])
def test_lengths_that_divide_have_windows_apart(n_in, n_out):
    assert torch.count_nonzero(averaging_matrix(n_in, n_out)) == n_in
