"""efficientat: MobileNetV3 on a log-mel window, 527 AudioSet tags; [n, 1, 128, n_hops] to logits or an embedding.

Howard et al. (Searching for MobileNetV3, 2019), the large variant, as Schmid et al. (EfficientAT, 2023) train it on
sound. Weight names are theirs except for the gates, which are `trainer.models.slim_audio`'s.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from trainer.models.cp_mobile import to_multiple_of_8
from trainer.models.initialise import he_fan_out
from trainer.models.slim_audio import Gate

N_MELS, N_HOPS = 128, 100
"""Bands, and hops of one second at 32 kHz with hop length 320, centred, without the first sample."""
N_TAGS = 527
WIDEST = 4.0
"""Largest width of the published networks; the smallest is 0.1."""


class Block(NamedTuple):
    """An inverted residual of the network at width 1."""

    kernel: int
    """Kernel size of the depthwise convolution."""
    inner: int
    """Expanded channels."""
    n_out: int
    """Output channels."""
    gated: bool
    """Whether it has squeeze-excitation over channels."""
    smooth: bool
    """Whether it uses Hardswish instead of ReLU."""
    stride: int
    """Stride over both bands and hops."""


STEM, HEAD, PENULTIMATE = 16, 960, 1280
"""Channels of the first and the last convolution and of the hidden classifier layer, at width 1."""
BLOCKS = (
    Block(3, 16, 16, False, False, 1),
    Block(3, 64, 24, False, False, 2),
    Block(3, 72, 24, False, False, 1),
    Block(5, 72, 40, True, False, 2),
    Block(5, 120, 40, True, False, 1),
    Block(5, 120, 40, True, False, 1),
    Block(3, 240, 80, False, True, 2),
    Block(3, 200, 80, False, True, 1),
    Block(3, 184, 80, False, True, 1),
    Block(3, 184, 80, False, True, 1),
    Block(3, 480, 112, True, True, 1),
    Block(3, 672, 112, True, True, 1),
    Block(5, 672, 160, True, True, 2),
    Block(5, 960, 160, True, True, 1),
    Block(5, 960, 160, True, True, 1),
)
_EPSILON = 1e-3
"""Epsilon of every normalisation."""
_SQUEEZE = 4
"""Ratio of a block's channels to its gate's bottleneck channels."""
_DROPOUT = 0.2


class EfficientAt(nn.Module):
    """A convolution, fifteen inverted residuals, a convolution, global average pooling, two linear layers."""

    def __init__(self, width: float = 1.0, n_tags: int = N_TAGS) -> None:
        """Make a network with fresh weights.

        Args:
            width: Factor on the width of every layer; channels are rounded to multiples of 8.
            n_tags: Number of tags.
        """
        super().__init__()
        n_in = to_multiple_of_8(STEM * width)
        layers: list[nn.Module] = [_layer(1, n_in, 3, stride=2, activation=nn.Hardswish())]
        for block in BLOCKS:
            layers.append(InvertedResidual(n_in, block, width))
            n_in = to_multiple_of_8(block.n_out * width)
        self.embedding_size = HEAD // BLOCKS[-1].n_out * n_in
        layers.append(_layer(n_in, self.embedding_size, 1, activation=nn.Hardswish()))
        self.features = nn.Sequential(*layers)
        hidden = to_multiple_of_8(PENULTIMATE * width)
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(self.embedding_size, hidden),
            nn.Hardswish(),
            nn.Dropout(_DROPOUT),
            nn.Linear(hidden, n_tags),
        )
        self.apply(he_fan_out)

    def forward(self, features: Tensor) -> Tensor:
        """[n, 1, 128, n_hops] normalised log-mel to [n, n_tags] logits, for a sigmoid each."""
        tags: Tensor = self.classifier(self.features(features))
        return tags

    def embed(self, features: Tensor) -> Tensor:
        """The pooled embedding before the classifier: [n, `embedding_size`], 960 at width 1."""
        maps: Tensor = self.features(features)
        return maps.mean(dim=(2, 3))


class InvertedResidual(nn.Module):
    """Expand, depthwise convolution, optional squeeze-excitation, project; a shortcut where shapes agree."""

    def __init__(self, n_in: int, block: Block, width: float) -> None:
        super().__init__()
        inner, n_out = (to_multiple_of_8(size * width) for size in (block.inner, block.n_out))
        kind = nn.Hardswish if block.smooth else nn.ReLU
        layers: list[nn.Module] = [] if inner == n_in else [_layer(n_in, inner, 1, activation=kind())]
        layers.append(_layer(inner, inner, block.kernel, stride=block.stride, groups=inner, activation=kind()))
        if block.gated:
            layers.append(Gate(inner, to_multiple_of_8(inner // _SQUEEZE)))
        layers.append(_layer(inner, n_out, 1))
        self.block = nn.Sequential(*layers)
        self.shortcut = block.stride == 1 and n_in == n_out

    def forward(self, maps: Tensor) -> Tensor:
        """[n, n_in, h, w] to [n, n_out, h / stride, w / stride]."""
        out: Tensor = self.block(maps)
        return maps + out if self.shortcut else out


def _layer(
    n_in: int, n_out: int, kernel: int, *, stride: int = 1, groups: int = 1, activation: nn.Module | None = None
) -> nn.Sequential:
    """A same-padded convolution with BatchNorm and optionally an activation."""
    convolution = nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    layers = [convolution, nn.BatchNorm2d(n_out, eps=_EPSILON)]
    return nn.Sequential(*layers, *([] if activation is None else [activation]))
