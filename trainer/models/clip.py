"""Answers from CLIP's embedding of a frame: by the names of the scenes alone, by a linear probe, or beside the sound.

In two parts, as they are exported: `encoder` (ViT-B/32) for one frame, `scene` for a window's embeddings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.clip_blocks import Activation
from trainer.models.clip_visual import EMBEDDING, ClipVisual
from trainer.models.resnet import ResnetClip
from trainer.models.se_visual import encode_frames

LOGIT_SCALE = 100.0
"""What the published encoders multiply cosines with: the exponential of their learned scale, capped at this."""
PLACES: Mapping[str, str] = MappingProxyType(
    {
        "airport": "an airport",
        "bus": "the inside of a bus",
        "metro": "the inside of an underground train",
        "metro_station": "a metro station",
        "park": "an urban park",
        "public_square": "a public square",
        "shopping_mall": "an indoor shopping mall",
        "street_pedestrian": "a pedestrian street",
        "street_traffic": "a street with traffic",
        "tram": "the inside of a tram",
    }
)
"""How a scene is called in a prompt. The wording of the published zero-shot system is unknown; this one is ours."""


def prompts(labels: Iterable[str]) -> list[str]:
    """What to hand to CLIP's text encoder, a sentence a label; a label of no known scene stands for itself."""
    return [f"a photo of {PLACES.get(label, label.replace('_', ' '))}" for label in labels]


class ClipZeroShot(nn.Module):
    """Cosine between a frame and the sentence of each label, scaled; training can change the scale, but no answer."""

    text: Tensor

    def __init__(self, text: Tensor, *, logit_scale: float = LOGIT_SCALE) -> None:
        """Make a head of sentences.

        Args:
            text: [n_labels, 512] embeddings of the sentences, of any length.
            logit_scale: What cosines are multiplied with.
        """
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(logit_scale)))
        self.register_buffer("text", functional.normalize(text, dim=1))

    def forward(self, embedding: Tensor) -> Tensor:
        """[n, 512] of any length to [n, n_labels] logits."""
        frame = embedding / torch.linalg.vector_norm(embedding, dim=1, keepdim=True)
        logits: Tensor = self.logit_scale.exp() * (frame @ self.text.T)
        return logits


class ClipProbe(nn.Linear):
    """A linear layer on the embedding as the encoder gives it, not normalised; [n, 512] to [n, n_labels] logits."""

    def __init__(self, n_labels: int = 10) -> None:
        super().__init__(EMBEDDING, n_labels)

    @torch.no_grad()
    def load(self, coefficients: Tensor, intercepts: Tensor) -> None:
        """Take over a multinomial logistic regression fitted elsewhere: [n_labels, 512] and [n_labels]."""
        self.weight.copy_(coefficients)
        self.bias.copy_(intercepts)


class ClipScene(nn.Module):
    """A head on the mean of a window's embeddings; published is one frame a window."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the head takes besides, and [n, n_frames, 512], to [n, n_labels] logits."""
        *others, embeddings = inputs
        logits: Tensor = self.head(*others, embeddings.mean(dim=1))
        return logits


class ClipFrames(nn.Module):
    """CLIP's visual tower and a head behind it; the published systems leave the tower as it is: freeze `encoder`."""

    def __init__(self, head: nn.Module, activation: Activation) -> None:
        super().__init__()
        self.encoder = ClipVisual(activation=activation)
        self.scene = ClipScene(head)

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the head takes besides, and [n, n_frames, 3, 224, 224] by CLIP's mean and spread, to logits."""
        *others, frames = inputs
        logits: Tensor = self.scene(*others, encode_frames(self.encoder, frames))
        return logits


def clip_zero_shot(n_labels: int = 10, *, activation: Activation = "quick_gelu") -> ClipFrames:
    """It needs weights for `encoder`, and for `scene.head` a tensor `text`: a sentence a row, labels in order.

    Args:
        n_labels: Length of the answer.
        activation: What the tower's weights want.
    """
    return ClipFrames(ClipZeroShot(torch.randn(n_labels, EMBEDDING)), activation)


def clip_probe(n_labels: int = 10, *, activation: Activation = "quick_gelu") -> ClipFrames:
    """One linear layer on the embedding.

    Args:
        n_labels: Length of the answer.
        activation: What the tower's weights want.
    """
    return ClipFrames(ClipProbe(n_labels), activation)


def resnet_clip(n_labels: int = 10, *, dropout: float = 0.5, activation: Activation = "quick_gelu") -> ClipFrames:
    """The audio-visual network of the PaddleAudio example; AudioSet's weights go to `scene.head.trunk`.

    Args:
        n_labels: Length of the answer.
        dropout: Part of the audio embedding dropped in training.
        activation: What the tower's weights want.
    """
    return ClipFrames(ResnetClip(n_labels, dropout=dropout), activation)
