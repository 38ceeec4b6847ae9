"""Fresh weights follow the distributions that the recipes name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer.models.initialise import he_fan_out, he_normal, keras_default
from trainer.models.se_block import StandardPost
from trainer.models.subspectral import SubSpectral


@pytest.fixture(autouse=True)
def same_weights_every_time():
    torch.manual_seed(0)


def test_he_normal_is_cut_at_two_and_has_its_variance():
    layer = nn.Linear(200, 500)
    he_normal(layer)
    spread = (2 / 200) ** 0.5
    assert layer.weight.std().item() == pytest.approx(spread, rel=0.01)
    assert layer.weight.abs().max().item() <= 2 * spread / 0.8796
    assert not layer.bias.any()


def test_keras_default_is_glorot_uniform():
    layer = nn.Conv2d(16, 48, 3)
    keras_default(layer)
    limit = (6 / (16 * 9 + 48 * 9)) ** 0.5
    assert layer.weight.abs().max().item() == pytest.approx(limit, rel=0.01)
    assert layer.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.02)
    assert not layer.bias.any()


def test_keras_default_of_a_gru_is_orthogonal_in_its_recurrence():
    gru = nn.GRU(20, 8, bidirectional=True)
    keras_default(gru)
    for name, parameter in gru.named_parameters():
        if name.startswith("bias"):
            assert not parameter.any()
        elif name.startswith("weight_hh"):
            torch.testing.assert_close(parameter.T @ parameter, torch.eye(8))
        else:
            assert parameter.abs().max().item() == pytest.approx((6 / (20 + 24)) ** 0.5, rel=0.02)


def test_he_fan_out():
    layer = nn.Conv2d(8, 64, 3)
    he_fan_out(layer)
    assert layer.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.03)


def test_gates_are_he_normal_and_convolutions_glorot_in_the_block():
    block = StandardPost(32, 64)
    assert block.gates.squeeze.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.05)
    assert block.gates.place.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.35)
    assert block.path[0].weight.abs().max().item() == pytest.approx((6 / (9 * 96)) ** 0.5, rel=0.01)


def test_convolutions_of_subspectral_are_he_normal():
    convolution = SubSpectral().groups[0].maps[5]
    assert convolution.weight.std().item() == pytest.approx((2 / (49 * 32)) ** 0.5, rel=0.01)
