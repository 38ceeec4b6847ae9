"""se_crnn: the audio and visual networks of the SE-CRNN systems, with early and late fusion.

Consists of the two parts it is exported as: `encoder` for one frame, `scene` for a window's features and its frames'
embeddings.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.initialise import keras_default
from trainer.models.se_audio import WIDTHS, SeAudio
from trainer.models.se_visual import VisualScene, encode_frames
from trainer.models.vgg import EMBEDDING, GlobalPool, VggEncoder

N_HIDDEN = 64
"""Hidden units of the fusion GRU, per direction."""
Fusion = Literal["early", "late"]


class Answers(NamedTuple):
    """Logits of a window, fused and for each modality alone; [n, n_labels] each."""

    fused: Tensor
    """From both modalities."""
    audio: Tensor
    """From the audio network alone."""
    video: Tensor
    """From the visual network alone."""


class SeCrnnScene(nn.Module):
    """Everything after the frame encoder.

    Early fusion: the audio network's last maps, averaged over bands and pooled to five steps, are concatenated with the
    five frame embeddings and passed through a bidirectional GRU. Late fusion: one linear layer on the *probabilities*
    of the early fusion, of the audio network and of the visual network.
    """

    def __init__(self, n_labels: int = 10, *, fusion: Fusion = "late") -> None:
        super().__init__()
        self.audio = SeAudio(n_labels)
        self.visual = VisualScene(n_labels)
        self.gru = nn.GRU(WIDTHS[-1] + EMBEDDING, N_HIDDEN, batch_first=True, bidirectional=True)
        self.early = nn.Linear(2 * N_HIDDEN, n_labels)
        self.fusion = fusion
        self.late: nn.Module = nn.Linear(3 * n_labels, n_labels) if fusion == "late" else nn.Identity()
        for layer in self.fusion_layers():
            keras_default(layer)

    def forward(self, features: Tensor, embeddings: Tensor) -> Answers:
        """Features [n, 3, 64, 50] and embeddings [n, 5, 512] to the answers."""
        maps = self.audio.maps(features)
        audio, video = self.audio.answer(maps), self.visual(embeddings)
        fused = self.early_logits(maps, embeddings)
        if self.fusion == "late":
            answers = [torch.softmax(logits, dim=1) for logits in (fused, audio, video)]
            fused = self.late(torch.cat(answers, dim=1))
        return Answers(fused, audio, video)

    def early_logits(self, maps: Tensor, embeddings: Tensor) -> Tensor:
        """Audio maps [n, 128, 64, 12] and embeddings [n, 5, 512] to [n, n_labels] logits."""
        steps = audio_steps(maps).transpose(1, 2)
        joined, _ = self.gru(torch.cat([steps, embeddings], dim=2))
        logits: Tensor = self.early(joined.mean(dim=1))
        return logits

    def fusion_layers(self) -> list[nn.Module]:
        """The layers that join the two networks; freshly initialised when those are already trained."""
        return [self.gru, self.early, self.late]


class SeCrnn(nn.Module):
    """The audio-visual SE-CRNN system; configs/se_crnn.toml lists its training steps."""

    def __init__(self, n_labels: int = 10, *, fusion: Fusion = "late", pool: GlobalPool = "max") -> None:
        """Make a network with fresh weights.

        Args:
            n_labels: Number of labels.
            fusion: Whether the fused answer is the early one, or the late one built on it.
            pool: How each channel of the encoder's map is pooled to one value.
        """
        super().__init__()
        self.encoder = VggEncoder(pool=pool)
        self.scene = SeCrnnScene(n_labels, fusion=fusion)

    def forward(self, features: Tensor, frames: Tensor) -> Answers:
        """Gammatone or log-mel [n, 3, 64, 50], −1…1, and RGB frames [n, 5, 3, 224, 224], 0…255, to the answers."""
        answers: Answers = self.scene(features, encode_frames(self.encoder, frames))
        return answers

    def penalty(self) -> Tensor:
        """The recipe's regularisation term, which is the visual network's."""
        return self.scene.visual.penalty()

    def alone(self, answer: str, features: Tensor, frames: Tensor) -> Tensor:
        """Logits of one modality's network, without running the other: most training steps train only one.

        Args:
            answer: "audio" or "video".
            features: [n, 3, 64, 50].
            frames: [n, 5, 3, 224, 224].
        """
        if answer == "audio":
            logits: Tensor = self.scene.audio(features)
        else:
            logits = self.scene.visual(encode_frames(self.encoder, frames))
        return logits


def audio_steps(maps: Tensor) -> Tensor:
    """[n, 128, n_bands, 12] to [n, 128, 5]: mean over bands, then over three hops at a stride of two."""
    return functional.avg_pool1d(maps.mean(dim=2), 3, stride=2)
