"""resnet_audio and resnet_clip: a ResNet-50 on ten seconds of log-mel, alone or beside a CLIP embedding.

Weight names in the trunk are torchvision's for convolutions (`conv1.weight`, `layer1.0.conv1.weight` …).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.models.clip_visual import EMBEDDING as CLIP_EMBEDDING
from trainer.models.initialise import he_fan_out

N_MELS = 128
"""Mel bands; ten seconds are 501 hops, one second 51."""
N_BLOCKS = (3, 4, 6, 3)
PLANES = (64, 128, 256, 512)
EXPANSION = 4
"""Ratio of a block's output channels to its planes."""
EMBEDDING = 2048
N_AUDIOSET = 527
"""Number of AudioSet labels; the published weights were pretrained on AudioSet."""


class Bottleneck(nn.Module):
    """1×1, 3×3 (with the stride) and 1×1 convolutions with a shortcut (He et al., 2015); no biases."""

    def __init__(self, n_in: int, planes: int, stride: int) -> None:
        super().__init__()
        n_out = planes * EXPANSION
        self.conv1 = nn.Conv2d(n_in, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, maps: Tensor) -> Tensor:
        """[n, n_in, h, w] to [n, 4 planes, h / stride, w / stride]."""
        out = self.relu(self.bn1(self.conv1(maps)))
        out = self.relu(self.bn2(self.conv2(out)))
        answer: Tensor = self.relu(self.bn3(self.conv3(out)) + self.downsample(maps))
        return answer


class ResnetTrunk(nn.Module):
    """Per-band normalisation, ResNet-50 with channel dropout after each stage, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.band_norm = nn.BatchNorm2d(N_MELS)
        self.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(64, PLANES[0], N_BLOCKS[0], 1)
        self.layer2 = _stage(256, PLANES[1], N_BLOCKS[1], 2)
        self.layer3 = _stage(512, PLANES[2], N_BLOCKS[2], 2)
        self.layer4 = _stage(1024, PLANES[3], N_BLOCKS[3], 2)
        self.drop_channels = nn.Dropout2d(0.2)
        self.dropout = nn.Dropout(0.2)
        self.embed = nn.Linear(PLANES[3] * EXPANSION, EMBEDDING)
        self.apply(he_fan_out)

    def forward(self, features: Tensor) -> Tensor:
        """[n, 1, 128, n_hops] to [n, 2048]; the maps inside are [n, …, time, bands]."""
        bands = self.band_norm(features.transpose(1, 2))  # [n, 128, 1, n_hops]
        maps = self.maxpool(self.relu(self.bn1(self.conv1(bands.permute(0, 2, 3, 1)))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = self.drop_channels(stage(maps))
        embedding: Tensor = self.relu(self.embed(self.dropout(maps.mean(dim=(2, 3)))))
        return embedding


class ResnetAudio(nn.Module):
    """The audio network of the PaddleAudio example."""

    def __init__(self, n_labels: int = 10, *, dropout: float = 0.5, audioset: bool = False) -> None:
        """Make a network with fresh weights.

        Args:
            n_labels: Number of labels.
            dropout: Dropout rate of the embedding.
            audioset: Also keep the layer of AudioSet's 527 labels, unused in the forward pass, so that a whole AudioSet
                checkpoint can be loaded.
        """
        super().__init__()
        self.trunk = ResnetTrunk()
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(EMBEDDING, n_labels)
        self.audioset = nn.Linear(EMBEDDING, N_AUDIOSET) if audioset else None

    def forward(self, features: Tensor) -> Tensor:
        """[n, 1, 128, n_hops] log-mel in dB to [n, n_labels] logits."""
        logits: Tensor = self.classify(self.dropout(self.trunk(features)))
        return logits


class ResnetClip(nn.Module):
    """The audio-visual network of the PaddleAudio example: a linear layer on both embeddings.

    The authors' code applies dropout and ReLU to the audio half only, before concatenation; their figure differs.
    """

    def __init__(self, n_labels: int = 10, *, dropout: float = 0.5, audioset: bool = False) -> None:
        """Make a network with fresh weights.

        Args:
            n_labels: Number of labels.
            dropout: Dropout rate of the audio embedding.
            audioset: Also keep the unused layer of AudioSet's 527 labels.
        """
        super().__init__()
        self.trunk = ResnetTrunk()
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(EMBEDDING + CLIP_EMBEDDING, n_labels)
        self.audioset = nn.Linear(EMBEDDING, N_AUDIOSET) if audioset else None

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        """Log-mel [n, 1, 128, n_hops] in dB and CLIP ViT-B/32 [n, 512], of any norm, to [n, n_labels] logits."""
        audio = self.dropout(self.trunk(features))
        logits: Tensor = self.classify(torch.cat([audio, embedding], dim=1))
        return logits


def _stage(n_in: int, planes: int, n_blocks: int, stride: int) -> nn.Sequential:
    """A stage of blocks of equal width; the first has the stride."""
    first = Bottleneck(n_in, planes, stride)
    return nn.Sequential(first, *(Bottleneck(planes * EXPANSION, planes, 1) for _ in range(n_blocks - 1)))
