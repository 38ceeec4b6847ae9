"""The slim audio-visual network: slim_audio, a slim frame encoder, and a gate that weights the two modalities.

Consists of the two parts it is exported as: `encoder` for one frame, `scene` for a window's features, its frames'
embeddings, and flags for the modalities that are present.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainer.models.frame_encoder import EMBEDDING, FrameEncoder
from trainer.models.se_visual import encode_frames
from trainer.models.slim_audio import SlimAudio

N_HIDDEN = 32
"""Hidden units of the gate."""


class Answers(NamedTuple):
    """Logits of a window, fused and for each modality alone; [n, n_labels] each."""

    fused: Tensor
    """From the modalities that are present."""
    audio: Tensor
    """From the sound alone; meaningless if it is absent."""
    video: Tensor
    """From the frames alone; meaningless if they are absent."""


class SlimAv(nn.Module):
    """Audio-visual network in which either modality may be missing."""

    def __init__(self, n_labels: int = 10, *, n_channels: int = 1, dropout: float = 0.2) -> None:
        """Make a network with fresh weights.

        Args:
            n_labels: Number of labels.
            n_channels: Number of feature channels.
            dropout: Dropout rate of each embedding before its classifier.
        """
        super().__init__()
        self.encoder = FrameEncoder()
        self.scene = SlimAvScene(n_labels, n_channels=n_channels, dropout=dropout)

    def forward(self, features: Tensor, frames: Tensor, presence: Tensor) -> Answers:
        """Map a window's inputs to the answers.

        Args:
            features: [n, n_channels, n_mels, n_hops].
            frames: [n, n_frames, 3, height, width].
            presence: [n, 2] flags, audio first.
        """
        answers: Answers = self.scene(features, encode_frames(self.encoder, frames), presence)
        return answers


class SlimAvScene(nn.Module):
    """Everything after the frame encoder.

    Each modality has its own logits. The fused logits are their sum, each weighted from 0 to 2: a product of experts
    (Hinton, 2002), p ∝ p_audio^a · p_video^v, which is exact at a = v = 1 if sound and image are independent given the
    scene; the gate corrects for dependence and for doubtful modalities. If one modality is missing, the other's weight
    is 1: the fused answer is that head's answer, unaffected by the missing input.
    """

    def __init__(self, n_labels: int = 10, *, n_channels: int = 1, dropout: float = 0.2) -> None:
        super().__init__()
        self.audio = SlimAudio(n_labels, n_channels=n_channels, dropout=dropout)
        self.video = nn.Sequential(nn.Dropout(dropout), nn.Linear(EMBEDDING, n_labels))
        self.gate = Gate(self.audio.embedding_size, EMBEDDING)

    def forward(self, features: Tensor, embeddings: Tensor, presence: Tensor) -> Answers:
        """Features [n, n_channels, n_mels, n_hops], embeddings [n, n_frames, 160] and flags [n, 2] to the answers."""
        heard, seen = self.audio.embed(features), embeddings.mean(dim=1)
        audio, video = self.audio.answer(heard), self.video(seen)
        has_audio, has_video = torch.split(presence, 1, dim=1)
        trust = self.gate(heard, seen, _doubt(audio), _doubt(video))
        weights = presence * (1 + _present(trust, has_audio * has_video))
        by_audio, by_video = torch.split(weights, 1, dim=1)
        fused = by_audio * _present(audio, has_audio) + by_video * _present(video, has_video)
        return Answers(fused, audio, video)


class Gate(nn.Module):
    """Offsets from weight 1 for both modalities' logits, from both embeddings and both heads' entropies."""

    def __init__(self, n_audio: int, n_video: int) -> None:
        super().__init__()
        last = nn.Linear(N_HIDDEN, 2)
        self.layers = nn.Sequential(nn.Linear(n_audio + n_video + 2, N_HIDDEN), nn.ReLU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, heard: Tensor, seen: Tensor, audio_doubt: Tensor, video_doubt: Tensor) -> Tensor:
        """[n, n_audio], [n, n_video], [n, 1] and [n, 1] to [n, 2], −1…1; zero at the start of training."""
        return torch.tanh(self.layers(torch.cat([heard, seen, audio_doubt, video_doubt], dim=1)))


def _present(numbers: Tensor, flag: Tensor) -> Tensor:
    """Values where the flag is set, else zeros; not a product, as NaN · 0 is NaN."""
    return torch.where(flag > 0, numbers, 0.0)


def _doubt(logits: Tensor) -> Tensor:
    """[n, n_labels] to [n, 1]: entropy in nats, with gradients stopped, so that the gate does not shape the heads."""
    logarithms = torch.log_softmax(logits.detach(), dim=1)
    return -(torch.exp(logarithms) * logarithms).sum(dim=1, keepdim=True)
