"""The slim visual network: slim_av's frame encoder and a linear head; [n, n_frames, 3, height, width] to logits.

Consists of the two parts it is exported as: `encoder` for one frame, `scene` for the embeddings of a window's frames.
"""

from __future__ import annotations

from torch import Tensor, nn

from trainer.models.frame_encoder import EMBEDDING, FrameEncoder
from trainer.models.se_visual import encode_frames


class MeanFrame(nn.Module):
    """Mean over a window's frame embeddings, then one linear layer."""

    def __init__(self, n_labels: int = 10, *, dropout: float = 0.2) -> None:
        super().__init__()
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Linear(EMBEDDING, n_labels))

    def forward(self, embeddings: Tensor) -> Tensor:
        """[n, n_frames, 160] to [n, n_labels] logits."""
        logits: Tensor = self.classify(embeddings.mean(dim=1))
        return logits


class SlimVisual(nn.Module):
    """Visual network with `slim_av`'s encoder, for corpora without sound and for fusion with an audio network."""

    def __init__(self, n_labels: int = 10, *, dropout: float = 0.2) -> None:
        """Make a network with fresh weights.

        Args:
            n_labels: Number of labels.
            dropout: Dropout rate of the embedding.
        """
        super().__init__()
        self.encoder = FrameEncoder()
        self.scene = MeanFrame(n_labels, dropout=dropout)

    def forward(self, frames: Tensor) -> Tensor:
        """RGB frames [n, n_frames, 3, height, width], each plane about −1…1, to [n, n_labels] logits."""
        logits: Tensor = self.scene(encode_frames(self.encoder, frames))
        return logits
