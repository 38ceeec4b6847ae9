"""The slim audio-visual network: slim_audio, a slim frame encoder, and a gate that says how far to trust either.

In two parts, as it is exported: `encoder` for one frame, `scene` for a window's features, its frames' embeddings, and
flags that say which of both are there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainer.models.frame_encoder import EMBEDDING, FrameEncoder
from trainer.models.se_visual import encode_frames
from trainer.models.slim_audio import SlimAudio

N_HIDDEN = 32
"""Of the gate."""


class Answers(NamedTuple):
    """Logits of a window by everything that is there, and by either modality alone; [n, n_labels] each."""

    fused: Tensor
    """By what is there."""
    audio: Tensor
    """By the sound alone; worth nothing where there is none."""
    video: Tensor
    """By the frames alone; worth nothing where there are none."""


class SlimAv(nn.Module):
    """Both modalities, either of which may be missing."""

    def __init__(self, n_labels: int = 10, *, n_channels: int = 1, dropout: float = 0.2) -> None:
        """Make a network with fresh weights.

        Args:
            n_labels: Length of the answers.
            n_channels: Of the features.
            dropout: Part of either embedding dropped in training before its answer.
        """
        super().__init__()
        self.encoder = FrameEncoder()
        self.scene = SlimAvScene(n_labels, n_channels=n_channels, dropout=dropout)

    def forward(self, features: Tensor, frames: Tensor, presence: Tensor) -> Answers:
        """[n, n_channels, n_mels, n_hops], [n, n_frames, 3, h, w] and [n, 2] flags, sound first, to the answers."""
        answers: Answers = self.scene(features, encode_frames(self.encoder, frames), presence)
        return answers


class SlimAvScene(nn.Module):
    """Everything behind the frame encoder.

    Each modality answers by itself. The fused answer is the sum of both logits, each weighed from 0 to 2: a product of
    experts (Hinton, 2002), p ∝ p_audio^a · p_video^v, exact at a = v = 1 where sound and picture are independent given
    the scene, and the gate's to correct where they are not or where one of them is doubtful. With one modality missing
    the weight of the other is 1: the fused answer is that head's answer, and nothing of the missing one enters it.
    """

    def __init__(self, n_labels: int = 10, *, n_channels: int = 1, dropout: float = 0.2) -> None:
        super().__init__()
        self.audio = SlimAudio(n_labels, n_channels=n_channels, dropout=dropout)
        self.video = nn.Sequential(nn.Dropout(dropout), nn.Linear(EMBEDDING, n_labels))
        self.gate = Gate(self.audio.embedding_size, EMBEDDING)

    def forward(self, features: Tensor, embeddings: Tensor, presence: Tensor) -> Answers:
        """[n, n_channels, n_mels, n_hops], [n, n_frames, 160] and [n, 2] flags to the answers."""
        heard, seen = self.audio.embed(features), embeddings.mean(dim=1)
        audio, video = self.audio.answer(heard), self.video(seen)
        has_audio, has_video = torch.split(presence, 1, dim=1)
        trust = self.gate(heard, seen, _doubt(audio), _doubt(video))
        weights = presence * (1 + _present(trust, has_audio * has_video))
        by_audio, by_video = torch.split(weights, 1, dim=1)
        fused = by_audio * _present(audio, has_audio) + by_video * _present(video, has_video)
        return Answers(fused, audio, video)


class Gate(nn.Module):
    """How much more or less than 1 either answer weighs beside the other: by both embeddings and either's doubts."""

    def __init__(self, n_audio: int, n_video: int) -> None:
        super().__init__()
        last = nn.Linear(N_HIDDEN, 2)
        self.layers = nn.Sequential(nn.Linear(n_audio + n_video + 2, N_HIDDEN), nn.ReLU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, heard: Tensor, seen: Tensor, audio_doubt: Tensor, video_doubt: Tensor) -> Tensor:
        """[n, n_audio], [n, n_video], [n, 1] and [n, 1] to [n, 2], −1…1: nothing at the start of training."""
        return torch.tanh(self.layers(torch.cat([heard, seen, audio_doubt, video_doubt], dim=1)))


def _present(numbers: Tensor, flag: Tensor) -> Tensor:
    """The numbers where the flag is set, zeros elsewhere, whatever stood there: not a product, as NaN · 0 is NaN."""
    return torch.where(flag > 0, numbers, 0.0)


def _doubt(logits: Tensor) -> Tensor:
    """[n, n_labels] to [n, 1]: entropy in nats. The gate learns from it, but an answer is not shaped to please it."""
    logarithms = torch.log_softmax(logits.detach(), dim=1)
    return -(torch.exp(logarithms) * logarithms).sum(dim=1, keepdim=True)
