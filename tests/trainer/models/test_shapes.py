"""What each stage of a network gives, as its authors tabulate it."""

from __future__ import annotations

import pytest
import torch
from support.networks import stage_shapes

from trainer.models.cp_mobile import cp_mobile_baseline
from trainer.models.resnet import ResnetTrunk
from trainer.models.se_audio import SeAudio
from trainer.models.se_crnn import SeCrnn, audio_steps
from trainer.models.se_visual import SeVisual
from trainer.models.spectrogram import Spectrogram
from trainer.models.subspectral import SubSpectral
from trainer.models.wave import Wave


def stages(network, layers, *shapes):
    return list(stage_shapes(network, layers, *(torch.empty(1, *shape) for shape in shapes)).values())


@pytest.fixture(autouse=True)
def nothing_is_computed():
    with torch.device("meta"):
        yield


def test_se_audio():
    network = SeAudio()
    blocks = {f"{index}.{place}": block[place] for index, block in enumerate(network.blocks) for place in (0, -1)}
    assert stages(network, blocks, (3, 64, 50)) == [
        (32, 64, 50),
        (32, 64, 25),
        (64, 64, 25),
        (64, 64, 12),
        (128, 64, 12),
        (128, 64, 12),
    ]


def test_se_visual_sees_each_frame_by_itself():
    network = SeVisual()
    layers = {"maps": network.encoder.features, "embeddings": network.encoder, "answers": network.scene}
    shapes = stages(network, layers, (5, 3, 224, 224))
    assert shapes == [(512, 7, 7), (512,), (10,)]
    steps, _ = network.scene.gru(torch.empty(1, 5, 512))
    assert steps.shape == (1, 5, 64)


def test_se_crnn_joins_five_steps():
    scene = SeCrnn().scene
    assert audio_steps(torch.empty(1, 128, 64, 12)).shape == (1, 128, 5)
    assert scene.gru.input_size == 640
    steps, _ = scene.gru(torch.empty(1, 5, 640))
    assert steps.shape == (1, 5, 128)
    assert scene.late.in_features == 30
    answers = scene(torch.empty(1, 3, 64, 50), torch.empty(1, 5, 512))
    assert [tuple(answer.shape) for answer in answers] == [(1, 10)] * 3


def test_wave():
    branch = Wave().branch
    layers = {"filters": branch.filters, "first": branch.first}
    layers |= {str(index): block for index, block in enumerate(branch.blocks)} | {"pool": branch.pool, "all": branch}
    assert stages(branch, layers, (1, 48_000)) == [
        (32, 48_000),
        (32, 6_000),
        (64, 750),
        (128, 93),
        (256, 11),
        (256, 4),
        (1024,),
    ]


def test_spectrogram():
    branch = Spectrogram().branch
    layers = {str(index): block for index, block in enumerate(branch.blocks)} | {"pool": branch.pool, "all": branch}
    assert stages(branch, layers, (1, 128, 188)) == [
        (32, 64, 94),
        (64, 32, 47),
        (128, 16, 23),
        (256, 8, 11),
        (256, 4),
        (1024,),
    ]


@pytest.mark.parametrize(
    ("n_hops", "expected"),
    [
        (501, [(64, 126, 32), (256, 126, 32), (512, 63, 16), (1024, 32, 8), (2048, 16, 4)]),
        (51, [(64, 13, 32), (256, 13, 32), (512, 7, 16), (1024, 4, 8), (2048, 2, 4)]),
    ],
)
def test_resnet_has_time_before_bands(n_hops, expected):
    trunk = ResnetTrunk()
    names = ("maxpool", "layer1", "layer2", "layer3", "layer4")
    assert stages(trunk, {name: getattr(trunk, name) for name in names}, (1, 128, n_hops)) == expected


@pytest.mark.parametrize(("n_hops", "rows"), [(500, 100), (50, 10)])
@pytest.mark.parametrize(("n_mels", "group", "step", "n_groups"), [(40, 20, 10, 3), (40, 10, 10, 4), (200, 40, 20, 9)])
def test_subspectral(n_hops, rows, n_mels, group, step, n_groups):
    network = SubSpectral(n_mels=n_mels, group=group, step=step, n_hops=n_hops)
    first = network.groups[0]
    layers = {"pool": first.maps[3], "second": first.maps[8], "flat": first.maps, "embedding": first.embed}
    assert stages(network, layers, (2, n_mels, n_hops)) == [(32, 10, rows), (64, 2, 1), (128,), (32,)]
    assert len(network.groups) == n_groups
    answers = network(torch.empty(1, 2, n_mels, n_hops))
    assert (answers.fused.shape, answers.groups.shape) == ((1, 10), (1, n_groups, 10))


def test_cp_mobile_baseline():
    network = cp_mobile_baseline()
    layers = {"0": network.stem[2], "1": network.stem[5]}
    layers |= {str(index + 2): block for index, block in enumerate(network.blocks)} | {"places": network.classify}
    assert stages(network, layers, (1, 256, 65)) == [
        (8, 128, 33),
        (32, 64, 17),
        (32, 64, 17),
        (32, 64, 17),
        (32, 64, 9),
        (56, 32, 9),
        (56, 32, 9),
        (104, 32, 9),
        (10, 32, 9),
    ]
    inner = [block.path[0].out_channels for block in network.blocks]
    assert inner == [64, 64, 64, 64, 120, 120]
