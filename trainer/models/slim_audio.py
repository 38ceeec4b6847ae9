"""The slim audio network: inverted residuals with squeeze-excitation on a log-mel window; [n, 1, 64, 48] to logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Stage(NamedTuple):
    """A sequence of blocks of equal width."""

    width: int
    """Output channels."""
    n_blocks: int
    """Number of blocks; the first may stride and change the width, the others are residual."""
    stride: tuple[int, int]
    """Stride of the first block over (bands, hops)."""


STEM_WIDTH = 16
STAGES = (Stage(24, 2, (2, 2)), Stage(40, 2, (2, 2)), Stage(64, 2, (2, 1)))
EXPANSION = 3
"""Ratio of a block's expanded channels to its input channels."""
SQUEEZE = 4
"""Ratio of a block's channels to its gate's bottleneck channels."""


class SlimAudio(nn.Module):
    """Stem, stages of inverted residuals, a gate in the last block of each stage, global average pooling, linear.

    Inverted residuals follow Sandler et al. (MobileNetV2, 2018) and Schmid et al. (CP-Mobile, 2023), the gates Hu et
    al. (squeeze-and-excitation, 2018). Every normalisation is a BatchNorm after a convolution, which the exporter folds
    away: at this size the number of operators costs more than the arithmetic.
    """

    def __init__(
        self,
        n_labels: int,
        *,
        n_channels: int = 1,
        dropout: float = 0.2,
        relative: bool = False,
        stages: Sequence[Stage] = STAGES,
    ) -> None:
        """Make a network with fresh weights.

        Args:
            n_labels: Number of labels.
            n_channels: Number of feature channels.
            dropout: Dropout rate of the pooled features.
            relative: Whether to subtract a window's mean from its features: with one scale for all bands (normalisation
                "affine") the output is then invariant to gain, as loudness is removed from the log-mel.
            stages: Widths, depths and strides.
        """
        super().__init__()
        self.relative = relative
        self.stem = nn.Sequential(*_convolution(n_channels, STEM_WIDTH, kernel=3, stride=(2, 2)), nn.ReLU(inplace=True))
        blocks: list[nn.Module] = []
        width = STEM_WIDTH
        for stage in stages:
            for index in range(stage.n_blocks):
                stride = stage.stride if index == 0 else (1, 1)
                blocks.append(InvertedResidual(width, stage.width, stride, gated=index == stage.n_blocks - 1))
                width = stage.width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(*_convolution(width, 2 * width, kernel=1), nn.ReLU(inplace=True))
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(2 * width, n_labels)

    def forward(self, features: Tensor) -> Tensor:
        """[n, n_channels, n_mels, n_hops] normalised log-mel to [n, n_labels] logits."""
        return self.answer(self.embed(features))

    def embed(self, features: Tensor) -> Tensor:
        """The pooled embedding before the classifier: [n, `embedding_size`]."""
        if self.relative:
            features = features - features.mean(dim=(1, 2, 3), keepdim=True)
        maps: Tensor = self.head(self.blocks(self.stem(features)))
        return maps.mean(dim=(2, 3))

    def answer(self, embedding: Tensor) -> Tensor:
        """Logits from an embedding."""
        logits: Tensor = self.classify(self.dropout(embedding))
        return logits

    @property
    def embedding_size(self) -> int:
        """Size of the embedding."""
        return self.classify.in_features


class InvertedResidual(nn.Module):
    """Expand, depthwise convolution, optional squeeze-excitation, project; a shortcut where shapes agree."""

    def __init__(self, n_in: int, n_out: int, stride: tuple[int, int], *, gated: bool) -> None:
        super().__init__()
        inner = EXPANSION * n_in
        layers = [*_convolution(n_in, inner, kernel=1), nn.ReLU(inplace=True)]
        layers += [*_convolution(inner, inner, kernel=3, stride=stride, groups=inner), nn.ReLU(inplace=True)]
        if gated:
            layers.append(Gate(inner, max(8, n_in // SQUEEZE)))
        self.path = nn.Sequential(*layers, *_convolution(inner, n_out, kernel=1))
        self.shortcut = stride == (1, 1) and n_in == n_out

    def forward(self, maps: Tensor) -> Tensor:
        """[n, n_in, h, w] to [n, n_out, h / stride, w / stride]."""
        out: Tensor = self.path(maps)
        return maps + out if self.shortcut else out


class Gate(nn.Module):
    """Squeeze-excitation: weights each channel depending on the averages of all channels."""

    def __init__(self, n_channels: int, n_hidden: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(n_channels, n_hidden, 1)
        self.excite = nn.Conv2d(n_hidden, n_channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """[n, n_channels, h, w] to the same shape."""
        context = torch.relu(self.squeeze(maps.mean(dim=(2, 3), keepdim=True)))
        return maps * torch.sigmoid(self.excite(context))


def _convolution(
    n_in: int, n_out: int, *, kernel: int, stride: tuple[int, int] = (1, 1), groups: int = 1
) -> list[nn.Module]:
    """A same-padded convolution and its BatchNorm."""
    convolution = nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(n_out)]
