"""baseline_1b: the DCASE 2021 task 1B baselines on OpenL3 embeddings: single-modality, early fusion, late fusion."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.models.freezing import train_only

EMBEDDING = 512
"""Size of an OpenL3 embedding, of a frame or of a tenth of a second of sound."""
WIDTHS = (512, 128, 64)
FUSED = 128
"""Width of the layer that fuses two trained networks."""
DROPOUT = 0.2


class Baseline1b(nn.Module):
    """Linear layers with BatchNorm between them, from standardised embeddings [n, n_in] to logits."""

    def __init__(self, n_labels: int = 10, *, n_in: int = EMBEDDING) -> None:
        """Make a network with fresh weights.

        Args:
            n_labels: Number of labels.
            n_in: 512 for one modality, 1024 for both at once.
        """
        super().__init__()
        first, second, third = WIDTHS
        self.enter = nn.Sequential(nn.Linear(n_in, first), *_activated(first), nn.Linear(first, second))
        self.leave = nn.Sequential(
            *_activated(second), nn.Linear(second, third), *_activated(third), nn.Linear(third, n_labels)
        )

    def forward(self, embeddings: Tensor) -> Tensor:
        """[n, n_in] to [n, n_labels] logits."""
        logits: Tensor = self.leave(self.enter(embeddings))
        return logits


class Baseline1bFusion(nn.Module):
    """Two trained networks, frozen and cut after their second linear layer, then two bare linear layers."""

    def __init__(self, audio: Baseline1b, video: Baseline1b, n_labels: int = 10) -> None:
        """Join two networks; the layers taken from them are shared, not copied, and frozen.

        Args:
            audio: Network trained on sound embeddings.
            video: Network trained on frame embeddings.
            n_labels: Number of labels.
        """
        super().__init__()
        self.audio, self.video = audio.enter, video.enter
        self.join = nn.Sequential(nn.Linear(2 * WIDTHS[1], FUSED), nn.Linear(FUSED, n_labels))
        train_only(self, [self.join])

    def forward(self, audio: Tensor, video: Tensor) -> Tensor:
        """Sound and frame embeddings, [n, 512] each, to [n, n_labels] logits."""
        logits: Tensor = self.join(torch.cat([self.audio(audio), self.video(video)], dim=1))
        return logits


def baseline_1b_early(n_labels: int = 10) -> Baseline1b:
    """Early fusion: both embeddings of one second concatenated, [n, 1024], to logits."""
    return Baseline1b(n_labels, n_in=2 * EMBEDDING)


def baseline_1b_fusion(n_labels: int = 10) -> Baseline1bFusion:
    """The published fusion, with fresh weights in both branches: train them or load their weights first."""
    return Baseline1bFusion(Baseline1b(n_labels), Baseline1b(n_labels), n_labels)


def _activated(width: int) -> list[nn.Module]:
    """BatchNorm, ReLU and dropout after a hidden linear layer."""
    return [nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(DROPOUT)]
