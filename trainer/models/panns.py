"""panns: networks by Kong et al., trained on AudioSet; log-mel windows [n, 1, n_hops, n_mels] to embeddings.

PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition (2020). Weight names are theirs. The
output layer of 527 tags after the embedding is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.initialise import he_fan_out

N_TAGS = 527
"""Number of AudioSet labels."""
N_MELS = 64
CNN_WIDTHS = (64, 128, 256, 512, 1024, 2048)
"""Channels of Cnn14's blocks; Cnn6 and Cnn10 have the first four."""
RESNET_WIDTHS = (64, 128, 256, 512)
RESNET_LAST = 2048
"""Channels of the block after the residual stages."""
MOBILE_BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1)
)  # fmt: skip
"""Channels and stride of MobileNetV1's separable convolutions, after a first convolution of 32 channels."""
MOBILE_FIRST = 32


class Panns(nn.Module):
    """Per-band normalisation, a trunk, mean over bands, maximum plus mean over time, one linear layer."""

    def __init__(self, n_mels: int, n_maps: int, n_features: int) -> None:
        """Build what all PANNs share.

        Args:
            n_mels: Number of mel bands.
            n_maps: Output channels of the trunk.
            n_features: Embedding size.
        """
        super().__init__()
        self.bn0 = nn.BatchNorm2d(n_mels)
        self.fc1 = nn.Linear(n_maps, n_features)

    def trunk(self, maps: Tensor) -> Tensor:
        """[n, 1, n_hops, n_mels] to [n, n_maps, fewer hops, fewer bands]."""
        raise NotImplementedError

    def forward(self, features: Tensor) -> Tensor:
        """[n, 1, n_hops, n_mels] log-mel in dB to [n, n_features]."""
        bands = self.bn0(features.transpose(1, 3)).transpose(1, 3)
        hops = self.trunk(bands).mean(dim=3)
        embedding: Tensor = torch.relu(self.fc1(hops.amax(dim=2) + hops.mean(dim=2)))
        return embedding

    def embed(self, features: Tensor) -> Tensor:
        """Same as `forward`."""
        embedding: Tensor = self(features)
        return embedding


class PannsCnn(Panns):
    """Cnn6, Cnn10, Cnn14: blocks of one 5×5 or two 3×3 convolutions, each but a sixth followed by 2×2 mean pooling."""

    def __init__(self, n_blocks: int, *, wide: bool, n_mels: int = N_MELS, n_features: int | None = None) -> None:
        """Make a network with fresh weights.

        Args:
            n_blocks: Four or six.
            wide: One 5×5 convolution per block instead of two 3×3.
            n_mels: Number of mel bands.
            n_features: Embedding size; None: the trunk's number of channels.
        """
        widths = CNN_WIDTHS[:n_blocks]
        super().__init__(n_mels, widths[-1], n_features or widths[-1])
        self.n_blocks = n_blocks
        for number, (n_in, n_out) in enumerate(zip((1, *widths), widths, strict=False), start=1):
            self.add_module(f"conv_block{number}", WideBlock(n_in, n_out) if wide else ConvBlock(n_in, n_out))
        self.apply(he_fan_out)

    def trunk(self, maps: Tensor) -> Tensor:
        """[n, 1, h, w] to [n, n_maps, h / 16, w / 16], or h / 32 with six blocks."""
        for number in range(1, self.n_blocks + 1):
            maps = self.get_submodule(f"conv_block{number}")(maps)
            if number < len(CNN_WIDTHS):
                maps = functional.avg_pool2d(maps, 2)
        return maps


