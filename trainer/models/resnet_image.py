"""ResNet-18 and ResNet-50 for images, with torchvision's names: [n, 3, 224, 224] to logits (He et al., 2015)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from torch import Tensor, nn

from trainer.models.resnet import Bottleneck

PLANES = (64, 128, 256, 512)
"""Planes of each stage."""


class BasicBlock(nn.Module):
    """Two 3×3 convolutions, the first with the stride, and a shortcut; no biases."""

    def __init__(self, n_in: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or n_in != planes:
            self.downsample = nn.Sequential(
                nn.Conv2d(n_in, planes, 1, stride=stride, bias=False), nn.BatchNorm2d(planes)
            )

    def forward(self, maps: Tensor) -> Tensor:
        """[n, n_in, h, w] to [n, planes, h / stride, w / stride]."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(maps)))))
        answer: Tensor = self.relu(out + self.downsample(maps))
        return answer


_BLOCKS: Mapping[int, tuple[type[BasicBlock] | type[Bottleneck], int, Sequence[int]]] = MappingProxyType(
    {18: (BasicBlock, 1, (2, 2, 2, 2)), 50: (Bottleneck, 4, (3, 4, 6, 3))}
)
"""By number of layers: block type, ratio of its channels to its planes, and blocks per stage."""


class ResnetImage(nn.Module):
    """A strided convolution, four stages of residual blocks, global average pooling, one linear layer."""

    def __init__(self, n_layers: int = 18, n_labels: int = 365) -> None:
        """Make a network of 18 or 50 layers with fresh weights."""
        super().__init__()
        block, expansion, n_blocks = _BLOCKS[n_layers]
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        width = 64
        for stage, (planes, n) in enumerate(zip(PLANES, n_blocks, strict=True)):
            blocks: list[nn.Module] = []
            for index in range(n):
                blocks.append(block(width, planes, 2 if stage > 0 and index == 0 else 1))
                width = planes * expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(width, n_labels)

    def forward(self, images: Tensor) -> Tensor:
        """[n, 3, 224, 224] to [n, n_labels] logits."""
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for stage in range(len(PLANES)):
            maps = self.get_submodule(f"layer{stage + 1}")(maps)
        logits: Tensor = self.fc(maps.mean(dim=(2, 3)))
        return logits
