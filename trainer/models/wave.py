"""wave: the raw waveform through learned filters and strided pooling; [n, 1, 48000] to logits."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from trainer.models.latent import PLACES, LatentHead
from trainer.models.pooling import TimePool
from trainer.models.sinc import SincConv

SAMPLE_RATE = 48_000
"""Sample rate in Hz; a window is one second."""
N_FILTERS, N_TAPS = 32, 251
WIDTHS = (64, 128, 256)
"""Channels of the convolutions after the filters."""
POOL = 8


class WaveBranch(nn.Module):
    """Filter bank and three convolutions, each with BatchNorm, LeakyReLU and max pooling by 8; 4 time steps."""

    def __init__(self, n_samples: int = SAMPLE_RATE) -> None:
        """Make a branch with fresh weights for windows of `n_samples` at 48 kHz."""
        super().__init__()
        self.filters: SincConv | nn.Conv1d = SincConv(N_FILTERS, N_TAPS, SAMPLE_RATE)
        self.first = nn.Sequential(*_activated(N_FILTERS))
        blocks: list[nn.Module] = []
        width = N_FILTERS
        for wider in WIDTHS:
            blocks.append(nn.Sequential(nn.Conv1d(width, wider, 7, padding=3), *_activated(wider)))
            width = wider
        self.blocks = nn.Sequential(*blocks)
        self.pool = TimePool(n_samples // POOL ** (1 + len(WIDTHS)), PLACES)

    def forward(self, waveform: Tensor) -> Tensor:
        """[n, 1, n_samples] to [n, 1024]."""
        maps = self.blocks(self.first(self.filters(waveform)))
        latent: Tensor = self.pool(maps).flatten(1)
        return latent

    def fold(self) -> None:
        """Replace the filters by an ordinary convolution, irreversibly."""
        if isinstance(self.filters, SincConv):
            self.filters = self.filters.fold()


class Wave(nn.Module):
    """The waveform network of wave-spec-fusion: branch and head."""

    def __init__(self, n_labels: int = 10, *, dropout: float = 0.3) -> None:
        """Make a network with fresh weights.

        Args:
            n_labels: Number of labels.
            dropout: Dropout rate before each linear layer.
        """
        super().__init__()
        self.branch = WaveBranch()
        self.head = LatentHead(n_labels, dropout=dropout)

    def forward(self, waveform: Tensor) -> Tensor:
        """Mono samples [n, 1, 48000], −1…1, not normalised, to [n, n_labels] logits."""
        logits: Tensor = self.head(self.branch(waveform))
        return logits

    def deployed(self) -> Wave:
        """A copy for export: in evaluation mode, its filters folded into an ordinary convolution."""
        network = copy.deepcopy(self).eval()
        network.branch.fold()
        return network


def _activated(width: int) -> list[nn.Module]:
    """BatchNorm, LeakyReLU and max pooling after each convolution."""
    return [nn.BatchNorm1d(width), nn.LeakyReLU(0.01), nn.MaxPool1d(POOL)]
