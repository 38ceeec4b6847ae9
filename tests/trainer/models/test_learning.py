"""One step of training reaches every weight of every network."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from trainer.models.reference import REFERENCES
from trainer.models.subspectral import SubSpectral, summed_loss

SMALLER = {"frames": (5, 3, 32, 32), "features": {"resnet_audio": (1, 128, 51), "resnet_clip": (1, 128, 51)}}
"""Inputs that would take long, as small as the network allows."""


def batch_of(name):
    inputs = []
    for key, shape in REFERENCES[name].inputs.items():
        smaller = shape if "clip" in name and key == "frames" else SMALLER.get(key, shape)
        inputs.append(torch.randn(2, *(smaller.get(name, shape) if isinstance(smaller, dict) else smaller)))
    return inputs


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if "clip" in name else ()) for name in REFERENCES]
)
def test_gradients_reach_every_trained_weight(name):
    torch.manual_seed(0)
    network = REFERENCES[name].build()
    answer = network(*batch_of(name))
    labels = torch.tensor([1, 7])
    if isinstance(network, SubSpectral):
        loss = summed_loss(answer, labels)
    else:
        answers = (answer,) if isinstance(answer, torch.Tensor) else answer  # an early fusion leaves two heads out
        loss = sum(functional.cross_entropy(logits, labels) for logits in answers)
    loss.backward()
    for key, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key
            assert parameter.grad.any() or "bias" in key, key


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wave_spec", "subspectral_1s", "cp_mobile", "baseline_1b_early"])
def test_a_few_steps_learn_a_batch_by_heart(name):
    torch.manual_seed(0)
    network = REFERENCES[name].build()
    inputs = [torch.cat([batch, batch + 0.5 * torch.randn_like(batch)]) for batch in (batch_of(name))]
    labels = torch.tensor([1, 7, 1, 7])
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        answer = network(*inputs)
        if isinstance(network, SubSpectral):
            loss = summed_loss(answer, labels)
        else:
            loss = functional.cross_entropy(answer, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
