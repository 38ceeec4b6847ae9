"""The sentences' half of CLIP: numbers of word pieces to an embedding beside those of pictures; [n_tokens] to [512].

Radford et al. 2021. Blocks are those of the picture's half, in `clip_blocks.py`, but that no token sees a later one;
names are OpenAI's but for the attention's joined layer and the projection, which are ordinary layers here.
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
    """Sizes of a tower; those that go with ViT-B."""

    n_words: int = 49_408
    """Word pieces."""
    n_tokens: int = 77
    """Of the longest sentence, its beginning and end included."""
    width: int = 512
    """Numbers a token; a head of attention takes 64 of them."""
    n_blocks: int = 12
    """Blocks."""
    embedding: int = EMBEDDING
    """Numbers of the answer."""


class ClipText(nn.Module):
    """Words, blocks of attention to what was said before, the last token's projection: not normalised."""

    def __init__(self, *, activation: Activation = "quick_gelu", sizes: TextSizes | None = None) -> None:
        """Make a tower with fresh weights.

        Args:
            activation: That of the picture's half.
            sizes: Of which tower; None: those that go with ViT-B.
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
            tokens: [n, n_tokens] int64; what follows a sentence's last one is not looked at.
            lasts: [n] int64, where the token is that ends each sentence.

        Returns:
            [n, embedding], of any length.
        """
        embedded = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        out = self.ln_final(self.transformer["resblocks"](embedded))
        embedding: Tensor = self.proj(out[torch.arange(len(out), device=out.device), lasts])
        return embedding

    @torch.no_grad()
    def embed(self, sentences: Sequence[Sequence[int]]) -> Tensor:
        """Embed sentences as the tokeniser gives them, from their first to their last token; [n, embedding]."""
        longest = max(len(sentence) for sentence in sentences)
        tokens = torch.tensor([[*sentence, *[0] * (longest - len(sentence))] for sentence in sentences])
        embedding: Tensor = self(tokens, torch.tensor([len(sentence) - 1 for sentence in sentences]))
        return embedding
