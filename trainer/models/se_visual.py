"""se_visual: five frames a second through VGG16, a GRU over what it says of them; [n, 5, 3, 224, 224] to logits.

In two parts, as it is exported: `encoder` for one frame, `scene` for the embeddings of five.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.models.initialise import keras_default
from trainer.models.vgg import EMBEDDING, GlobalPool, VggEncoder

N_FRAMES = 5
"""Frames of a window, at 5 a second."""
N_HIDDEN = 32
"""Of the GRU, each way."""
PENALTY = 1e-3
"""Weight of the squares of the last layer's weights in the loss."""


class VisualScene(nn.Module):
    """A GRU both ways over the frames, an answer at each, the mean of their probabilities."""

    def __init__(self, n_labels: int = 10, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.gru = nn.GRU(EMBEDDING, N_HIDDEN, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(2 * N_HIDDEN, n_labels)
        self.apply(keras_default)

    def forward(self, embeddings: Tensor) -> Tensor:
        """[n, n_frames, 512] to [n, n_labels] logits: logarithms of the mean probabilities."""
        steps, _ = self.gru(embeddings)
        return log_mean_probabilities(self.classify(self.dropout(steps)))

    def penalty(self) -> Tensor:
        """What the recipe adds to the loss."""
        return PENALTY * self.classify.weight.square().sum()


class SeVisual(nn.Module):
    """The visual network of the SE-CRNN systems; trained with its encoder frozen, then at 1e-6 with all of it."""

    def __init__(self, n_labels: int = 10, *, dropout: float = 0.5, pool: GlobalPool = "max") -> None:
        """Make a network with fresh weights.

        Args:
            n_labels: Length of the answer.
            dropout: Part of the GRU's answers dropped in training.
            pool: What stands for a channel of the encoder's map.
        """
        super().__init__()
        self.encoder = VggEncoder(pool=pool)
        self.scene = VisualScene(n_labels, dropout=dropout)

    def forward(self, frames: Tensor) -> Tensor:
        """[n, n_frames, 3, 224, 224] RGB, 0…255, to [n, n_labels] logits."""
        logits: Tensor = self.scene(encode_frames(self.encoder, frames))
        return logits

    def penalty(self) -> Tensor:
        """What the recipe adds to the loss."""
        return self.scene.penalty()


def encode_frames(encoder: nn.Module, frames: Tensor) -> Tensor:
    """[n, n_frames, 3, height, width] to [n, n_frames, n_numbers]: each frame by itself; embeddings stay."""
    if frames.dim() == 3:
        return frames
    embeddings: Tensor = encoder(frames.flatten(0, 1))
    return embeddings.reshape(frames.shape[0], frames.shape[1], -1)


def log_mean_probabilities(logits: Tensor) -> Tensor:
    """[n, n_steps, n_labels] to [n, n_labels]: the logarithm of the mean over steps of the softmax.

    The largest is taken out before the logarithm, so that a label that is hopeless at every step does not give −∞.
    """
    logarithms = torch.log_softmax(logits, dim=2)
    largest = logarithms.amax(dim=1)
    return torch.log(torch.exp(logarithms - largest[:, None]).mean(dim=1)) + largest
