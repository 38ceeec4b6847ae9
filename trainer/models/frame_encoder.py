"""The slim frame encoder: inverted residuals on one small image; [n, 3, 160, 160] to [n, 160].

Any size that is a multiple of 32 works, smaller ones faster. It is trained from scratch: no weights are downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from trainer.models.slim_audio import Gate

EMBEDDING = 160
"""Size of a frame's embedding."""
STEM_WIDTH = 16
_EPSILON = 1e-3
"""Added to a normalisation's variance, as in MobileNetV3: keeps a channel of almost no variance from being scaled up a
hundredfold, which would magnify rounding errors, most of all float16's."""


class Stage(NamedTuple):
    """A sequence of blocks of equal width."""

    width: int
    """Output channels."""
    n_blocks: int
    """Number of blocks; the first has stride two and changes the width, the others are residual."""
    expansion: int
    """Ratio of a block's expanded channels to its input channels."""
    gated: bool
    """Whether the blocks have squeeze-excitation."""


STAGES = (Stage(16, 1, 2, False), Stage(32, 2, 3, False), Stage(56, 3, 4, True), Stage(112, 2, 4, True))
"""Few channels where the maps are large, as most of the time is spent there; gates where the maps are small."""


class FrameEncoder(nn.Module):
    """Stem, stages of inverted residuals with gates, global average pooling, one linear layer.

    Howard et al. (MobileNetV3, 2019), with ReLU throughout, which runtimes fuse into convolutions: hard swish takes a
    fifth more time.
    """

    def __init__(self, *, stages: Sequence[Stage] = STAGES, width: int = EMBEDDING) -> None:
        """Make an encoder with fresh weights.

        Args:
            stages: Widths, depths, expansions and gates.
            width: Size of the embedding.
        """
        super().__init__()
        self.stem = nn.Sequential(*_convolution(3, STEM_WIDTH, kernel=3, stride=2), nn.ReLU(inplace=True))
        blocks: list[nn.Module] = []
        n_in = STEM_WIDTH
        for stage in stages:
            for index in range(stage.n_blocks):
                blocks.append(FrameBlock(n_in, stage, stride=2 if index == 0 else 1))
                n_in = stage.width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(*_convolution(n_in, 4 * n_in, kernel=1), nn.ReLU(inplace=True))
        self.embed = nn.Sequential(nn.Linear(4 * n_in, width), nn.ReLU())

    def forward(self, frames: Tensor) -> Tensor:
        """RGB [n, 3, height, width], each plane about −1…1, to [n, 160], non-negative."""
        maps = self.head(self.blocks(self.stem(frames)))
        embedding: Tensor = self.embed(maps.mean(dim=(2, 3)))
        return embedding


class FrameBlock(nn.Module):
    """Expand, depthwise convolution, optional squeeze-excitation, project; a shortcut where shapes agree."""

    def __init__(self, n_in: int, stage: Stage, *, stride: int) -> None:
        super().__init__()
        inner = stage.expansion * n_in
        layers = [*_convolution(n_in, inner, kernel=1), nn.ReLU(inplace=True)]
        layers += [*_convolution(inner, inner, kernel=3, stride=stride, groups=inner), nn.ReLU(inplace=True)]
        if stage.gated:
            layers.append(Gate(inner, max(8, inner // 8)))
        self.path = nn.Sequential(*layers, *_convolution(inner, stage.width, kernel=1))
        self.shortcut = stride == 1 and n_in == stage.width

    def forward(self, maps: Tensor) -> Tensor:
        """[n, n_in, h, w] to [n, width, h / stride, w / stride]."""
        out: Tensor = self.path(maps)
        return maps + out if self.shortcut else out


def _convolution(n_in: int, n_out: int, *, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A same-padded convolution and its BatchNorm."""
    convolution = nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(n_out, eps=_EPSILON)]
