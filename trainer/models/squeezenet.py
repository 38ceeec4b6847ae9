"""SqueezeNet 1.1 as trained on Places365, its normalisations folded: [n, 3, 224, 224] to 365 logits.

Iandola et al. (2016): a fire module squeezes by 1×1, then expands by 1×1 and 3×3 in parallel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.55
"""Negative slope of the leaky ReLU; the mean of the random slope between 0.3 and 0.8 used in training."""
FIRES = ((64, 16, 64), (128, 16, 64), (128, 32, 128), (256, 32, 128), (256, 48, 192), (384, 48, 192), (384, 64, 256),
         (512, 64, 256))  # fmt: skip
"""Each fire module's input channels, squeezed channels, and channels of each of its two expansions."""
_POOLED_AFTER = (1, 3)
"""Indices of the fire modules followed by pooling: the second and the fourth."""


class SqueezeNet(nn.Module):
    """One convolution, eight fire modules, logits at each of 13 × 13 positions, averaged."""

    def __init__(self, n_labels: int = 365) -> None:
        """Make a network with fresh weights."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1)
        self.fires = nn.ModuleList(Fire(*widths) for widths in FIRES)
        self.conv10 = nn.Conv2d(512, n_labels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """[n, 3, 224, 224] to [n, n_labels] logits."""
        maps = _pool(_rectify(self.conv1(images)))
        for index, fire in enumerate(self.fires):
            maps = fire(maps)
            if index in _POOLED_AFTER:
                maps = _pool(maps)
        return _rectify(self.conv10(maps)).mean(dim=(2, 3))


class Fire(nn.Module):
    """Fire module: squeeze the channels, then expand them."""

    def __init__(self, n_in: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(n_in, squeezed, 1)
        self.expand1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """[n, n_in, h, w] to [n, 2 expanded, h, w]."""
        few = _rectify(self.squeeze(maps))
        return torch.cat([_rectify(self.expand1(few)), _rectify(self.expand3(few))], dim=1)


def _rectify(maps: Tensor) -> Tensor:
    """Leaky ReLU."""
    return functional.leaky_relu(maps, SLOPE)


def _pool(maps: Tensor) -> Tensor:
    """3 × 3 max pooling with stride 2, without padding."""
    return functional.max_pool2d(maps, 3, stride=2)
