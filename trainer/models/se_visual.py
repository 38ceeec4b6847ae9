"""se_visual: five frames per second through VGG16 and a GRU over their embeddings; [n, 5, 3, 224, 224] to logits.

Consists of the two parts it is exported as: `encoder` for one frame, `scene` for the embeddings of five.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.models.initialise import keras_default
from trainer.models.vgg import EMBEDDING, GlobalPool, VggEncoder

N_FRAMES = 5
"""Frames per window, at 5 per second."""
N_HIDDEN = 32
"""Hidden units of the GRU, per direction."""
PENALTY = 1e-3
"""L2 penalty on the last layer's weights."""


class VisualScene(nn.Module):
    """A bidirectional GRU over the frames, logits at each, and the mean of their probabilities."""

    def __init__(self, n_labels: int = 10, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.gru = nn.GRU(EMBEDDING, N_HIDDEN, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(2 * N_HIDDEN, n_labels)
        self.apply(keras_default)

    def forward(self, embeddings: Tensor) -> Tensor:
        """[n, n_frames, 512] to [n, n_labels] logits, the logarithms of the mean probabilities."""
        steps, _ = self.gru(embeddings)
        return log_mean_probabilities(self.classify(self.dropout(steps)))

    def penalty(self) -> Tensor:
        """The regularisation term that the recipe adds to the loss."""
        return PENALTY * self.classify.weight.square().sum()


class SeVisual(nn.Module):
    """The visual network of the SE-CRNN systems; first trained with a frozen encoder, then as a whole at 1e-6."""

    def __init__(self, n_labels: int = 10, *, dropout: float = 0.5, pool: GlobalPool = "max") -> None:
        """Make a network with fresh weights.

        Args:
            n_labels: Number of labels.
            dropout: Dropout rate of the GRU's answers.
            pool: How each channel of the encoder's map is pooled to one value.
        """
        super().__init__()
        self.encoder = VggEncoder(pool=pool)
        self.scene = VisualScene(n_labels, dropout=dropout)

    def forward(self, frames: Tensor) -> Tensor:
        """RGB frames [n, n_frames, 3, 224, 224], 0…255, to [n, n_labels] logits."""
        logits: Tensor = self.scene(encode_frames(self.encoder, frames))
        return logits

    def penalty(self) -> Tensor:
        """The regularisation term that the recipe adds to the loss."""
        return self.scene.penalty()


def encode_frames(encoder: nn.Module, frames: Tensor) -> Tensor:
    """Encode frames [n, n_frames, 3, height, width] to [n, n_frames, E]; input that is already encoded is returned."""
    if frames.dim() == 3:
        return frames
    embeddings: Tensor = encoder(frames.flatten(0, 1))
    return embeddings.reshape(frames.shape[0], frames.shape[1], -1)


def log_mean_probabilities(logits: Tensor) -> Tensor:
    """[n, n_steps, n_labels] to [n, n_labels]: logarithm of the softmax averaged over steps.

    The maximum is factored out, as in log-sum-exp, so that a label of tiny probability at every step does not give −∞.
    """
    logarithms = torch.log_softmax(logits, dim=2)
    largest = logarithms.amax(dim=1)
    return torch.log(torch.exp(logarithms - largest[:, None]).mean(dim=1)) + largest
