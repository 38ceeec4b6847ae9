"""What makes scenes of CLIP's embeddings: sentences embedded at import, or a head fitted on a user's clips."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.importers.clip_prompts import Prompts
from trainer.importers.clip_tokens import Vocabulary
from trainer.importers.fitted import FittedHead, layer_of
from trainer.models.clip import ClipZeroShot
from trainer.models.clip_text import ClipText

_AT_ONCE = 64
"""Sentences."""


class SentenceScenes(nn.Module):
    """Probabilities of sentences, averaged over a window's frames, as scenes; no scene's are spread over all."""

    shares: Tensor

    def __init__(self, text: Tensor, n_labels: int, logit_scale: float) -> None:
        """Make a head of sentences.

        Args:
            text: [n_labels + n_others, E] of the scenes in order, then of places that are none of them.
            n_labels: How many scenes there are.
            logit_scale: What cosines are multiplied with.
        """
        super().__init__()
        self.asked = ClipZeroShot(text, logit_scale=logit_scale)
        others = torch.full((len(text) - n_labels, n_labels), 1 / n_labels)
        self.register_buffer("shares", torch.cat([torch.eye(n_labels), others]))

    def forward(self, embeddings: Tensor) -> Tensor:
        """[n, n_frames, E] of any length to [n, n_labels] logarithms of scores that sum to 1."""
        n, n_frames, size = embeddings.shape
        asked = torch.softmax(self.asked(embeddings.reshape(n * n_frames, size)), dim=1)
        scores = asked.reshape(n, n_frames, -1).mean(dim=1) @ self.shares
        return torch.log(torch.clamp(scores, min=1e-30))


class UnitFrames(nn.Module):
    """A window's frames as one vector: the mean of their embeddings, each of length 1."""

    def forward(self, embeddings: Tensor) -> Tensor:
        """[n, n_frames, E] of any length to [n, E]."""
        unit: Tensor = embeddings / torch.linalg.vector_norm(embeddings, dim=2, keepdim=True)
        return unit.mean(dim=1)


class FittedScenes(nn.Module):
    """A linear head on `UnitFrames`."""

    def __init__(self, head: FittedHead) -> None:
        super().__init__()
        self.unit = UnitFrames()
        self.scenes = layer_of(head)

    def forward(self, embeddings: Tensor) -> Tensor:
        """[n, n_frames, E] of any length to [n, n_labels] logits."""
        logits: Tensor = self.scenes(self.unit(embeddings))
        return logits


def embed_prompts(prompts: Prompts, vocabulary: Vocabulary, text: ClipText) -> Tensor:
    """What each scene, and each place that is none, is in CLIP's space: the mean of its sentences, each of length 1.

    Args:
        prompts: The sentences.
        vocabulary: Their word pieces.
        text: The tower that reads them.

    Returns:
        [n_labels + n_others, E], of length 1.

    Raises:
        ConfigError: A sentence is too long.
    """
    rows = []
    for sentences in (*prompts.scenes.values(), *prompts.others):
        numbers = [vocabulary.encode(sentence, text.sizes.n_tokens) for sentence in sentences]
        parts = [text.embed(numbers[start : start + _AT_ONCE]) for start in range(0, len(numbers), _AT_ONCE)]
        rows.append(functional.normalize(torch.cat(parts), dim=1).mean(dim=0))
    return functional.normalize(torch.stack(rows), dim=1)
