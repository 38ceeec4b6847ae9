"""baseline_1b: the challenge's own networks on OpenL3 embeddings: one modality, both at the input, both at the end."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.models.freezing import train_only

EMBEDDING = 512
"""Numbers that OpenL3 gives for a frame or for a tenth of a second of sound."""
WIDTHS = (512, 128, 64)
FUSED = 128
"""Width of the layer that joins two trained networks."""
DROPOUT = 0.2


class Baseline1b(nn.Module):
    """Linear layers with normalisations between; [n, n_in] embeddings, standardised, to logits."""

    def __init__(self, n_labels: int = 10, *, n_in: int = EMBEDDING) -> None:
        """Make a network with fresh weights.

        Args:
            n_labels: Length of the answer.
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
    """Two trained networks up to their second linear layer, frozen, and two linear layers with nothing between."""

    def __init__(self, audio: Baseline1b, video: Baseline1b, n_labels: int = 10) -> None:
        """Join two networks; what is taken of them is shared and frozen.

        Args:
            audio: Trained on the embeddings of sounds.
            video: Trained on those of frames.
            n_labels: Length of the answer.
        """
        super().__init__()
        self.audio, self.video = audio.enter, video.enter
        self.join = nn.Sequential(nn.Linear(2 * WIDTHS[1], FUSED), nn.Linear(FUSED, n_labels))
        train_only(self, [self.join])

    def forward(self, audio: Tensor, video: Tensor) -> Tensor:
        """[n, 512] embeddings of sound and of a frame to [n, n_labels] logits."""
        logits: Tensor = self.join(torch.cat([self.audio(audio), self.video(video)], dim=1))
        return logits


def baseline_1b_early(n_labels: int = 10) -> Baseline1b:
    """Both embeddings of a second beside each other: [n, 1024] to logits."""
    return Baseline1b(n_labels, n_in=2 * EMBEDDING)


def baseline_1b_fusion(n_labels: int = 10) -> Baseline1bFusion:
    """The proposed fusion of two networks with fresh weights; train or load those first."""
    return Baseline1bFusion(Baseline1b(n_labels), Baseline1b(n_labels), n_labels)


def _activated(width: int) -> list[nn.Module]:
    """What follows a hidden linear layer."""
    return [nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(DROPOUT)]
