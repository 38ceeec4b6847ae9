"""Every network has as many parameters as its authors say, to the last one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from trainer.config import load_config
from trainer.models.baseline_1b import Baseline1b, baseline_1b_early, baseline_1b_fusion
from trainer.models.clip import ClipProbe
from trainer.models.counts import ParameterCounts, count_parameters
from trainer.models.cp_mobile import CpMobile, cp_mobile_baseline
from trainer.models.freezing import train_only
from trainer.models.latent import LatentHead
from trainer.models.resnet import ResnetAudio, ResnetClip, ResnetTrunk
from trainer.models.se_audio import POOLS_10_SECONDS, SeAudio
from trainer.models.se_crnn import SeCrnn
from trainer.models.se_visual import SeVisual, VisualScene
from trainer.models.spectrogram import Spectrogram, SpectrogramBranch
from trainer.models.subspectral import SubSpectral
from trainer.models.vgg import VggEncoder
from trainer.models.wave import Wave, WaveBranch
from trainer.models.wave_spec import WaveSpec

CONFIGS = Path(__file__).parents[3] / "configs"

PARAMETERS = [
    pytest.param(SeAudio, 321_930, id="se_audio"),
    pytest.param(lambda: SeAudio(widths=(24, 48, 96)), 181_930, id="se_audio 24-48-96"),
    pytest.param(lambda: SeAudio(widths=(16, 32, 64)), 81_610, id="se_audio 16-32-64"),
    pytest.param(lambda: SeAudio(widths=(8, 16, 32)), 20_970, id="se_audio 8-16-32"),
    pytest.param(lambda: SeAudio(n_channels=1), 321_290, id="se_audio mono"),
    pytest.param(lambda: SeAudio(pools=POOLS_10_SECONDS, dropout=0.3), 321_930, id="se_audio 10 s"),
    pytest.param(
        lambda: SeAudio(n_channels=1, widths=(40, 40), pools=((1, 10), (1, 10)), normalised_logits=True),
        49_630,
        id="se_audio slim preset",
    ),
    pytest.param(VggEncoder, 14_714_688, id="vgg"),
    pytest.param(SeVisual, 14_820_170, id="se_visual"),
    pytest.param(VisualScene, 105_482, id="se_visual behind its encoder"),
    pytest.param(lambda: VisualScene().gru, 104_832, id="se_visual gru"),
    pytest.param(lambda: VisualScene().classify, 650, id="se_visual last layer"),
    pytest.param(lambda: SeCrnn().scene.gru, 271_104, id="se_crnn gru"),
    pytest.param(lambda: SeCrnn().scene.early, 1_290, id="se_crnn early answer"),
    pytest.param(lambda: SeCrnn().scene.late, 310, id="se_crnn late answer"),
    pytest.param(Wave, 962_762, id="wave"),
    pytest.param(Spectrogram, 1_049_034, id="spectrogram"),
    pytest.param(WaveSpec, 1_351_562, id="wave_spec"),
    pytest.param(WaveBranch, 302_528, id="wave branch"),
    pytest.param(lambda: WaveBranch().filters, 64, id="wave filters"),
    pytest.param(SpectrogramBranch, 388_800, id="spectrogram branch"),
    pytest.param(lambda: LatentHead(10), 660_234, id="head"),
    pytest.param(lambda: WaveSpec(join="concat").head, 1_184_522, id="head of a concatenation"),
    pytest.param(ResnetTrunk, 27_698_368, id="resnet trunk"),
    pytest.param(lambda: nn.ModuleList([ResnetTrunk(), nn.Linear(2048, 527)]), 28_778_191, id="resnet for AudioSet"),
    pytest.param(ResnetAudio, 27_718_858, id="resnet_audio"),
    pytest.param(lambda: ResnetAudio(audioset=True), 28_798_681, id="resnet_audio with the idle layer"),
    pytest.param(ResnetClip, 27_723_978, id="resnet_clip"),
    pytest.param(lambda: ResnetClip(audioset=True), 28_803_801, id="resnet_clip with the idle layer"),
    pytest.param(Baseline1b, 338_634, id="baseline_1b, one modality"),
    pytest.param(baseline_1b_early, 600_778, id="baseline_1b early"),
    pytest.param(CpMobile, 126_952, id="cp_mobile"),
    pytest.param(cp_mobile_baseline, 61_148, id="cp_mobile baseline"),
    pytest.param(ClipProbe, 5_130, id="clip probe"),
]

SUBSPECTRAL = [
    (40, 20, 10, 331_164, 331_344, 326_856),
    (40, 10, 10, 457_746, 457_906, 452_082),
    (40, 30, 10, 221_054, 221_214, 218_142),
    (200, 20, 10, 2_538_876, 2_540_016, 2_511_592),
    (200, 30, 10, 2_414_750, 2_416_190, 2_388_542),
    (200, 40, 20, 1_089_064, 1_089_964, 1_075_780),
]
"""Bands, of a group, step; stereo by rows, the same with running statistics, mono by channels."""


@pytest.mark.parametrize(("make", "expected"), PARAMETERS)
def test_parameters(make, expected):
    with torch.device("meta"):
        assert count_parameters(make()).parameters == expected


@pytest.mark.parametrize(("n_mels", "group", "step", "rows", "with_running", "port"), SUBSPECTRAL)
def test_parameters_of_every_subspectral_network(n_mels, group, step, rows, with_running, port):
    with torch.device("meta"):
        keras = count_parameters(SubSpectral(n_mels=n_mels, group=group, step=step, norm="row"))
        torch_port = count_parameters(SubSpectral(n_mels=n_mels, group=group, step=step, n_channels=1))
    assert (keras.parameters, keras.total, torch_port.parameters) == (rows, with_running, port)


def test_subspectral_on_one_second_has_the_same_weights():
    with torch.device("meta"):
        long, short = SubSpectral(norm="row"), SubSpectral(norm="row", n_hops=50)
    shapes = [{name: tensor.shape for name, tensor in network.state_dict().items()} for network in (long, short)]
    assert shapes[0] == shapes[1]
    assert count_parameters(short).parameters == 331_164


def test_totals_with_running_statistics():
    with torch.device("meta"):
        assert count_parameters(SeAudio()) == ParameterCounts(321_930, 0, 1_344)
        assert count_parameters(SeAudio()).total == 323_274
        assert count_parameters(SeCrnn()).total == 15_416_148
        audioset = nn.ModuleList([ResnetTrunk(), nn.Linear(2048, 527)])
        assert count_parameters(audioset).running == 53_376
        assert count_parameters(audioset).total == 28_831_567


def test_parameters_of_each_block_of_se_audio():
    with torch.device("meta"):
        counts = [count_parameters(block) for block in SeAudio().blocks]
    assert [count.trainable for count in counts] == [11_520, 62_080, 247_040]
    assert [count.total for count in counts] == [11_712, 62_464, 247_808]


def test_frozen_parameters():
    with torch.device("meta"):
        visual = SeVisual()
        train_only(visual, [visual.scene])
        assert count_parameters(visual) == ParameterCounts(105_482, 14_714_688, 0)
        fusion = baseline_1b_fusion()
        assert count_parameters(fusion).trainable == 34_186


STEPS = [321_930, 105_482, 14_820_170, 272_704, 15_414_804]
"""What the steps of se_crnn train: sound, picture, picture with its encoder, fusion, everything."""


@pytest.mark.parametrize(("step", "trainable"), list(enumerate(STEPS)))
def test_each_step_of_se_crnn_trains_its_part(step, trainable):
    steps = load_config(CONFIGS / "se_crnn.toml").train.steps
    assert len(steps) == len(STEPS)
    with torch.device("meta"):
        network = SeCrnn()
        for parts in (steps[3].parts, steps[step].parts):
            train_only(network, [network.get_submodule(part) for part in parts])
    counts = count_parameters(network)
    assert counts.trainable == trainable
    assert counts.total == 15_416_148
    if trainable == 272_704:
        assert counts.frozen + counts.running == 15_143_444


def test_the_early_fusion_has_no_late_layer():
    with torch.device("meta"):
        network = SeCrnn(fusion="early")
        train_only(network, network.scene.fusion_layers())
        assert count_parameters(network).trainable == 271_104 + 1_290


def test_a_shared_parameter_counts_once():
    layer = nn.Linear(3, 2)
    assert count_parameters(nn.Sequential(layer, nn.ReLU(), layer)).parameters == 8


def test_normalisations_without_statistics_count_none():
    assert count_parameters(nn.BatchNorm1d(4, track_running_stats=False)) == ParameterCounts(8, 0, 0)
