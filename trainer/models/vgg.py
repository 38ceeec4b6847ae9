"""The convolutional part of VGG16 as a frame encoder; [n, 3, 224, 224] to [n, 512].

Weight names are torchvision's (`features.0.weight` …), so that published checkpoints load; there is no classifier.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from trainer.models.initialise import he_fan_out

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the 3×3 convolutions between the five poolings (Simonyan and Zisserman, 2014)."""
EMBEDDING = 512
GlobalPool = Literal["max", "mean"]


class VggEncoder(nn.Module):
    """Thirteen convolutions, five poolings, and global pooling to one value per channel."""

    def __init__(self, *, pool: GlobalPool = "max") -> None:
        """Make an encoder with fresh weights.

        Args:
            pool: Global pooling: the authors' code takes the maximum, their figure the mean.
        """
        super().__init__()
        self.pool = pool
        layers: list[nn.Module] = []
        width = 3
        for widths in WIDTHS:
            for wider in widths:
                layers += [nn.Conv2d(width, wider, 3, padding=1), nn.ReLU(inplace=True)]
                width = wider
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.apply(he_fan_out)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames [n, 3, height, width], scaled as the weights were trained, to [n, 512]."""
        maps: Tensor = self.features(frames)
        return maps.amax(dim=(2, 3)) if self.pool == "max" else maps.mean(dim=(2, 3))
