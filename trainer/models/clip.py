"""Answers from CLIP's embedding of one frame: by the names of the scenes alone, or by a linear probe.

The encoder itself (ViT-B/32, 512 numbers) is not built here: its embeddings are the input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

EMBEDDING = 512
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
    """Cosine between a frame and the sentence of each label, scaled; nothing to train."""

    text: Tensor

    def __init__(self, text: Tensor, *, logit_scale: float = LOGIT_SCALE) -> None:
        """Make a head of sentences.

        Args:
            text: [n_labels, 512] embeddings of the sentences, of any length.
            logit_scale: What cosines are multiplied with.
        """
        super().__init__()
        self.logit_scale = logit_scale
        self.register_buffer("text", functional.normalize(text, dim=1))

    def forward(self, embedding: Tensor) -> Tensor:
        """[n, 512] of any length to [n, n_labels] logits."""
        frame = embedding / torch.linalg.vector_norm(embedding, dim=1, keepdim=True)
        logits: Tensor = self.logit_scale * (frame @ self.text.T)
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
