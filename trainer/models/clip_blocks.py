"""Transformer blocks shared by both CLIP towers: attention with heads of width 64, and two-layer MLPs."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

HEAD = 64
"""Width of an attention head in every CLIP up to ViT-L/14, in both towers."""
Activation = Literal["quick_gelu", "gelu"]


class Norm(nn.LayerNorm):
    """LayerNorm built from elementary operators, as not every parser knows ONNX's LayerNormalization of opset 17."""

    def forward(self, tokens: Tensor) -> Tensor:
        """[…, width] to the same shape."""
        centred = tokens - tokens.mean(dim=-1, keepdim=True)
        spread = torch.sqrt((centred**2).mean(dim=-1, keepdim=True) + self.eps)
        return centred / spread * self.weight + self.bias


class Attention(nn.Module):
    """Multi-head self-attention; causal: each token attends only to itself and earlier ones."""

    def __init__(self, width: int, *, causal: bool = False) -> None:
        super().__init__()
        if width % HEAD:
            raise ValueError(f"width: expected a multiple of {HEAD}, got {width}")
        self.width, self.causal = width, causal
        self.in_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """[n, n_tokens, width] to the same shape; written out so that it exports as matrix products and a softmax."""
        n, n_tokens, _ = tokens.shape
        query, key, value = (
            part.reshape(n, n_tokens, self.width // HEAD, HEAD).transpose(1, 2)
            for part in torch.split(self.in_proj(tokens), self.width, dim=2)
        )
        similar = HEAD**-0.5 * query @ key.transpose(2, 3)
        if self.causal:
            later = torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=tokens.device).triu(1)
            similar = similar.masked_fill(later, -torch.inf)
        weights = torch.softmax(similar, dim=3)
        out: Tensor = self.out_proj((weights @ value).transpose(1, 2).reshape(n, n_tokens, self.width))
        return out


class Mlp(nn.Module):
    """Two linear layers with a hidden width of four times the input's."""

    def __init__(self, width: int, activation: Activation) -> None:
        super().__init__()
        if activation not in ("quick_gelu", "gelu"):
            raise ValueError(f'activation: expected "quick_gelu" or "gelu", got {activation!r}')
        self.quick = activation == "quick_gelu"
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """[…, width] to the same shape."""
        inner = self.c_fc(tokens)
        inner = inner * torch.sigmoid(1.702 * inner) if self.quick else functional.gelu(inner)
        out: Tensor = self.c_proj(inner)
        return out


class Block(nn.Module):
    """Pre-norm transformer block: attention and an MLP, each after a LayerNorm and with a residual connection."""

    def __init__(self, width: int, activation: Activation, *, causal: bool = False) -> None:
        super().__init__()
        self.ln_1 = Norm(width)
        self.attn = Attention(width, causal=causal)
        self.ln_2 = Norm(width)
        self.mlp = Mlp(width, activation)

    def forward(self, tokens: Tensor) -> Tensor:
        """[n, n_tokens, width] to the same shape."""
        tokens = tokens + self.attn(self.ln_1(tokens))
        out: Tensor = tokens + self.mlp(self.ln_2(tokens))
        return out


def stack_blocks(n: int, width: int, activation: Activation, *, causal: bool = False) -> nn.ModuleDict:
    """Build `n` blocks under the name that published files use for them.

    Args:
        n: Number of blocks.
        width: Width of a token.
        activation: The activation that the weights were trained with.
        causal: Whether tokens do not attend to later ones.
    """
    blocks = nn.Sequential(*(Block(width, activation, causal=causal) for _ in range(n)))
    return nn.ModuleDict({"resblocks": blocks})
