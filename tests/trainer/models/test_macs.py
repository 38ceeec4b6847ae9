"""Multiply-accumulates: of single layers by hand, of the networks as published or counted before."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer.models.counts import count_parameters
from trainer.models.cp_mobile import CpMobile, cp_mobile_baseline
from trainer.models.latent import LatentHead
from trainer.models.macs import count_macs
from trainer.models.resnet import ResnetAudio
from trainer.models.se_audio import POOLS_10_SECONDS, SeAudio
from trainer.models.se_visual import SeVisual
from trainer.models.sinc import SincConv
from trainer.models.spectrogram import SpectrogramBranch
from trainer.models.subspectral import SubSpectral
from trainer.models.vgg import VggEncoder
from trainer.models.wave import WaveBranch

LAYERS = [
    pytest.param(nn.Linear(7, 5), (3, 7), 3 * 7 * 5, id="linear"),
    pytest.param(nn.Linear(7, 5), (3, 4, 7), 3 * 4 * 7 * 5, id="linear on a sequence"),
    pytest.param(nn.Conv1d(2, 3, 5, padding=2), (1, 2, 11), 3 * 11 * 2 * 5, id="conv1d"),
    pytest.param(nn.Conv2d(4, 6, 3, stride=2, groups=2), (2, 4, 9, 7), 2 * 6 * 4 * 3 * 2 * 9, id="conv2d"),
    pytest.param(nn.GRU(3, 4, batch_first=True), (2, 5, 3), 2 * 5 * 3 * (4 * 3 + 4 * 4), id="gru"),
    pytest.param(nn.GRU(3, 4, bidirectional=True), (5, 2, 3), 2 * 2 * 5 * 3 * (4 * 3 + 4 * 4), id="gru both ways"),
    pytest.param(SincConv(2, 5, 8000), (1, 1, 30), 2 * 30 * 5, id="filters"),
]

NETWORKS = [
    pytest.param(SeAudio, (3, 64, 50), "300.8", 1e6, id="se_audio"),
    pytest.param(lambda: SeAudio(widths=(24, 48, 96)), (3, 64, 50), "169.8", 1e6, id="se_audio 24-48-96"),
    pytest.param(lambda: SeAudio(widths=(16, 32, 64)), (3, 64, 50), "76.0", 1e6, id="se_audio 16-32-64"),
    pytest.param(lambda: SeAudio(widths=(8, 16, 32)), (3, 64, 50), "19.4", 1e6, id="se_audio 8-16-32"),
    pytest.param(lambda: SeAudio(pools=POOLS_10_SECONDS), (3, 64, 500), "657", 1e6, id="se_audio 10 s"),
    pytest.param(VggEncoder, (3, 224, 224), "15.35", 1e9, id="vgg, one frame"),
    pytest.param(SeVisual, (5, 3, 224, 224), "76.7", 1e9, id="se_visual"),
    pytest.param(WaveBranch, (1, 48_000), "535.9", 1e6, id="wave branch"),
    pytest.param(lambda: WaveBranch().filters, (1, 48_000), "0.39", 1e9, id="wave filters"),
    pytest.param(SpectrogramBranch, (1, 128, 188), "337.2", 1e6, id="spectrogram branch"),
    pytest.param(lambda: LatentHead(10), (1024,), "0.66", 1e6, id="head"),
    pytest.param(ResnetAudio, (1, 128, 501), "5.20", 1e9, id="resnet, 10 s"),
    pytest.param(ResnetAudio, (1, 128, 480), "4.91", 1e9, id="resnet, 9.6 s"),
    pytest.param(ResnetAudio, (1, 128, 51), "0.61", 1e9, id="resnet, 1 s"),
    pytest.param(SubSpectral, (2, 40, 500), "395", 1e6, id="subspectral 40-20-10"),
    pytest.param(lambda: SubSpectral(group=10), (2, 40, 500), "464", 1e6, id="subspectral 40-10-10"),
    pytest.param(lambda: SubSpectral(group=30), (2, 40, 500), "295", 1e6, id="subspectral 40-30-10"),
    pytest.param(lambda: SubSpectral(n_mels=200), (2, 200, 500), "2.50", 1e9, id="subspectral 200-20-10"),
    pytest.param(lambda: SubSpectral(n_mels=200, group=30), (2, 200, 500), "2.65", 1e9, id="subspectral 200-30-10"),
    pytest.param(
        lambda: SubSpectral(n_mels=200, group=40, step=20), (2, 200, 500), "1.47", 1e9, id="subspectral 200-40-20"
    ),
    pytest.param(lambda: SubSpectral(n_hops=50), (2, 40, 50), "39.5", 1e6, id="subspectral 1 s"),
    pytest.param(CpMobile, (1, 256, 65), "31.68", 1e6, id="cp_mobile"),
]


@pytest.mark.parametrize(("layer", "shape", "expected"), LAYERS)
def test_macs_of_one_layer(layer, shape, expected):
    assert count_macs(layer, torch.zeros(shape)) == expected


@pytest.mark.parametrize(("make", "shape", "expected", "unit"), NETWORKS)
def test_macs_of_one_window(make, shape, expected, unit):
    digits = len(expected.partition(".")[2])
    with torch.device("meta"):
        macs = count_macs(make(), torch.empty(1, *shape))
    assert f"{macs / unit:.{digits}f}" == expected


def test_macs_of_the_cp_mobile_baseline_are_its_published_table():
    # the published figure counts each normalisation's scale and shift once as well
    network = cp_mobile_baseline()
    norms = sum(count_parameters(layer).parameters for layer in network.modules() if isinstance(layer, nn.BatchNorm2d))
    assert count_macs(network, torch.zeros(1, 1, 256, 65)) + norms == 29_419_156


def test_macs_grow_with_the_batch_and_leave_the_mode_alone():
    network = SeAudio(widths=(2, 2, 2))
    one, four = (count_macs(network, torch.zeros(n, 3, 8, 8)) for n in (1, 4))
    assert four == 4 * one
    assert network.training
    assert not network.eval()._forward_hooks
    count_macs(network, torch.zeros(1, 3, 8, 8))
    assert not network.training
    assert not any(module._forward_hooks for module in network.modules())
