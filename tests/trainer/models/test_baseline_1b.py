"""The challenge's networks on embeddings: their layers, and what the fusion takes of two trained ones."""

from __future__ import annotations

import torch
from support.networks import settle
from torch import nn
from torch.nn import functional

from trainer.models.baseline_1b import Baseline1b, Baseline1bFusion


def test_layers_stand_in_the_published_order():
    network = Baseline1b()
    kinds = [type(layer) for layer in (*network.enter, *network.leave)]
    hidden = [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout]
    assert kinds == [*hidden, *hidden, *hidden, nn.Linear]
    linear = [layer.out_features for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert linear == [512, 128, 64, 10]
    assert {layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)} == {0.2}


def test_fusion_takes_each_network_up_to_its_second_linear_layer():
    torch.manual_seed(0)
    audio, video = settle(Baseline1b(), seed=1), settle(Baseline1b(), seed=2)
    fusion = settle(Baseline1bFusion(audio, video), seed=3)
    sound, frame = torch.randn(4, 512), torch.randn(4, 512)
    with torch.no_grad():
        halves = []
        for network, embedding in ((audio, sound), (video, frame)):
            hidden = torch.relu(network.enter[1](network.enter[0](embedding)))
            halves.append(network.enter[4](hidden))  # before its normalisation
        first, second = fusion.join
        joined = functional.linear(torch.cat(halves, dim=1), first.weight, first.bias)
        expected = functional.linear(joined, second.weight, second.bias)  # nothing between the two
        torch.testing.assert_close(fusion(sound, frame), expected)
    assert not any(parameter.requires_grad for parameter in (*audio.enter.parameters(), *video.enter.parameters()))
