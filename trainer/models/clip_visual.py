"""CLIP's visual tower, ViT-B/32 unless other sizes are given; [n, 3, 224, 224] to [n, 512].

Radford et al. 2021, after Dosovitskiy et al. 2020. Weight names are OpenAI's except for the fused attention layer and
the projection, which are ordinary layers here; the text tower is in `clip_text.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer.models.clip_blocks import Activation, Norm, stack_blocks

EMBEDDING = 512
"""Size of the joint image and text embedding, in ViT-B."""


@dataclass(frozen=True, slots=True)
class VisualSizes:
    """Sizes of a visual tower; by default those of ViT-B/32."""

    patch: int = 32
    """Side of a patch, in pixels."""
    grid: int = 7
    """Patches along each side of an image."""
    width: int = 768
    """Width of a token, a multiple of the 64 of an attention head."""
    n_blocks: int = 12
    """Number of blocks."""
    embedding: int = EMBEDDING
    """Size of the output embedding."""

    @property
    def size(self) -> int:
        """Side of an image, in pixels."""
        return self.patch * self.grid


VIT_B_32 = VisualSizes()
"""OpenAI's smallest ViT."""


class ClipVisual(nn.Module):
    """Patch embedding, class token, transformer blocks, projection of the class token; the output is not normalised."""

    def __init__(self, *, activation: Activation = "quick_gelu", sizes: VisualSizes = VIT_B_32) -> None:
        """Make a tower with fresh weights.

        Args:
            activation: OpenAI's weights need quick_gelu, most others of open_clip (LAION's) the exact gelu. The
                files do not say which; with the wrong one the embeddings are only roughly right.
            sizes: Sizes of the tower.
        """
        super().__init__()
        self.sizes, width = sizes, sizes.width
        self.conv1 = nn.Conv2d(3, width, sizes.patch, stride=sizes.patch, bias=False)
        self.class_embedding = nn.Parameter(width**-0.5 * torch.randn(width))
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(sizes.grid**2 + 1, width))
        self.ln_pre = Norm(width)
        self.transformer = stack_blocks(sizes.n_blocks, width, activation)
        self.ln_post = Norm(width)
        self.proj = nn.Linear(width, sizes.embedding, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        """RGB [n, 3, size, size] in CLIP's normalisation to [n, embedding]."""
        patches = self.conv1(frames).flatten(2).transpose(1, 2)  # [n, grid², width]
        token = self.class_embedding.expand(patches.shape[0], 1, self.sizes.width)
        tokens = self.ln_pre(torch.cat([token, patches], dim=1) + self.positional_embedding)
        tokens = self.transformer["resblocks"](tokens)
        embedding: Tensor = self.proj(self.ln_post(tokens[:, 0]))
        return embedding
