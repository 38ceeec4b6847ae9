"""slim_av: what is absent has no influence whatever; what is there alone answers alone; the gate weighs both."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.networks import settle
from torch import Tensor

from trainer.models.slim_av import SlimAv, SlimAvScene

GARBAGE = (0.0, 1.0, -1e4, float("inf"), float("nan"))


def scene(seed: int = 0) -> SlimAvScene:
    """A scene graph whose gate has an opinion."""
    torch.manual_seed(seed)
    network = SlimAvScene(4)
    settle(network)
    with torch.no_grad():
        for parameter in network.gate.parameters():
            parameter.normal_(std=0.3)
    return network


def flags(n: int, *pair: float) -> Tensor:
    """The same flags for n windows."""
    return torch.tensor([pair]).expand(n, 2).clone()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**20), value=st.sampled_from(GARBAGE), is_audio=st.booleans())
def test_an_absent_modality_changes_nothing(seed: int, value: float, is_audio: bool) -> None:
    network = scene()
    generator = torch.Generator().manual_seed(seed)
    features, embeddings = (torch.randn(2, *shape, generator=generator) for shape in ((1, 64, 48), (1, 160)))
    presence = flags(2, 0, 1) if is_audio else flags(2, 1, 0)
    garbage = torch.randn(features.shape if is_audio else embeddings.shape, generator=generator) * 10 + value
    with torch.no_grad():
        before = network(features, embeddings, presence)
        after = network(garbage, embeddings, presence) if is_audio else network(features, garbage, presence)
    assert torch.equal(before.fused, after.fused)
    assert torch.equal(before.fused, before.video if is_audio else before.audio)
    assert before.fused.isfinite().all()


def test_with_both_there_the_gate_weighs_either_answer() -> None:
    network = scene()
    features, embeddings = torch.randn(5, 1, 64, 48), torch.randn(5, 2, 160)
    with torch.no_grad():
        answers = network(features, embeddings, flags(5, 1, 1))
        heard, seen = network.audio.embed(features), embeddings.mean(dim=1)
        doubts = []
        for logits in (answers.audio, answers.video):
            p = torch.softmax(logits, dim=1)
            doubts.append(-(p * p.log()).sum(dim=1, keepdim=True))
        trust = torch.tanh(network.gate.layers(torch.cat([heard, seen, *doubts], dim=1)))
        expected = (1 + trust[:, :1]) * answers.audio + (1 + trust[:, 1:]) * answers.video
    torch.testing.assert_close(answers.fused, expected)
    assert trust.abs().max() > 0.05


def test_an_untrained_gate_multiplies_the_probabilities() -> None:
    torch.manual_seed(0)
    network = SlimAvScene(4).eval()
    with torch.no_grad():
        answers = network(torch.randn(3, 1, 64, 48), torch.randn(3, 1, 160), flags(3, 1, 1))
        product = torch.softmax(answers.audio, 1) * torch.softmax(answers.video, 1)
    torch.testing.assert_close(torch.softmax(answers.fused, 1), product / product.sum(dim=1, keepdim=True))


def test_with_nothing_there_every_scene_is_as_likely() -> None:
    with torch.no_grad():
        answers = scene()(torch.randn(1, 1, 64, 48), torch.randn(1, 1, 160), flags(1, 0, 0))
    assert torch.equal(answers.fused, torch.zeros(1, 4))


def test_windows_of_one_batch_may_lack_different_things() -> None:
    network = scene()
    features, embeddings = torch.randn(3, 1, 64, 48), torch.randn(3, 1, 160)
    with torch.no_grad():
        both = network(features, embeddings, flags(3, 1, 1))
        mixed = network(features, embeddings, torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]))
    torch.testing.assert_close(mixed.fused[0], both.fused[0])
    assert torch.equal(mixed.fused[1], mixed.audio[1])
    assert torch.equal(mixed.fused[2], mixed.video[2])


@pytest.mark.parametrize(
    ("presence", "moved", "still"), [((1, 0), "audio", "video"), ((0, 1), "video", "audio")], ids=["no picture", "deaf"]
)
def test_the_fused_answer_trains_only_what_is_there(presence: tuple[int, int], moved: str, still: str) -> None:
    network = scene().train()
    answers = network(torch.randn(4, 1, 64, 48), torch.randn(4, 1, 160), flags(4, *presence))
    answers.fused.square().sum().backward()
    parts = {"audio": network.audio.classify, "video": network.video[1]}
    assert parts[moved].weight.grad.abs().max() > 0
    assert not parts[still].weight.grad.any()
    assert not any(parameter.grad.any() for parameter in network.gate.parameters())


def test_frames_are_encoded_each_by_itself_and_averaged() -> None:
    torch.manual_seed(0)
    network = settle(SlimAv(4))
    features, frames = torch.randn(2, 1, 64, 48), torch.randn(2, 3, 3, 64, 64)
    presence = flags(2, 1, 1)
    with torch.no_grad():
        alone = torch.stack([network.encoder(frames[:, slot]) for slot in range(3)], dim=1)
        whole, apart = network(features, frames, presence), network(features, alone, presence)
        once = network(features, alone.mean(dim=1, keepdim=True), presence)
    for first, second, third in zip(whole, apart, once, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(second, third, rtol=1e-4, atol=1e-5)
