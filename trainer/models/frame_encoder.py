"""The slim frame encoder: inverted residuals on one small picture; [n, 3, 160, 160] to [n, 160].

Any size that is a multiple of 32 will do; the smaller, the quicker. It starts from scratch: nothing has to be fetched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from trainer.models.slim_audio import Gate

EMBEDDING = 160
"""Numbers that stand for a frame."""
STEM_WIDTH = 16
_EPSILON = 1e-3
"""Added to a normalisation's variance, as in MobileNetV3: a channel that hardly varies is not blown up a hundredfold,
which would magnify rounding, and float16's most."""


class Stage(NamedTuple):
    """A run of blocks of one width."""

    width: int
    """Channels out."""
    n_blocks: int
    """Blocks; the first strides by two and changes the width, the others are residual."""
    expansion: int
    """Channels inside a block by channels into it."""
    gated: bool
    """Whether the blocks weigh their channels."""


STAGES = (Stage(16, 1, 2, False), Stage(32, 2, 3, False), Stage(56, 3, 4, True), Stage(112, 2, 4, True))
"""Little where the maps are large, as that is where the time goes; gates where they are small."""


class FrameEncoder(nn.Module):
    """Stem, stages of inverted residuals with gates, mean over the picture, one linear layer.

    Howard et al. (MobileNetV3, 2019), with ReLU throughout, which runtimes fold into convolutions: hard swish costs a
    fifth more of the time.
    """

    def __init__(self, *, stages: Sequence[Stage] = STAGES, width: int = EMBEDDING) -> None:
        """Make an encoder with fresh weights.

        Args:
            stages: Widths, depths, expansions.
            width: Numbers of the embedding.
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
        """[n, 3, height, width] RGB, each plane about −1…1, to [n, 160], none negative."""
        maps = self.head(self.blocks(self.stem(frames)))
        embedding: Tensor = self.embed(maps.mean(dim=(2, 3)))
        return embedding


class FrameBlock(nn.Module):
    """Expand, filter each channel apart, perhaps weigh the channels, project; a shortcut where shapes agree."""

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
    """A convolution that keeps the size but for its stride, and its normalisation."""
    convolution = nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(n_out, eps=_EPSILON)]
