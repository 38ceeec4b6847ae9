"""The head shared by the wave-spec-fusion networks: a latent vector to logits."""

from __future__ import annotations

from torch import Tensor, nn

LATENT = 1024
"""Length of a branch's latent vector: 256 channels at 4 time steps."""
PLACES = 4
"""Time steps at a branch's end."""
WIDTHS = (512, 256)
"""Widths of the hidden layers."""


class LatentHead(nn.Module):
    """Twice dropout, linear, LeakyReLU and BatchNorm, in this order; then dropout and linear."""

    def __init__(self, n_labels: int, *, n_in: int = LATENT, dropout: float = 0.3) -> None:
        """Make a head with fresh weights.

        Args:
            n_labels: Number of labels.
            n_in: Length of the latent vector.
            dropout: Dropout rate before each linear layer.
        """
        super().__init__()
        layers: list[nn.Module] = []
        for width in WIDTHS:
            layers += [nn.Dropout(dropout), nn.Linear(n_in, width), nn.LeakyReLU(0.01), nn.BatchNorm1d(width)]
            n_in = width
        self.layers = nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(n_in, n_labels))

    def forward(self, latent: Tensor) -> Tensor:
        """[n, n_in] to [n, n_labels] logits."""
        logits: Tensor = self.layers(latent)
        return logits
