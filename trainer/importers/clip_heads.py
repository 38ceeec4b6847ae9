"""Heads that turn CLIP's embeddings into scenes: sentences embedded at import, or a head fitted on a user's clips."""

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
"""Sentences embedded per batch."""


class SentenceScenes(nn.Module):
    """Scene scores: sentence probabilities averaged over a window's frames, non-scene places spread over all labels."""

    shares: Tensor

    def __init__(self, text: Tensor, n_labels: int, logit_scale: float) -> None:
        """Create the head.

        Args:
            text: [n_labels + n_others, E] text embeddings: the scenes in order, then places that are none of them.
            n_labels: Number of scenes.
            logit_scale: Factor applied to the cosines.
        """
        super().__init__()
        self.asked = ClipZeroShot(text, logit_scale=logit_scale)
        others = torch.full((len(text) - n_labels, n_labels), 1 / n_labels)
        self.register_buffer("shares", torch.cat([torch.eye(n_labels), others]))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map [n, n_frames, E] embeddings of any length to [n, n_labels] logarithms of scores that sum to 1."""
        n, n_frames, size = embeddings.shape
        asked = torch.softmax(self.asked(embeddings.reshape(n * n_frames, size)), dim=1)
        scores = asked.reshape(n, n_frames, -1).mean(dim=1) @ self.shares
        return torch.log(torch.clamp(scores, min=1e-30))


class UnitFrames(nn.Module):
    """Mean of a window's frame embeddings, each normalised to length 1 first."""

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map [n, n_frames, E] embeddings of any length to [n, E]."""
        unit: Tensor = embeddings / torch.linalg.vector_norm(embeddings, dim=2, keepdim=True)
        return unit.mean(dim=1)


class FittedScenes(nn.Module):
    """A linear head on `UnitFrames`."""

    def __init__(self, head: FittedHead) -> None:
        super().__init__()
        self.unit = UnitFrames()
        self.scenes = layer_of(head)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map [n, n_frames, E] embeddings of any length to [n, n_labels] logits."""
        logits: Tensor = self.scenes(self.unit(embeddings))
        return logits


def embed_prompts(prompts: Prompts, vocabulary: Vocabulary, text: ClipText) -> Tensor:
    """Embed each scene and each non-scene place: the mean of its sentences' embeddings, each normalised to length 1.

    Args:
        prompts: The sentences.
        vocabulary: Tokeniser for them.
        text: The text tower.

    Returns:
        [n_labels + n_others, E], normalised to length 1.

    Raises:
        ConfigError: A sentence is too long.
    """
    rows = []
    for sentences in (*prompts.scenes.values(), *prompts.others):
        numbers = [vocabulary.encode(sentence, text.sizes.n_tokens) for sentence in sentences]
        parts = [text.embed(numbers[start : start + _AT_ONCE]) for start in range(0, len(numbers), _AT_ONCE)]
        rows.append(functional.normalize(torch.cat(parts), dim=1).mean(dim=0))
    return functional.normalize(torch.stack(rows), dim=1)
