"""Answers from a frame's embedding: cosines with sentences, and a linear probe fitted elsewhere."""

from __future__ import annotations

import numpy as np
import torch

from trainer.models.clip import PLACES, ClipProbe, ClipZeroShot, prompts


def test_zero_shot_is_a_hundred_cosines():
    torch.manual_seed(0)
    text, frames = 3 * torch.randn(10, 512), 7 * torch.randn(4, 512)
    answer = ClipZeroShot(text)(frames).detach().numpy()
    unit_text = text.numpy() / np.linalg.norm(text.numpy(), axis=1, keepdims=True)
    unit_frames = frames.numpy() / np.linalg.norm(frames.numpy(), axis=1, keepdims=True)
    np.testing.assert_allclose(answer, 100 * unit_frames @ unit_text.T, atol=1e-4)


def test_zero_shot_does_not_mind_the_length_of_an_embedding():
    torch.manual_seed(0)
    head, frames = ClipZeroShot(torch.randn(10, 512)), torch.randn(4, 512)
    torch.testing.assert_close(head(5 * frames), head(frames))
    assert [parameter.numel() for parameter in head.parameters()] == [1]


def test_prompts_name_every_scene_in_words():
    sentences = prompts(sorted(PLACES))
    assert len(set(sentences)) == 10
    assert sentences[0] == "a photo of an airport"
    assert prompts(["coffee_house"]) == ["a photo of coffee house"]
    assert not any("_" in sentence for sentence in sentences)


def test_probe_takes_over_a_regression():
    torch.manual_seed(0)
    weight, bias, frames = torch.randn(10, 512), torch.randn(10), torch.randn(4, 512)
    probe = ClipProbe()
    probe.load(weight, bias)
    torch.testing.assert_close(probe(frames), frames @ weight.T + bias)