class PannsResnet(Panns):
    """ResNet22, ResNet38: residual stages between two of Cnn14's blocks; downsampling by 2×2 mean pooling."""

    def __init__(self, n_blocks: Sequence[int], *, n_mels: int = N_MELS, n_features: int | None = None) -> None:
        """Make a network with fresh weights.

        Args:
            n_blocks: Number of blocks in each of four stages.
            n_mels: Number of mel bands.
            n_features: Embedding size; None: the trunk's number of channels.
        """
        super().__init__(n_mels, RESNET_LAST, n_features or RESNET_LAST)
        self.conv_block1 = ConvBlock(1, RESNET_WIDTHS[0])
        self.resnet = nn.Sequential()
        width = RESNET_WIDTHS[0]
        for number, (wider, n) in enumerate(zip(RESNET_WIDTHS, n_blocks, strict=True), start=1):
            first = BasicBlock(width, wider, halve=number > 1)
            stage = nn.Sequential(first, *(BasicBlock(wider, wider, halve=False) for _ in range(1, n)))
            self.resnet.add_module(f"layer{number}", stage)
            width = wider
        self.conv_block_after1 = ConvBlock(width, RESNET_LAST)
        self.apply(he_fan_out)

    def trunk(self, maps: Tensor) -> Tensor:
        """[n, 1, h, w] to [n, 2048, h / 32, w / 32]."""
        maps = self.resnet(functional.avg_pool2d(self.conv_block1(maps), 2))
        answer: Tensor = self.conv_block_after1(functional.avg_pool2d(maps, 2))
        return answer


class PannsMobile(Panns):
    """MobileNetV1 (Howard et al., 2017): a convolution, then thirteen depthwise-separable convolutions.

    2×2 mean pooling replaces the original's strides.
    """

    def __init__(self, *, n_mels: int = N_MELS, n_features: int | None = None) -> None:
        """Make a network with fresh weights.

        Args:
            n_mels: Number of mel bands.
            n_features: Embedding size; None: the trunk's number of channels.
        """
        super().__init__(n_mels, MOBILE_BLOCKS[-1][0], n_features or MOBILE_BLOCKS[-1][0])
        blocks: list[nn.Module] = [_apart(1, MOBILE_FIRST, 2, groups=1)]
        width = MOBILE_FIRST
        for wider, stride in MOBILE_BLOCKS:
            across = (nn.Conv2d(width, wider, 1, bias=False), nn.BatchNorm2d(wider), nn.ReLU())
            blocks.append(nn.Sequential(*_apart(width, width, stride, groups=width), *across))
            width = wider
        self.features = nn.Sequential(*blocks)
        self.apply(he_fan_out)

    def trunk(self, maps: Tensor) -> Tensor:
        """[n, 1, h, w] to [n, 1024, h / 32, w / 32]."""
        answer: Tensor = self.features(maps)
        return answer


class ConvBlock(nn.Module):
    """Two 3×3 convolutions, each with BatchNorm and ReLU."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.bn2 = nn.BatchNorm2d(n_out)

    def forward(self, maps: Tensor) -> Tensor:
        """[n, n_in, h, w] to [n, n_out, h, w]."""
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(maps))))))


class WideBlock(nn.Module):
    """One 5×5 convolution with BatchNorm and ReLU."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 5, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)

    def forward(self, maps: Tensor) -> Tensor:
        """[n, n_in, h, w] to [n, n_out, h, w]."""
        return torch.relu(self.bn1(self.conv1(maps)))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut (He et al., 2015); if it halves, both paths are mean-pooled."""

    def __init__(self, n_in: int, n_out: int, *, halve: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.pool: nn.Module = nn.AvgPool2d(2) if halve else nn.Identity()
        self.downsample: nn.Module = nn.Identity()
        if halve:
            convolution = nn.Conv2d(n_in, n_out, 1, bias=False)
            self.downsample = nn.Sequential(nn.AvgPool2d(2), convolution, nn.BatchNorm2d(n_out))

    def forward(self, maps: Tensor) -> Tensor:
        """[n, n_in, h, w] to [n, n_out, h, w], or half of both."""
        out = torch.relu(self.bn1(self.conv1(self.pool(maps))))
        answer: Tensor = torch.relu(self.bn2(self.conv2(out)) + self.downsample(maps))
        return answer


def _apart(n_in: int, n_out: int, stride: int, groups: int) -> nn.Sequential:
    """A 3×3 convolution, mean pooling if it strides, BatchNorm and ReLU."""
    convolution = nn.Conv2d(n_in, n_out, 3, padding=1, groups=groups, bias=False)
    pool: nn.Module = nn.Identity() if stride == 1 else nn.AvgPool2d(stride)
    return nn.Sequential(convolution, pool, nn.BatchNorm2d(n_out), nn.ReLU())
