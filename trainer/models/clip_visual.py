"""The picture's half of CLIP ViT-B/32; [n, 3, 224, 224] to [n, 512].

Radford et al. 2021, after Dosovitskiy et al. 2020: patches of 32, width 768, twelve blocks of twelve heads. Names are
OpenAI's but for the attention's joined layer and the projection, which are ordinary layers here.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE, PATCH = 224, 32
WIDTH, N_BLOCKS, N_HEADS = 768, 12, 12
EMBEDDING = 512
"""Of the space that pictures and sentences share."""
Activation = Literal["quick_gelu", "gelu"]


class ClipVisual(nn.Module):
    """Patches, a class token, blocks of attention, the token's projection: not normalised."""

    def __init__(self, *, activation: Activation = "quick_gelu") -> None:
        """Make a tower with fresh weights.

        Args:
            activation: OpenAI's weights want quick_gelu, most others of open_clip (LAION's) the exact gelu. Nothing in
                a file says which: with the wrong one the embeddings are only roughly right.
        """
        super().__init__()
        n_tokens = (SIZE // PATCH) ** 2 + 1
        self.conv1 = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH, bias=False)
        self.class_embedding = nn.Parameter(WIDTH**-0.5 * torch.randn(WIDTH))
        self.positional_embedding = nn.Parameter(WIDTH**-0.5 * torch.randn(n_tokens, WIDTH))
        self.ln_pre = Norm(WIDTH)
        self.transformer = nn.ModuleDict({"resblocks": nn.Sequential(*(Block(activation) for _ in range(N_BLOCKS)))})
        self.ln_post = Norm(WIDTH)
        self.proj = nn.Linear(WIDTH, EMBEDDING, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        """[n, 3, 224, 224] RGB, by CLIP's mean and spread, to [n, 512]."""
        patches = self.conv1(frames).flatten(2).transpose(1, 2)  # [n, 49, 768]
        token = self.class_embedding.expand(patches.shape[0], 1, WIDTH)
        tokens = self.ln_pre(torch.cat([token, patches], dim=1) + self.positional_embedding)
        tokens = self.transformer["resblocks"](tokens)
        embedding: Tensor = self.proj(self.ln_post(tokens[:, 0]))
        return embedding


class Block(nn.Module):
    """Attention and two linear layers, each behind a normalisation and beside a shortcut."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.ln_1 = Norm(WIDTH)
        self.attn = Attention()
        self.ln_2 = Norm(WIDTH)
        self.mlp = Mlp(activation)

    def forward(self, tokens: Tensor) -> Tensor:
        """[n, n_tokens, 768] to the same shape."""
        tokens = tokens + self.attn(self.ln_1(tokens))
        out: Tensor = tokens + self.mlp(self.ln_2(tokens))
        return out


class Norm(nn.LayerNorm):
    """A normalisation over the last axis in elementary operators: not every parser knows ONNX's own, of opset 17."""

    def forward(self, tokens: Tensor) -> Tensor:
        """[…, 768] to the same shape."""
        centred = tokens - tokens.mean(dim=-1, keepdim=True)
        spread = torch.sqrt((centred**2).mean(dim=-1, keepdim=True) + self.eps)
        return centred / spread * self.weight + self.bias


class Attention(nn.Module):
    """Every token looks at all of them, in twelve heads of 64 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.in_proj = nn.Linear(WIDTH, 3 * WIDTH)
        self.out_proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        """[n, n_tokens, 768] to the same shape; written out, so that it exports as matrix products and a softmax."""
        n, n_tokens, _ = tokens.shape
        layers = self.in_proj(tokens)
        size = WIDTH // N_HEADS
        query, key, value = (
            part.reshape(n, n_tokens, N_HEADS, size).transpose(1, 2) for part in torch.split(layers, WIDTH, dim=2)
        )
        weights = torch.softmax(size**-0.5 * query @ key.transpose(2, 3), dim=3)
        out: Tensor = self.out_proj((weights @ value).transpose(1, 2).reshape(n, n_tokens, WIDTH))
        return out


class Mlp(nn.Module):
    """Four times as wide in between."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        if activation not in ("quick_gelu", "gelu"):
            raise ValueError(f'activation: expected "quick_gelu" or "gelu", got {activation!r}')
        self.quick = activation == "quick_gelu"
        self.c_fc = nn.Linear(WIDTH, 4 * WIDTH)
        self.c_proj = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        """[…, 768] to the same shape."""
        inner = self.c_fc(tokens)
        inner = inner * torch.sigmoid(1.702 * inner) if self.quick else functional.gelu(inner)
        out: Tensor = self.c_proj(inner)
        return out
