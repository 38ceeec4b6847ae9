"""se_crnn: the audio and the visual network of the SE-CRNN systems, joined early and late.

In two parts, as it is exported: `encoder` for one frame, `scene` for a window's features and its frames' embeddings.
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
"""Of the fusion's GRU, each way."""
Fusion = Literal["early", "late"]


class Answers(NamedTuple):
    """Logits of a window by everything there is, and by either modality alone; [n, n_labels] each."""

    fused: Tensor
    """By both."""
    audio: Tensor
    """By the audio network alone."""
    video: Tensor
    """By the visual network alone."""


class SeCrnnScene(nn.Module):
    """Everything behind the frame encoder.

    Early: the audio network's last maps, averaged over bands and pooled to five steps, beside the five embeddings,
    through a GRU both ways. Late: one linear layer on the *probabilities* of the early answer, of the audio network
    and of the visual network.
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
        """[n, 3, 64, 50] and [n, 5, 512] to the answers."""
        maps = self.audio.maps(features)
        audio, video = self.audio.answer(maps), self.visual(embeddings)
        fused = self.early_logits(maps, embeddings)
        if self.fusion == "late":
            answers = [torch.softmax(logits, dim=1) for logits in (fused, audio, video)]
            fused = self.late(torch.cat(answers, dim=1))
        return Answers(fused, audio, video)

    def early_logits(self, maps: Tensor, embeddings: Tensor) -> Tensor:
        """[n, 128, 64, 12] maps of the audio network and [n, 5, 512] embeddings to [n, n_labels]."""
        steps = audio_steps(maps).transpose(1, 2)
        joined, _ = self.gru(torch.cat([steps, embeddings], dim=2))
        logits: Tensor = self.early(joined.mean(dim=1))
        return logits

    def fusion_layers(self) -> list[nn.Module]:
        """What joins the two networks: new when they are already trained."""
        return [self.gru, self.early, self.late]


class SeCrnn(nn.Module):
    """The audio-visual SE-CRNN system; configs/se_crnn.toml has the steps it is trained in."""

    def __init__(self, n_labels: int = 10, *, fusion: Fusion = "late", pool: GlobalPool = "max") -> None:
        """Make a network with fresh weights.

        Args:
            n_labels: Length of the answer.
            fusion: Whether the answer is the early one, or the late one on top of it.
            pool: What stands for a channel of the encoder's map.
        """
        super().__init__()
        self.encoder = VggEncoder(pool=pool)
        self.scene = SeCrnnScene(n_labels, fusion=fusion)

    def forward(self, features: Tensor, frames: Tensor) -> Answers:
        """[n, 3, 64, 50] gammatone or log-mel, −1…1, and [n, 5, 3, 224, 224] RGB, 0…255, to the answers."""
        answers: Answers = self.scene(features, encode_frames(self.encoder, frames))
        return answers

    def penalty(self) -> Tensor:
        """What the recipe adds to the loss: the visual network's."""
        return self.scene.visual.penalty()

    def alone(self, answer: str, features: Tensor, frames: Tensor) -> Tensor:
        """Logits of one modality's network, without the work of the other: most steps train one of them.

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
    """[n, 128, n_bands, 12] to [n, 128, 5]: mean over bands, then over three hops every two."""
    return functional.avg_pool1d(maps.mean(dim=2), 3, stride=2)
