"""The ResNet on log-mel: its normalisation of bands, its weights' names, the meeting with CLIP."""

from __future__ import annotations

import pytest
import torch
from support.networks import settle
from torch import nn

from trainer.models.resnet import Bottleneck, ResnetAudio, ResnetClip, ResnetTrunk


@pytest.fixture(autouse=True)
def same_numbers_every_time():
    torch.manual_seed(0)


def test_bands_are_normalised_each_by_its_own_statistics():
    trunk = settle(ResnetTrunk())
    given = []
    trunk.conv1.register_forward_hook(lambda _layer, inputs, _answer: given.append(inputs[0]))
    features = 20 * torch.randn(2, 1, 128, 51) - 70
    with torch.no_grad():
        trunk(features)
    norm = trunk.band_norm
    column = [tensor[:, None] for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)]
    mean, variance, scale, shift = column
    expected = (features - mean) / torch.sqrt(variance + 1e-5) * scale + shift
    torch.testing.assert_close(given[0], expected.transpose(2, 3), rtol=1e-4, atol=1e-4)


def test_statistics_of_bands_are_learned_over_batch_and_time():
    trunk = ResnetTrunk().train()
    features = 20 * torch.randn(4, 1, 128, 51) - 70
    trunk(features)
    torch.testing.assert_close(trunk.band_norm.running_mean, 0.1 * features.mean(dim=(0, 1, 3)))
    assert {(m.eps, m.momentum) for m in trunk.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-5, 0.1)}


def test_block_strides_in_its_middle_convolution():
    block = settle(Bottleneck(64, 32, 2))
    assert [block.conv1.stride, block.conv2.stride, block.conv3.stride] == [(1, 1), (2, 2), (1, 1)]
    maps = torch.randn(1, 64, 9, 8)
    with torch.no_grad():
        path = torch.relu(block.bn1(block.conv1(maps)))
        path = block.bn3(block.conv3(torch.relu(block.bn2(block.conv2(path)))))
        torch.testing.assert_close(block(maps), torch.relu(path + block.downsample(maps)))
    assert block(maps).shape == (1, 128, 5, 4)


def test_names_of_the_trunk_are_those_of_published_checkpoints():
    with torch.device("meta"):
        state = ResnetTrunk().state_dict()
    assert {"conv1.weight", "bn1.running_var", "layer1.0.downsample.0.weight", "layer3.5.conv3.weight"} <= set(state)
    assert not any("layer1.1.downsample" in name for name in state)
    convolutions = [name for name in state if state[name].dim() == 4]
    assert len(convolutions) == 53
    assert state["layer4.2.conv3.weight"].shape == (2048, 512, 1, 1)
    assert not any(name.endswith("conv1.bias") for name in state)


def test_idle_layer_gives_a_whole_checkpoint_a_place():
    with torch.device("meta"):
        network = ResnetAudio(audioset=True)
        names = [name for name, _ in network.named_parameters() if name.startswith("audioset")]
        plain = set(ResnetAudio().state_dict())
    assert names == ["audioset.weight", "audioset.bias"]
    assert set(network.state_dict()) - plain == set(names)


def test_embeddings_meet_behind_the_dropout_of_the_audio_half():
    network = settle(ResnetClip())
    given = []
    network.classify.register_forward_hook(lambda _layer, inputs, _answer: given.append(inputs[0]))
    features, embedding = 20 * torch.randn(3, 1, 128, 51) - 70, torch.randn(3, 512)
    with torch.no_grad():
        network(features, embedding)
        torch.testing.assert_close(given[0][:, :2048], network.trunk(features))
        network.dropout.train()
        network(features, embedding)
    assert torch.equal(given[0][:, 2048:], embedding)
    assert (embedding < 0).any()
    assert torch.equal(given[1][:, 2048:], embedding)
    dropped = (given[1][:, :2048] == 0).float().mean() - (given[0][:, :2048] == 0).float().mean()
    assert 0.1 < dropped < 0.5
    assert [network.trunk.drop_channels.p, network.trunk.dropout.p, network.dropout.p] == [0.2, 0.2, 0.5]
