"""Statistics of normalisations belong to the weights they are kept with; frozen and idle ones stay as they are."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from support.training import N_LABELS, TinyData, tiny_config
from torch import nn

from trainer.fit.distributed import join_group
from trainer.fit.norms import measure_norms, trained_norms
from trainer.fit.stage_training import Feed, StageTraining
from trainer.fit.stages import stages_of
from trainer.inputs import Inputs
from trainer.models.systems import build_network, check_inputs


def batches(n: int, seed: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [1e-2 * torch.randn(16, 3, generator=generator) + 5 for _ in range(n)]


def statistics(norm: nn.BatchNorm1d) -> tuple[np.ndarray, np.ndarray, int]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    return norm.running_mean.numpy().copy(), norm.running_var.numpy().copy(), int(norm.num_batches_tracked)


def test_every_batch_counts_alike_and_what_was_there_before_nothing():
    norm = nn.BatchNorm1d(3, momentum=0.01)
    norm(torch.randn(8, 3) * 100)
    given = batches(7)
    measure_norms(norm.eval(), [""], [partial(norm, batch) for batch in given])
    mean, var, n_batches = statistics(norm)
    np.testing.assert_allclose(mean, torch.stack([batch.mean(dim=0) for batch in given]).mean(dim=0), rtol=1e-6)
    np.testing.assert_allclose(var, torch.stack([batch.var(dim=0) for batch in given]).mean(dim=0), rtol=1e-5)
    assert n_batches == 7
    assert (norm.momentum, norm.training) == (0.01, False)


def test_other_parts_stay_in_evaluation_mode():
    network = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3), nn.BatchNorm1d(3)).eval()
    before = statistics(network[1])
    given = batches(4)
    measure_norms(network, ["2"], [partial(network, batch) for batch in given])
    np.testing.assert_allclose(statistics(network[1])[0], before[0], rtol=0)
    np.testing.assert_allclose(statistics(network[2])[0], torch.cat(given).mean(dim=0), rtol=1e-4)  # nothing dropped
    assert not any(module.training for module in network.modules())


def test_what_no_batch_passes_keeps_its_statistics():
    network = nn.ModuleDict({"used": nn.BatchNorm1d(3), "idle": nn.BatchNorm1d(3)})
    network["idle"](batches(1)[0])
    before = statistics(network["idle"])
    network.eval()
    measure_norms(network, ["used", "idle"], [partial(network["used"], batch) for batch in batches(2)])
    after = statistics(network["idle"])
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    assert statistics(network["used"])[2] == 2


def test_an_error_leaves_evaluation_mode_and_momentum():
    norm = nn.BatchNorm1d(3, momentum=0.3).eval()
    with pytest.raises(ValueError, match="expected 2D or 3D"):
        measure_norms(norm, [""], [partial(norm, torch.zeros(3))])
    assert (norm.momentum, norm.training) == (0.3, False)
    np.testing.assert_array_equal(statistics(norm)[0], np.zeros(3))


def test_a_frozen_normalisation_is_not_one_that_is_trained():
    network = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3, track_running_stats=False), nn.BatchNorm1d(3))
    network[0].eval()
    assert trained_norms(network) == ("2",)


def test_the_averaged_weights_answer_by_statistics_of_their_own(tmp_path):
    config = tiny_config(tmp_path, "train.average_decay=0.9")
    data = TinyData()
    data.for_config(config)
    system = check_inputs(config)
    network = build_network(config, N_LABELS)
    with join_group("cpu") as group:
        (stage,) = stages_of(config, 1, validated=False)
        training = StageTraining(system, network, stage, group)
        inputs: Inputs = data.measure(np.random.default_rng(1))
        given = list(data.batches(inputs, 0, config, group.process))
        training.epoch(Feed(given, group.device, None), 0, 1e-2)
    average = training.average.network
    norms = [name for name, module in average.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    seen: list[torch.Tensor] = []
    first = average.get_submodule(norms[0])
    hook = first.register_forward_pre_hook(lambda _module, args: seen.append(args[0].detach()))
    for batch in given:
        training.answer(batch.inputs)
    hook.remove()
    expected = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in seen]).mean(dim=0)
    assert isinstance(first, nn.BatchNorm2d)
    np.testing.assert_allclose(first.running_mean, expected, rtol=1e-4, atol=1e-6)
