"""Learned band-pass filters: against the formula tap by tap, as an ordinary convolution, and as filters."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trainer.models.sinc import SincConv, mel_edges
from trainer.models.wave import Wave


def direct_kernel(low, band, n_taps, sample_rate):
    """[n_filters, n_taps] by the published formula, one tap after the other, in double precision."""
    half = n_taps // 2
    kernel = np.zeros((len(low), n_taps))
    for index, (a, b) in enumerate(zip(low, band, strict=True)):
        f1 = 50 + abs(a)
        f2 = min(f1 + 50 + abs(b), sample_rate / 2)
        for tap in range(half):
            n = (tap - half) / sample_rate
            window = 0.54 - 0.46 * math.cos(2 * math.pi * (tap * (half - 0.5) / (half - 1)) / n_taps)
            value = (math.sin(2 * math.pi * f2 * n) - math.sin(2 * math.pi * f1 * n)) / (math.pi * n)
            kernel[index, tap] = kernel[index, n_taps - 1 - tap] = window * value / (2 * (f2 - f1))
        kernel[index, half] = 1.0
    return kernel


def test_kernel_is_the_formula():
    filters = SincConv(32, 251, 48_000)
    expected = direct_kernel(filters.low.tolist(), filters.band.tolist(), 251, 48_000)
    np.testing.assert_allclose(filters.kernel()[:, 0].detach(), expected, rtol=0, atol=6e-8)


def test_kernel_is_the_formula_after_training_moved_the_edges():
    torch.manual_seed(0)
    filters = SincConv(32, 251, 48_000).double()
    with torch.no_grad():
        filters.low.copy_(8000 * torch.randn(32))  # some negative
        filters.band.copy_(20_000 * torch.randn(32))  # some beyond half the rate
    expected = direct_kernel(filters.low.tolist(), filters.band.tolist(), 251, 48_000)
    np.testing.assert_allclose(filters.kernel()[:, 0].detach(), expected, rtol=0, atol=1e-12)


def test_edges_are_even_in_mel_from_30_to_23900_hertz():
    edges = np.array(mel_edges(32, 30.0, 23_900.0))
    mels = 2595 * np.log10(1 + edges / 700)
    assert len(edges) == 33
    assert (edges[0], edges[-1]) == pytest.approx((30, 23_900))
    np.testing.assert_allclose(np.diff(mels), np.diff(mels).mean(), rtol=1e-9)
    filters = SincConv(32, 251, 48_000)
    np.testing.assert_allclose(filters.low.detach(), edges[:-1], rtol=1e-6)
    np.testing.assert_allclose(filters.band.detach(), np.diff(edges), rtol=1e-6)


def test_filters_pass_their_band_and_little_else():
    filters = SincConv(8, 251, 48_000)
    power = np.square(np.abs(np.fft.rfft(filters.kernel()[:, 0].detach().double().numpy(), 48_000)))  # a bin is 1 Hz
    edge = 2 * 48_000 // 251  # 251 taps do not tell apart what lies closer
    for index, row in enumerate(power):
        low = 50 + filters.low[index].item()
        high = min(low + 50 + filters.band[index].item(), 24_000)
        outside = row[: max(0, int(low) - edge)].sum() + row[int(high) + edge :].sum()
        assert outside < 1e-4 * row.sum()


@pytest.mark.parametrize("n_samples", [48_000, 999, 250])
def test_folded_filters_answer_the_same(n_samples):
    torch.manual_seed(0)
    filters = SincConv(32, 251, 48_000)
    folded = filters.fold()
    waveform = torch.randn(2, 1, n_samples)
    assert isinstance(folded, torch.nn.Conv1d)
    assert folded.bias is None
    assert folded.weight.shape == (32, 1, 251)
    torch.testing.assert_close(folded(waveform), filters(waveform), rtol=0, atol=0)


def test_gradients_reach_both_edges():
    filters = SincConv(4, 31, 8000)
    filters(torch.randn(1, 1, 100)).square().sum().backward()
    assert (filters.low.grad != 0).all()
    assert (filters.band.grad[:-1] != 0).all()


def test_an_even_length_has_no_middle():
    with pytest.raises(ValueError, match="n_taps: expected an odd number, so that a filter has a middle, got 250"):
        SincConv(32, 250, 48_000)


def test_deployed_network_is_a_copy_without_learned_filters():
    torch.manual_seed(0)
    network = Wave().eval()
    deployed = network.deployed()
    waveform = torch.randn(2, 1, 48_000)
    assert isinstance(network.branch.filters, SincConv)
    assert not any(isinstance(module, SincConv) for module in deployed.modules())
    with torch.no_grad():
        torch.testing.assert_close(deployed(waveform), network(waveform), rtol=0, atol=0)
