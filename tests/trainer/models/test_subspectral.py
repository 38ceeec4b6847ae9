"""Groups of bands and their answers, the normalisation of rows, the summed loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.networks import settle
from torch.nn import functional

from trainer.models.subspectral import Answers, RowNorm, SubSpectral, global_widths, summed_loss


@pytest.fixture(autouse=True)
def same_numbers_every_time():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("n_groups", "widths"),
    [(2, [64]), (3, [64]), (4, [128, 64]), (9, [256, 128, 64]), (18, [512, 256, 128, 64]), (19, [512, 256, 128, 64])],
)
def test_hidden_layers_halve_down_to_64(n_groups, widths):
    assert global_widths(32 * n_groups) == widths


def test_each_group_hears_its_bands_only():
    network = settle(SubSpectral())
    features = torch.randn(1, 2, 40, 500)
    changed = features.clone()
    changed[:, :, 30:] += 1  # bands of the last group alone
    with torch.no_grad():
        before, after = network(features), network(changed)
    assert network.starts == (0, 10, 20)
    assert torch.equal(before.groups[:, :2], after.groups[:, :2])
    assert not torch.equal(before.groups[:, 2], after.groups[:, 2])
    assert not torch.equal(before.fused, after.fused)


def test_global_answer_reads_embeddings_before_their_dropout():
    network = settle(SubSpectral())
    for group in network.groups:
        group.dropout.train()
    features = torch.randn(2, 2, 40, 500)
    with torch.no_grad():
        first, second = network(features), network(features)
    assert torch.equal(first.fused, second.fused)
    assert not torch.equal(first.groups, second.groups)


@pytest.mark.parametrize("training", [True, False])
def test_rows_are_normalised_over_batch_channels_and_hops(training):
    norm = settle(RowNorm(6)).train(training)
    maps = 3 * torch.randn(4, 5, 6, 7) + 2
    mean, variance = norm.running_mean.clone(), norm.running_var.clone()
    answer = norm(maps).detach().numpy()
    rows = maps.numpy()
    if training:
        mean, variance = rows.mean(axis=(0, 1, 3)), rows.var(axis=(0, 1, 3))
    scale, shift = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    expected = (rows - np.asarray(mean)[:, None]) / np.sqrt(np.asarray(variance) + 1e-3)[:, None]
    np.testing.assert_allclose(answer, expected * scale[:, None] + shift[:, None], rtol=1e-4, atol=1e-5)


def test_statistics_of_rows_move_by_a_hundredth():
    norm = RowNorm(6).train()
    maps = torch.randn(4, 5, 6, 7) + 10
    norm(maps)
    torch.testing.assert_close(norm.running_mean, 0.01 * maps.mean(dim=(0, 1, 3)))


def test_loss_is_the_sum_over_all_heads():
    fused, groups = torch.randn(4, 10), torch.randn(4, 3, 10)
    labels = torch.tensor([0, 3, 9, 9])
    expected = functional.cross_entropy(fused, labels)
    for index in range(3):
        expected = expected + functional.cross_entropy(groups[:, index], labels)
    torch.testing.assert_close(summed_loss(Answers(fused, groups), labels), expected)
    soft = functional.one_hot(labels, 10).float()
    torch.testing.assert_close(summed_loss(Answers(fused, groups), soft), expected)


def test_every_head_is_trained():
    network = SubSpectral()
    loss = summed_loss(network(torch.randn(2, 2, 40, 500)), torch.tensor([1, 2])) + network.penalty()
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_penalty_is_that_of_scales_and_shifts():
    network = SubSpectral(norm="row")
    assert network.penalty().item() == pytest.approx(1e-4 * 3 * (20 + 10))  # scales are 1 and shifts 0 at the start


@pytest.mark.parametrize("norm", ["row", "channel"])
def test_deployed_network_answers_with_the_global_logits(norm):
    network = SubSpectral(norm=norm)
    network.train()(torch.randn(4, 2, 40, 500))
    deployed = network.deployed()
    features = torch.randn(2, 2, 40, 500)
    with torch.no_grad():
        assert torch.equal(deployed(features), network.eval()(features).fused)
    assert not deployed.training


@pytest.mark.parametrize("wrong", [{"group": 15}, {"n_hops": 48}, {"group": 50}])
def test_groups_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="expected groups of a multiple of ten bands, at most 40"):
        SubSpectral(**wrong)
