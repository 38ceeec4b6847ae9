"""CP-Mobile: widths, response normalisation, shortcuts, and the challenge's own table of its layers."""

from __future__ import annotations

import pytest
import torch
from support.networks import settle
from torch import nn

from trainer.models.counts import count_parameters
from trainer.models.cp_mobile import CpBlock, CpMobile, ResponseNorm, cp_mobile_baseline, to_multiple_of_8
from trainer.models.macs import count_macs

BASELINE = [
    ("b1", 2_176, 704, 2_112),
    ("b2", 2_176, 704, 2_112),
    ("b3", 2_176, 704, 2_112),
    ("b4", 2_176, 704, 3_696),
    ("b5", 6_960, 1_320, 6_832),
    ("b6", 6_960, 1_320, 12_688),
]
"""Parameters of the three convolutions of each block, with their normalisations, as published."""


@pytest.mark.parametrize(
    ("width", "expected"), [(32.0, 32), (73.6, 72), (169.28, 168), (67.2, 64), (117.6, 120), (57.6, 56), (103.68, 104)]
)
def test_widths_are_multiples_of_8(width, expected):
    assert to_multiple_of_8(width) == expected


def test_a_width_is_never_rounded_down_by_more_than_a_tenth():
    assert [to_multiple_of_8(width) for width in (1, 11, 19)] == [8, 16, 24]


def test_widths_of_the_winner():
    blocks = CpMobile().blocks
    assert [block.path[-1].num_features for block in blocks] == [32, 32, 32, 72, 72, 168]
    assert [block.path[0].out_channels for block in blocks] == [96, 96, 96, 96, 216, 216]
    assert [block.path[3].stride for block in blocks] == [(1, 1), (2, 2), (1, 1), (2, 1), (1, 1), (1, 1)]


def test_response_normalisation_is_its_formula_and_nothing_at_first():
    torch.manual_seed(0)
    norm = ResponseNorm()
    maps = torch.randn(2, 6, 4, 5, dtype=torch.float64)
    norm.double()
    torch.testing.assert_close(norm(maps), maps)
    with torch.no_grad():
        norm.scale.fill_(0.7)
        norm.shift.fill_(-0.2)
    energy = maps.square().sum(dim=(2, 3), keepdim=True).sqrt()
    expected = 0.7 * maps * (energy / (energy.mean(dim=1, keepdim=True) + 1e-6)) - 0.2 + maps
    torch.testing.assert_close(norm(maps), expected)


def test_silent_maps_have_finite_gradients():
    norm = ResponseNorm()
    maps = torch.zeros(1, 3, 2, 2, requires_grad=True)
    norm(maps).sum().backward()
    assert maps.grad.isfinite().all()


def test_a_block_that_strides_pools_its_shortcut():
    torch.manual_seed(0)
    block = settle(CpBlock(8, 24, 8, (2, 1), response_norm=True))
    maps = torch.randn(2, 8, 6, 5)
    with torch.no_grad():
        pooled = nn.functional.avg_pool2d(maps, 3, stride=(2, 1), padding=1)
        torch.testing.assert_close(block(maps), torch.relu(block.norm(block.path(maps) + pooled)))
        wider = settle(CpBlock(8, 24, 16, (1, 1), response_norm=False))
        torch.testing.assert_close(wider(maps), torch.relu(wider.path(maps)))


@pytest.mark.parametrize(("index", "row"), list(enumerate(BASELINE)))
def test_layers_of_the_baseline_are_its_published_table(index, row):
    path = cp_mobile_baseline().blocks[index].path
    parts = [path[0:2], path[3:5], path[6:8]]
    assert (f"b{index + 1}", *(count_parameters(part).parameters for part in parts)) == row


def test_macs_of_one_filter_bank_of_the_baseline():
    # the example that its authors work out: 64 channels, 3 × 3, 64 bands, 9 hops
    filters = cp_mobile_baseline().blocks[2].path[3]
    assert count_macs(filters, torch.zeros(1, 64, 64, 17)) == 331_776
