"""The head and the two joins of wave-spec-fusion, recomputed with plain functions."""

from __future__ import annotations

import pytest
import torch
from support.networks import settle
from torch.nn import functional

from trainer.models.latent import LatentHead
from trainer.models.spectrogram import Spectrogram
from trainer.models.wave import Wave
from trainer.models.wave_spec import WaveSpec


@pytest.fixture(autouse=True)
def same_numbers_every_time():
    torch.manual_seed(0)


def test_head_normalises_behind_its_activation():
    head = settle(LatentHead(10))
    latent = torch.randn(4, 1024)
    with torch.no_grad():
        expected = latent
        for linear, norm in ((head.layers[1], head.layers[3]), (head.layers[5], head.layers[7])):
            expected = functional.leaky_relu(functional.linear(expected, linear.weight, linear.bias), 0.01)
            expected = functional.batch_norm(expected, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        expected = functional.linear(expected, head.layers[9].weight, head.layers[9].bias)
        torch.testing.assert_close(head(latent), expected)
    assert [head.layers[index].p for index in (0, 4, 8)] == [0.3, 0.3, 0.3]


def test_sum_of_the_latent_vectors():
    network = settle(WaveSpec())
    waveform, features = 0.1 * torch.randn(2, 1, 48_000), torch.randn(2, 1, 128, 188)
    with torch.no_grad():
        expected = network.head(network.wave(waveform) + network.spectrogram(features))
        torch.testing.assert_close(network(waveform, features), expected)


def test_concatenation_of_latent_vectors_of_length_one():
    network = settle(WaveSpec(join="concat"))
    given = []
    network.head.register_forward_hook(lambda _head, inputs, _answer: given.append(inputs[0]))
    with torch.no_grad():
        network(0.1 * torch.randn(2, 1, 48_000), torch.randn(2, 1, 128, 188))
    assert given[0].shape == (2, 2048)
    for half in given[0].chunk(2, dim=1):
        torch.testing.assert_close(half.norm(dim=1), torch.ones(2))


def test_branches_are_those_of_the_networks_alone():
    joined, wave, spectrogram = WaveSpec(), Wave(), Spectrogram()
    joined.wave.load_state_dict(wave.branch.state_dict())
    joined.spectrogram.load_state_dict(spectrogram.branch.state_dict())
    joined.head.load_state_dict(wave.head.state_dict())


def test_latent_vector_runs_through_places_within_channels():
    branch = settle(Spectrogram()).branch
    features = torch.randn(1, 1, 128, 188)
    with torch.no_grad():
        expected = functional.adaptive_avg_pool2d(branch.blocks(features), (1, 4)).flatten(1)
        torch.testing.assert_close(branch(features), expected)
