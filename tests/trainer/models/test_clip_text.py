"""CLIP's tower of sentences: as many numbers as published, PyTorch's own masked encoder, and no look ahead."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer.models.clip_blocks import Attention, Block
from trainer.models.clip_text import ClipText, TextSizes
from trainer.models.counts import count_parameters

SMALL = TextSizes(n_words=60, n_tokens=12, width=128, n_blocks=2, embedding=48)


def test_it_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        assert count_parameters(ClipText()).parameters == 63_428_096


def test_masked_attention_is_pytorchs() -> None:
    torch.manual_seed(0)
    ours = Attention(128, causal=True)
    theirs = nn.MultiheadAttention(128, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.in_proj.weight)
        theirs.in_proj_bias.copy_(ours.in_proj.bias)
        theirs.out_proj.load_state_dict(ours.out_proj.state_dict())
        tokens = torch.randn(3, 7, 128)
        mask = torch.full((7, 7), -torch.inf).triu(1)
        expected = theirs(tokens, tokens, tokens, attn_mask=mask)[0]
        torch.testing.assert_close(ours(tokens), expected, rtol=1e-4, atol=1e-6)


def test_a_sentence_is_the_same_alone_and_beside_longer_ones() -> None:
    torch.manual_seed(0)
    tower = ClipText(sizes=SMALL).eval()
    short, long = [58, 3, 4, 59], [58, 9, 8, 7, 6, 5, 59]
    together = tower.embed([short, long])
    assert together.shape == (2, 48)
    torch.testing.assert_close(together[0], tower.embed([short])[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(together[1], tower.embed([long])[0], rtol=1e-5, atol=1e-6)
    assert (tower.embed([[58, 4, 3, 59]])[0] - together[0]).abs().max() > 1e-4  # the order of words counts


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="width: expected a multiple of 64, got 100"):
        Block(100, "gelu")
