"""The block of the SE-CRNN systems, recomputed with plain functions; what stands behind the blocks."""

from __future__ import annotations

import torch
from support.networks import settle
from torch.nn import functional

from trainer.models.se_audio import SeAudio
from trainer.models.se_block import ConcurrentGates, StandardPost


def normalised(maps, norm):
    return functional.batch_norm(maps, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-3)


def convolved(maps, convolution, padding):
    return functional.conv2d(maps, convolution.weight, convolution.bias, padding=padding)


def test_block_adds_its_shortcut_before_the_gates_and_after():
    torch.manual_seed(0)
    block = settle(StandardPost(3, 8))
    maps = torch.randn(2, 3, 16, 10)
    first, first_norm, _, second, second_norm = block.path
    with torch.no_grad():
        s = normalised(convolved(maps, block.shortcut[0], 0), block.shortcut[1])
        y = functional.elu(normalised(convolved(maps, first, 1), first_norm), alpha=1.0)
        y = normalised(convolved(y, second, 1), second_norm)
        y = functional.elu(y + s)
        hidden = torch.relu(y.mean(dim=(2, 3)) @ block.gates.squeeze.weight.T)
        channel_gate = torch.sigmoid(hidden @ block.gates.excite.weight.T)[:, :, None, None]
        place_gate = torch.sigmoid(torch.einsum("nchw,c->nhw", y, block.gates.place.weight[0, :, 0, 0]))[:, None]
        expected = (y * channel_gate + y * place_gate) + s
        torch.testing.assert_close(block(maps), expected, rtol=1e-5, atol=1e-5)


def test_gates_have_no_biases_and_halve_the_channels():
    gates = ConcurrentGates(32)
    assert [name for name, _ in gates.named_parameters()] == ["squeeze.weight", "excite.weight", "place.weight"]
    assert gates.squeeze.weight.shape == (16, 32)
    assert gates.place.weight.shape == (1, 32, 1, 1)


def test_normalisations_have_the_constants_of_keras():
    norms = [module for module in SeAudio().modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) == 9
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


def test_answer_is_linear_in_the_mean_over_the_map():
    torch.manual_seed(0)
    network = settle(SeAudio(widths=(4, 4, 8)))
    features = torch.randn(2, 3, 64, 50)
    with torch.no_grad():
        maps = network.maps(features)
        assert maps.shape == (2, 8, 64, 12)
        expected = functional.linear(maps.mean(dim=(2, 3)), network.classify.weight, network.classify.bias)
        torch.testing.assert_close(network(features), expected)


def test_any_number_of_hops_gives_an_answer():
    network = settle(SeAudio(6, n_channels=1, widths=(4, 4, 8)))
    with torch.no_grad():
        assert network(torch.randn(1, 1, 64, 500)).shape == (1, 6)
