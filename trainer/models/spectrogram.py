"""spectrogram: four convolutions on a log-mel window standardised on its own; [n, 1, 128, 188] to logits."""

from __future__ import annotations

from torch import Tensor, nn

from trainer.models.latent import PLACES, LatentHead
from trainer.models.pooling import TimePool

N_MELS, N_HOPS = 128, 188
"""Bands, and hops of one second at 48 kHz with hop length 256, centred."""
WIDTHS = (32, 64, 128, 256)


class SpectrogramBranch(nn.Module):
    """Four 3×3 convolutions, each with BatchNorm, LeakyReLU and max pooling by 2; mean over bands, 4 time steps."""

    def __init__(self, n_hops: int = N_HOPS) -> None:
        """Make a branch with fresh weights for windows of `n_hops`."""
        super().__init__()
        blocks: list[nn.Module] = []
        width = 1
        for wider in WIDTHS:
            convolution = nn.Conv2d(width, wider, 3, padding=1)
            blocks.append(nn.Sequential(convolution, nn.BatchNorm2d(wider), nn.LeakyReLU(0.01), nn.MaxPool2d(2)))
            width = wider
        self.blocks = nn.Sequential(*blocks)
        self.pool = TimePool(n_hops // 2 ** len(WIDTHS), PLACES)

    def forward(self, features: Tensor) -> Tensor:
        """[n, 1, n_mels, n_hops] to [n, 1024]."""
        maps: Tensor = self.blocks(features)
        latent: Tensor = self.pool(maps.mean(dim=2)).flatten(1)
        return latent


class Spectrogram(nn.Module):
    """The spectrogram network of wave-spec-fusion: branch and head."""

    def __init__(self, n_labels: int = 10, *, dropout: float = 0.3) -> None:
        """Make a network with fresh weights.

        Args:
            n_labels: Number of labels.
            dropout: Dropout rate before each linear layer.
        """
        super().__init__()
        self.branch = SpectrogramBranch()
        self.head = LatentHead(n_labels, dropout=dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Log-mel [n, 1, 128, 188], each window of mean 0 and standard deviation 1, to [n, n_labels] logits."""
        logits: Tensor = self.head(self.branch(features))
        return logits
