"""CLIP's text tower: token ids to an embedding comparable with those of images; [n_tokens] to [512].

Radford et al. 2021. The blocks are the visual tower's, in `clip_blocks.py`, with causal attention; weight names are
OpenAI's except for the fused attention layer and the projection, which are ordinary layers here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer.models.clip_blocks import Activation, Norm, stack_blocks
from trainer.models.clip_visual import EMBEDDING


@dataclass(frozen=True, slots=True)
class TextSizes:
    """Sizes of a text tower; by default those that go with ViT-B."""

    n_words: int = 49_408
    """Vocabulary size."""
    n_tokens: int = 77
    """Maximum sequence length, start and end tokens included."""
    width: int = 512
    """Width of a token, a multiple of the 64 of an attention head."""
    n_blocks: int = 12
    """Number of blocks."""
    embedding: int = EMBEDDING
    """Size of the output embedding."""


class ClipText(nn.Module):
    """Token embedding, causal transformer blocks, projection of the last token; the output is not normalised."""

    def __init__(self, *, activation: Activation = "quick_gelu", sizes: TextSizes | None = None) -> None:
        """Make a tower with fresh weights.

        Args:
            activation: The same as the visual tower's.
            sizes: Sizes of the tower; None: those that go with ViT-B.
        """
        super().__init__()
        self.sizes = sizes or TextSizes()
        width = self.sizes.width
        self.token_embedding = nn.Embedding(self.sizes.n_words, width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(self.sizes.n_tokens, width))
        self.transformer = stack_blocks(self.sizes.n_blocks, width, activation, causal=True)
        self.ln_final = Norm(width)
        self.proj = nn.Linear(width, self.sizes.embedding, bias=False)

    def forward(self, tokens: Tensor, lasts: Tensor) -> Tensor:
        """Embed sentences.

        Args:
            tokens: [n, n_tokens] int64; tokens after a sentence's last one are ignored.
            lasts: [n] int64, the position of each sentence's last token.

        Returns:
            [n, embedding], not normalised.
        """
        embedded = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        out = self.ln_final(self.transformer["resblocks"](embedded))
        embedding: Tensor = self.proj(out[torch.arange(len(out), device=out.device), lasts])
        return embedding

    @torch.no_grad()
    def embed(self, sentences: Sequence[Sequence[int]]) -> Tensor:
        """Embed tokenised sentences, start and end tokens included; returns [n, embedding]."""
        longest = max(len(sentence) for sentence in sentences)
        tokens = torch.tensor([[*sentence, *[0] * (longest - len(sentence))] for sentence in sentences])
        embedding: Tensor = self(tokens, torch.tensor([len(sentence) - 1 for sentence in sentences]))
        return embedding
