"""Frames, sequences and the two fusions of the SE-CRNN systems; its training steps."""

from __future__ import annotations

import pytest
import torch
from support.networks import settle
from torch.nn import functional

from trainer.models.freezing import train_only, training_mode
from trainer.models.se_crnn import SeCrnn, SeCrnnScene, audio_steps
from trainer.models.se_visual import SeVisual, VisualScene, log_mean_probabilities
from trainer.models.vgg import VggEncoder


@pytest.fixture(autouse=True)
def same_numbers_every_time():
    torch.manual_seed(0)


def test_visual_answer_is_the_mean_of_the_probabilities():
    scene = settle(VisualScene())
    embeddings = torch.randn(3, 5, 512)
    with torch.no_grad():
        steps, _ = scene.gru(embeddings)
        expected = torch.softmax(scene.classify(steps), dim=2).mean(dim=1)
        torch.testing.assert_close(torch.softmax(scene(embeddings), dim=1), expected)
        torch.testing.assert_close(scene(embeddings).exp(), expected)


def test_hopeless_labels_have_finite_logits():
    logits = torch.tensor([[[0.0, 300.0], [0.0, 400.0]]], requires_grad=True)
    answer = log_mean_probabilities(logits)
    torch.testing.assert_close(answer.detach()[0, 0].item(), -300.0 - torch.tensor(2.0).log().item())
    functional.cross_entropy(answer, torch.tensor([0])).backward()
    assert logits.grad.isfinite().all()


def test_penalty_is_that_of_the_last_layer():
    scene = VisualScene()
    assert scene.penalty().item() == pytest.approx(1e-3 * scene.classify.weight.square().sum().item())


def test_frames_are_encoded_each_by_itself():
    network = settle(SeVisual())
    frames = 255 * torch.rand(2, 5, 3, 32, 32)
    with torch.no_grad():
        alone = torch.stack([network.encoder(frames[:, index]) for index in range(5)], dim=1)
        torch.testing.assert_close(network(frames), network.scene(alone), rtol=1e-4, atol=1e-4)


def test_encoder_takes_the_maximum_or_the_mean_of_a_map():
    highest, mean = settle(VggEncoder()), settle(VggEncoder(pool="mean"))
    mean.load_state_dict(highest.state_dict())
    frames = 255 * torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        maps = highest.features(frames)
        assert maps.shape == (1, 512, 2, 3)
        torch.testing.assert_close(highest(frames), maps.flatten(2).max(dim=2).values)
        torch.testing.assert_close(mean(frames), maps.flatten(2).mean(dim=2))


def test_names_of_vgg_are_those_of_published_checkpoints():
    with torch.device("meta"):
        state = VggEncoder().state_dict()
    convolutions = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    assert list(state) == [f"features.{index}.{part}" for index in convolutions for part in ("weight", "bias")]
    assert state["features.28.weight"].shape == (512, 512, 3, 3)


def test_audio_steps_are_means_over_bands_and_three_hops():
    maps = torch.randn(1, 128, 64, 12)
    expected = torch.stack([maps[..., start : start + 3].mean(dim=(2, 3)) for start in (0, 2, 4, 6, 8)], dim=2)
    torch.testing.assert_close(audio_steps(maps), expected)


def test_early_fusion_is_a_gru_over_both_sequences():
    scene = settle(SeCrnnScene(fusion="early"))
    features, embeddings = torch.randn(2, 3, 64, 50), torch.randn(2, 5, 512)
    with torch.no_grad():
        sequence = torch.cat([audio_steps(scene.audio.maps(features)).transpose(1, 2), embeddings], dim=2)
        expected = scene.early(scene.gru(sequence)[0].mean(dim=1))
        answers = scene(features, embeddings)
        torch.testing.assert_close(answers.fused, expected)
        torch.testing.assert_close(answers.audio, scene.audio(features))
        torch.testing.assert_close(answers.video, scene.visual(embeddings))


def test_late_fusion_consumes_probabilities():
    scene = settle(SeCrnnScene())
    features, embeddings = torch.randn(2, 3, 64, 50), torch.randn(2, 5, 512)
    given = []
    scene.late.register_forward_hook(lambda _layer, inputs, _answer: given.append(inputs[0]))
    with torch.no_grad():
        answers = scene(features, embeddings)
        early = scene.early_logits(scene.audio.maps(features), embeddings)
        steps, _ = scene.visual.gru(embeddings)
        video = torch.softmax(scene.visual.classify(steps), dim=2).mean(dim=1)
        expected = torch.cat([early.softmax(1), scene.audio(features).softmax(1), video], dim=1)
        torch.testing.assert_close(given[0], expected)
        torch.testing.assert_close(given[0].sum(dim=1), torch.full((2,), 3.0))
        torch.testing.assert_close(answers.fused, functional.linear(expected, scene.late.weight, scene.late.bias))


def test_whole_network_is_scene_behind_encoder():
    network = settle(SeCrnn())
    features, frames = torch.randn(1, 3, 64, 50), 255 * torch.rand(1, 5, 3, 32, 32)
    with torch.no_grad():
        embeddings = network.encoder(frames[0])[None]
        for answer, expected in zip(network(features, frames), network.scene(features, embeddings), strict=True):
            torch.testing.assert_close(answer, expected)


def test_either_network_answers_alone():
    network = settle(SeCrnn())
    features, frames = torch.randn(2, 3, 64, 50), 255 * torch.rand(2, 5, 3, 32, 32)
    with torch.no_grad():
        both = network(features, frames)
        assert torch.equal(network.alone("audio", features, frames), both.audio)
        assert torch.equal(network.alone("video", features, frames), both.video)


def test_frozen_normalisations_keep_their_statistics():
    network = SeCrnn()
    train_only(network, network.scene.fusion_layers())
    training_mode(network)
    audio = network.scene.audio
    before = {name: tensor.clone() for name, tensor in audio.state_dict().items()}
    features, embeddings = torch.randn(4, 3, 64, 50), torch.randn(4, 5, 512)
    functional.cross_entropy(network.scene(features, embeddings).fused, torch.arange(4)).backward()
    assert network.training
    assert network.scene.visual.dropout.training
    for name, tensor in audio.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in audio.parameters())
    assert all(
        parameter.grad is not None for layer in network.scene.fusion_layers() for parameter in layer.parameters()
    )
    train_only(network, [network.scene.audio])
    training_mode(network)
    network.scene.audio(features)
    assert not torch.equal(
        audio.state_dict()["blocks.0.0.path.1.running_mean"], before["blocks.0.0.path.1.running_mean"]
    )
