"""A learned bank of band-pass filters on the waveform, with two parameters per filter: lower edge and bandwidth."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

LOWEST_HERTZ = 30.0
"""Lowest initial band edge."""
MARGIN_HERTZ = 100.0
"""Distance of the highest initial band edge below half the sample rate."""
MIN_LOW_HERTZ = 50.0
"""Minimum lower edge, whatever is learned."""
MIN_BAND_HERTZ = 50.0
"""Minimum bandwidth, whatever is learned."""


class SincConv(nn.Module):
    """Filters as differences of two low-pass sinc responses with a Hamming window (Ravanelli and Bengio, 2018).

    As in the wave-spec-fusion system, each filter is divided by twice its bandwidth, so that its middle tap is 1, and
    the window 0.54 − 0.46·cos(2πm / n_taps) is sampled at `n_taps // 2` evenly spaced m from 0 to (n_taps − 2) / 2.
    The kernel is computed in double precision. After training it is constant: see `fold`.
    """

    window: Tensor
    steps: Tensor

    def __init__(self, n_filters: int, n_taps: int, sample_rate: int) -> None:
        """Create filters whose band edges are evenly spaced in mel.

        Args:
            n_filters: Output channels.
            n_taps: Filter length, odd.
            sample_rate: Sample rate of the waveform, in Hz.
        """
        super().__init__()
        if n_taps % 2 == 0:
            raise ValueError(f"n_taps: expected an odd number, so that a filter has a middle, got {n_taps}")
        self.n_taps = n_taps
        self.sample_rate = sample_rate
        edges = mel_edges(n_filters, LOWEST_HERTZ, sample_rate / 2 - MARGIN_HERTZ)
        self.low = nn.Parameter(torch.tensor(edges[:-1]))
        self.band = nn.Parameter(torch.tensor([high - low for low, high in itertools.pairwise(edges)]))
        half = n_taps // 2
        places = torch.linspace(0, n_taps / 2 - 1, half, dtype=torch.float64)
        window = 0.54 - 0.46 * torch.cos(2 * math.pi * places / n_taps)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("steps", torch.arange(-half, 0, dtype=torch.float64), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """[n, 1, n_samples] to [n, n_filters, n_samples]."""
        return functional.conv1d(waveform, self.kernel(), padding=self.n_taps // 2)

    def kernel(self) -> Tensor:
        """[n_filters, 1, n_taps]: the filters for the current edges."""
        low = MIN_LOW_HERTZ + self.low.double().abs()
        high = (low + MIN_BAND_HERTZ + self.band.double().abs()).clamp(max=self.sample_rate / 2)
        twice_width = 2 * (high - low)[:, None]
        seconds = self.steps / self.sample_rate
        angles = 2 * math.pi * seconds
        left = (torch.sin(high[:, None] * angles) - torch.sin(low[:, None] * angles)) / (math.pi * seconds)
        left = left * self.window / twice_width
        middle = torch.ones_like(twice_width)
        kernel = torch.cat([left, middle, left.flip(1)], dim=1)
        return kernel[:, None].to(self.low.dtype)

    def fold(self) -> nn.Conv1d:
        """Return the equivalent ordinary convolution, for export."""
        with torch.no_grad():
            kernel = self.kernel()
            shape = kernel.shape[0], self.n_taps
            convolution = nn.Conv1d(1, *shape, padding=self.n_taps // 2, bias=False).to(kernel)
            convolution.weight.copy_(kernel)
        return convolution


def mel_edges(n_bands: int, low_hertz: float, high_hertz: float) -> list[float]:
    """[n_bands + 1] frequencies in Hz, evenly spaced in HTK's mel scale, 2595·log10(1 + f / 700)."""
    low, high = (2595 * math.log10(1 + hertz / 700) for hertz in (low_hertz, high_hertz))
    mels = [low + (high - low) * index / n_bands for index in range(n_bands + 1)]
    return [700 * (10 ** (mel / 2595) - 1) for mel in mels]
