"""cp_mobile: inverted residuals on 256 mel bands of one second; [n, 1, 256, 65] to logits.

CP-Mobile (Schmid et al., 2023) won DCASE 2023 task 1; the challenge baseline of 2024 and 2025 is built from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn

from trainer.models.initialise import he_fan_out

N_MELS, N_HOPS = 256, 65
"""Bands, and hops of one second at 32 kHz with hop length 500, centred."""
STRIDES: Mapping[int, tuple[int, int]] = MappingProxyType({2: (2, 2), 4: (2, 1)})
"""Stride over (bands, hops), by block number from 1."""
BASELINE_STRIDES: Mapping[int, tuple[int, int]] = MappingProxyType({3: (1, 2), 4: (2, 1)})


class CpMobile(nn.Module):
    """Two strided convolutions, stages of inverted residuals, logits at each position, averaged."""

    def __init__(
        self,
        n_labels: int = 10,
        *,
        base: int = 32,
        multiplier: float = 2.3,
        expansion: float = 3.0,
        n_blocks: Sequence[int] = (3, 2, 1),
        strides: Mapping[int, tuple[int, int]] = STRIDES,
        response_norm: bool = True,
    ) -> None:
        """Make a network with fresh weights.

        Args:
            n_labels: Number of labels.
            base: Channels of the first stage.
            multiplier: Channel growth from each stage to the next; rounded to multiples of 8.
            expansion: Channel expansion inside a block; rounded to multiples of 8.
            n_blocks: Number of blocks of each stage.
            strides: Strides of the blocks that have one, by block number from 1.
            response_norm: Whether each block ends with a normalisation across channels.
        """
        super().__init__()
        self.stem = nn.Sequential(*_convolution(1, base // 4, 3, (2, 2)), *_convolution(base // 4, base, 3, (2, 2)))
        blocks: list[nn.Module] = []
        width = base
        for stage, n_stage in enumerate(n_blocks):
            wider = to_multiple_of_8(base * multiplier**stage)
            for _ in range(n_stage):
                inner = to_multiple_of_8(width * expansion)
                stride = strides.get(len(blocks) + 1, (1, 1))
                blocks.append(CpBlock(width, inner, wider, stride, response_norm=response_norm))
                width = wider
        self.blocks = nn.Sequential(*blocks)
        self.classify = nn.Sequential(nn.Conv2d(width, n_labels, 1, bias=False), nn.BatchNorm2d(n_labels))
        self.apply(he_fan_out)

    def forward(self, features: Tensor) -> Tensor:
        """[n, 1, n_mels, n_hops] normalised log-mel to [n, n_labels] logits."""
        places: Tensor = self.classify(self.blocks(self.stem(features)))
        return places.mean(dim=(2, 3))


def cp_mobile_baseline(n_labels: int = 10) -> CpMobile:
    """The challenge baseline of 2024 and 2025: narrower, with other strides and without response normalisation."""
    return CpMobile(n_labels, multiplier=1.8, expansion=2.1, strides=BASELINE_STRIDES, response_norm=False)


class CpBlock(nn.Module):
    """Inverted residual: expand, depthwise convolution, project; a shortcut, pooled to the stride, if widths agree."""

    def __init__(self, n_in: int, inner: int, n_out: int, stride: tuple[int, int], *, response_norm: bool) -> None:
        super().__init__()
        self.path = nn.Sequential(
            *_convolution(n_in, inner, 1),
            *_convolution(inner, inner, 3, stride, groups=inner),
            *_convolution(inner, n_out, 1)[:-1],
        )
        self.has_shortcut = n_in == n_out
        self.pool = nn.Identity() if stride == (1, 1) else nn.AvgPool2d(3, stride=stride, padding=1)
        self.norm = ResponseNorm() if response_norm else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """[n, n_in, h, w] to [n, n_out, h / stride, w / stride]."""
        out: Tensor = self.path(maps)
        if self.has_shortcut:
            out = out + self.pool(maps)
        return torch.relu(self.norm(out))


class ResponseNorm(nn.Module):
    """Weight channels by their energy relative to the mean over channels (Woo et al., ConvNeXt V2, 2023).

    One scale and one shift for all channels, both initially 0, which makes it the identity.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(1))
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, maps: Tensor) -> Tensor:
        """[n, n_channels, h, w] to the same shape."""
        energy = torch.linalg.vector_norm(maps, dim=(2, 3), keepdim=True)
        weight: Tensor = energy / (energy.mean(dim=1, keepdim=True) + 1e-6)
        return maps * (self.scale * weight + 1) + self.shift


def to_multiple_of_8(width: float) -> int:
    """Round to the nearest multiple of 8, but not below 90 % of the width."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * width else rounded + 8


def _convolution(
    n_in: int, n_out: int, kernel: int, stride: tuple[int, int] = (1, 1), groups: int = 1
) -> list[nn.Module]:
    """A same-padded convolution with BatchNorm and ReLU."""
    convolution = nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(n_out), nn.ReLU()]
