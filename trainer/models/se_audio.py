"""se_audio: squeeze-excitation blocks that never pool over frequency; [n, 3, 64, 50] to logits."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from trainer.models.initialise import keras_default
from trainer.models.se_block import StandardPost

WIDTHS = (32, 64, 128)
"""Channels of the blocks; (24, 48, 96), (16, 32, 64) and (8, 16, 32) give slimmer variants."""
POOLS = ((1, 2), (1, 2), (1, 1))
"""Max pooling over (bands, hops) after each block; the third has no effect."""
POOLS_10_SECONDS = ((1, 10), (1, 5), (1, 5))
"""Pooling for windows of 500 hops, used with a dropout of 0.3."""


class SeAudio(nn.Module):
    """The audio network of the SE-CRNN systems: blocks with pooling over time between, mean over the map, linear."""

    def __init__(
        self,
        n_labels: int = 10,
        *,
        n_channels: int = 3,
        widths: Sequence[int] = WIDTHS,
        pools: Sequence[tuple[int, int]] = POOLS,
        dropout: float = 0.0,
        normalised_logits: bool = False,
    ) -> None:
        """Make a network with fresh weights.

        Args:
            n_labels: Number of labels.
            n_channels: Number of feature channels: three for left, right and difference, or one.
            widths: Channels of each block.
            pools: Max pooling over (bands, hops) after each block.
            dropout: Dropout rate after each block; the final recipe uses none.
            normalised_logits: Add a BatchNorm after the linear layer, as in the authors' slim preset.
        """
        super().__init__()
        blocks: list[nn.Module] = []
        width = n_channels
        for wider, pool in zip(widths, pools, strict=True):
            shrink = [] if pool == (1, 1) else [nn.MaxPool2d(pool)]
            blocks.append(nn.Sequential(StandardPost(width, wider), *shrink, nn.Dropout(dropout)))
            width = wider
        self.blocks = nn.Sequential(*blocks)
        self.classify = nn.Linear(width, n_labels)
        keras_default(self.classify)
        self.norm = nn.BatchNorm1d(n_labels, eps=1e-3, momentum=0.01) if normalised_logits else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Features [n, n_channels, n_bands, n_hops], −1…1, to [n, n_labels] logits."""
        return self.answer(self.maps(features))

    def maps(self, features: Tensor) -> Tensor:
        """Output of the last block: [n, widths[-1], n_bands, n_hops / 4] with the published pools."""
        maps: Tensor = self.blocks(features)
        return maps

    def answer(self, maps: Tensor) -> Tensor:
        """Logits from the maps that `maps` returns."""
        logits: Tensor = self.norm(self.classify(maps.mean(dim=(2, 3))))
        return logits


def se_audio(n_labels: int = 10, *, n_channels: int = 3, base: int = WIDTHS[0], dropout: float = 0.0) -> SeAudio:
    """Build the network for one-second windows; the published one has 32 channels in the first block.

    Args:
        n_labels: Number of labels.
        n_channels: Number of feature channels.
        base: Channels of the first block, an even number, doubled in each further block; 24, 16 and 8 are slim.
        dropout: Dropout rate after each block.
    """
    if base < 2 or base % 2:
        raise ValueError(f"base: expected an even number of channels, got {base}")
    return SeAudio(n_labels, n_channels=n_channels, widths=(base, 2 * base, 4 * base), dropout=dropout)
