"""Scene logits from CLIP's frame embedding: zero-shot from the label names, by a linear probe, or fused with sound.

Each network has the two parts it is exported as: `encoder` (ViT-B/32) for one frame, `scene` for a window's embeddings.
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
"""Factor on cosine similarities in the published encoders: the exponential of their learned scale, capped at this."""
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
"""Wording for each scene in a prompt. The published zero-shot system's wording is unknown; this one is ours."""


def prompts(labels: Iterable[str]) -> list[str]:
    """Build one sentence per label for CLIP's text encoder; an unknown label is used as its own wording."""
    return [f"a photo of {PLACES.get(label, label.replace('_', ' '))}" for label in labels]


class ClipZeroShot(nn.Module):
    """Scaled cosine similarity of a frame to each label's sentence; training can change the scale, but no decision."""

    text: Tensor

    def __init__(self, text: Tensor, *, logit_scale: float = LOGIT_SCALE) -> None:
        """Build the head from sentence embeddings.

        Args:
            text: [n_labels, 512] embeddings of the sentences, of any norm.
            logit_scale: Factor on the cosine similarities.
        """
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(logit_scale)))
        self.register_buffer("text", functional.normalize(text, dim=1))

    def forward(self, embedding: Tensor) -> Tensor:
        """Embeddings [n, 512] of any norm to [n, n_labels] logits."""
        frame = embedding / torch.linalg.vector_norm(embedding, dim=1, keepdim=True)
        logits: Tensor = self.logit_scale.exp() * (frame @ self.text.T)
        return logits


class ClipProbe(nn.Linear):
    """A linear layer on the encoder's unnormalised embedding; [n, 512] to [n, n_labels] logits."""

    def __init__(self, n_labels: int = 10) -> None:
        super().__init__(EMBEDDING, n_labels)

    @torch.no_grad()
    def load(self, coefficients: Tensor, intercepts: Tensor) -> None:
        """Load a multinomial logistic regression fitted elsewhere: [n_labels, 512] and [n_labels]."""
        self.weight.copy_(coefficients)
        self.bias.copy_(intercepts)


class ClipScene(nn.Module):
    """A head on the mean of a window's frame embeddings; the published systems use one frame per window."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, *inputs: Tensor) -> Tensor:
        """The head's other inputs, if any, and embeddings [n, n_frames, 512], to [n, n_labels] logits."""
        *others, embeddings = inputs
        logits: Tensor = self.head(*others, embeddings.mean(dim=1))
        return logits


class ClipFrames(nn.Module):
    """CLIP's visual tower and a head; the published systems do not train the tower: freeze `encoder`."""

    def __init__(self, head: nn.Module, activation: Activation) -> None:
        super().__init__()
        self.encoder = ClipVisual(activation=activation)
        self.scene = ClipScene(head)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The head's other inputs, if any, and frames [n, n_frames, 3, 224, 224] in CLIP's normalisation, to logits."""
        *others, frames = inputs
        logits: Tensor = self.scene(*others, encode_frames(self.encoder, frames))
        return logits


def clip_zero_shot(n_labels: int = 10, *, activation: Activation = "quick_gelu") -> ClipFrames:
    """Needs weights for `encoder`, and a tensor `text` for `scene.head` with one sentence per row, in label order.

    Args:
        n_labels: Number of labels.
        activation: The activation that the tower's weights were trained with.
    """
    return ClipFrames(ClipZeroShot(torch.randn(n_labels, EMBEDDING)), activation)


def clip_probe(n_labels: int = 10, *, activation: Activation = "quick_gelu") -> ClipFrames:
    """A linear probe on the embedding.

    Args:
        n_labels: Number of labels.
        activation: The activation that the tower's weights were trained with.
    """
    return ClipFrames(ClipProbe(n_labels), activation)


def resnet_clip(n_labels: int = 10, *, dropout: float = 0.5, activation: Activation = "quick_gelu") -> ClipFrames:
    """The audio-visual network of the PaddleAudio example; AudioSet weights load into `scene.head.trunk`.

    Args:
        n_labels: Number of labels.
        dropout: Dropout rate of the audio embedding.
        activation: The activation that the tower's weights were trained with.
    """
    return ClipFrames(ResnetClip(n_labels, dropout=dropout), activation)
