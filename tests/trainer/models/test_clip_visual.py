"""CLIP's visual tower: as many numbers as published, and the arithmetic of PyTorch's own encoder layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer.models.clip_blocks import Attention, Block, Norm
from trainer.models.clip_visual import VIT_B_32, ClipVisual, VisualSizes
from trainer.models.counts import count_parameters


def test_it_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        tower = ClipVisual()
        assert count_parameters(tower).parameters == 87_849_216
        assert tower(torch.empty(2, 3, 224, 224)).shape == (2, 512)


@pytest.mark.parametrize(
    ("sizes", "n_parameters"),
    [(VisualSizes(patch=16, grid=14), 86_192_640), (VisualSizes(14, 16, 1024, 24, 768), 303_966_208)],
    ids=["ViT-B/16", "ViT-L/14"],
)
def test_other_towers_have_their_number_too(sizes: VisualSizes, n_parameters: int) -> None:
    with torch.device("meta"):
        tower = ClipVisual(sizes=sizes)
        assert count_parameters(tower).parameters == n_parameters
        assert tower(torch.empty(1, 3, 224, 224)).shape == (1, sizes.embedding)


def test_a_block_is_pytorchs_encoder_layer() -> None:
    torch.manual_seed(0)
    width, heads = VIT_B_32.width, 12
    block = Block(width, "gelu").eval()
    theirs = nn.TransformerEncoderLayer(
        width, heads, 4 * width, dropout=0, activation="gelu", batch_first=True, norm_first=True
    ).eval()
    names = {
        "ln_1": "norm1",
        "ln_2": "norm2",
        "attn.in_proj.": "self_attn.in_proj_",
        "attn.out_proj": "self_attn.out_proj",
        "mlp.c_fc": "linear1",
        "mlp.c_proj": "linear2",
    }
    state = {}
    for name, tensor in block.state_dict().items():
        ours = next(prefix for prefix in names if name.startswith(prefix))
        state[name.replace(ours, names[ours], 1)] = tensor
    theirs.load_state_dict(state)
    tokens = torch.randn(2, 50, width)
    with torch.no_grad():
        torch.testing.assert_close(block(tokens), theirs(tokens), rtol=1e-4, atol=1e-5)


def test_attention_is_pytorchs() -> None:
    torch.manual_seed(0)
    width = VIT_B_32.width
    ours = Attention(width)
    theirs = nn.MultiheadAttention(width, 12, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.in_proj.weight)
        theirs.in_proj_bias.copy_(ours.in_proj.bias)
        theirs.out_proj.load_state_dict(ours.out_proj.state_dict())
        tokens = torch.randn(3, 7, width)
        torch.testing.assert_close(ours(tokens), theirs(tokens, tokens, tokens)[0], rtol=1e-4, atol=1e-6)


def test_a_normalisation_is_pytorchs() -> None:
    torch.manual_seed(0)
    ours, tokens = Norm(768), 5 * torch.randn(3, 768) + 2
    with torch.no_grad():
        ours.weight.normal_()
        ours.bias.normal_()
        expected = nn.functional.layer_norm(tokens, (768,), ours.weight, ours.bias)
        torch.testing.assert_close(ours(tokens), expected, rtol=1e-5, atol=1e-5)


def test_activations_differ_a_little_and_others_are_refused() -> None:
    torch.manual_seed(0)
    quick, exact = Block(768, "quick_gelu").eval(), Block(768, "gelu").eval()
    exact.load_state_dict(quick.state_dict())
    tokens = torch.randn(1, 50, 768)
    with torch.no_grad():
        difference = (quick(tokens) - exact(tokens)).abs().max()
        inner = quick.mlp.c_fc(tokens)
        torch.testing.assert_close(quick.mlp(tokens), quick.mlp.c_proj(inner / (1 + torch.exp(-1.702 * inner))))
    assert 1e-4 < difference < 0.05
    with pytest.raises(ValueError, match='activation: expected "quick_gelu" or "gelu", got \'relu\''):
        Block(768, "relu")  # type: ignore[arg-type]
