"""Several processes train what one would: the same gradients and the same weights at the same global batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.training import N_LABELS, TinyData, run_worker, tiny_config, worker_command, worker_environment
from torch import nn

from trainer.data.batch import Process
from trainer.errors import ConfigError
from trainer.fit.checkpoint import load_checkpoint
from trainer.fit.distributed import Group, find_device, join_group, synchronise_norms
from trainer.fit.loop import fit_network, load_trained
from trainer.models.slim_audio import SlimAudio
from trainer.models.subspectral import RowNorm


def layers() -> list[str]:
    """Every layer of slim_audio but its normalisations, which are thus frozen and in evaluation mode."""
    return [name for name, layer in SlimAudio(3).named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


FROZEN_NORMS = (
    f"train.steps=[{{parts={layers()}}}]",
    "train.optimizer=sgd",
    "train.schedule=constant",
    "train.learning_rate=0.05",
    "train.windows_per_epoch=16",
    "train.average_decay=0.5",
    "model.dropout=0",
)


def gradients(path: Path) -> list[torch.Tensor]:
    """Of the first step: sgd's momentum after it."""
    return [entry["momentum_buffer"] for entry in load_checkpoint(path)["optimizer"]["state"].values()]


def share(folder: Path, *settings: str) -> None:
    """Train in two processes, and from every checkpoint of theirs again; no warning, no word."""
    done = run_worker(folder, "shared", *settings, PYTHONWARNINGS="error")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_two_processes_equal_one_at_the_same_global_batch(tmp_path: Path) -> None:
    share(tmp_path / "two", *FROZEN_NORMS)
    config = tiny_config(tmp_path, *FROZEN_NORMS)
    data = TinyData().for_config(config)
    one, first = tmp_path / "one" / "run", []

    def keep(epoch: int, _loss: float) -> None:
        if epoch == 1:
            first.extend(gradients(one / "checkpoint.pt"))

    single = fit_network(config, N_LABELS, data, one, validate=data.validate(config), on_epoch=keep)
    assert len(first) == sum(1 for name, _ in SlimAudio(3).named_parameters() if name.rpartition(".")[0] in layers())
    assert max(float(gradient.abs().max()) for gradient in first) > 0.01
    for gradient, other in zip(first, gradients(tmp_path / "two" / "epoch-1.pt"), strict=True):
        torch.testing.assert_close(other, gradient, rtol=0, atol=1e-5)
    double = load_trained(tmp_path / "two" / "run", N_LABELS, config)
    for name, value in single.network.state_dict().items():
        torch.testing.assert_close(double.network.state_dict()[name], value, rtol=0, atol=1e-5)
    for epoch, twin in zip(single.history, double.history, strict=True):
        assert twin.loss == pytest.approx(epoch.loss, abs=1e-5)
        assert twin.validation_loss == pytest.approx(epoch.validation_loss, abs=1e-5)


@pytest.mark.slow
def test_two_processes_go_through_stages_and_resume(tmp_path: Path) -> None:
    settings = ('train.steps=[{parts=["head"],epochs=1},{parts=[""],epochs=2}]', "train.select=best")
    share(tmp_path, *settings)
    config = tiny_config(tmp_path, *settings)
    whole = load_trained(tmp_path / "run", N_LABELS, config)
    for epoch in (1, 2):
        resumed = load_trained(tmp_path / f"after-{epoch}" / "run", N_LABELS, config)
        for name, value in whole.network.state_dict().items():
            torch.testing.assert_close(resumed.network.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.slow
def test_an_error_of_the_first_process_ends_both(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoint.pt").mkdir(parents=True)
    share(tmp_path)
    assert "expected a checkpoint, got: Is a directory" in (tmp_path / "process-0.txt").read_text()
    assert (tmp_path / "process-1.txt").read_text() == (
        "process 1: expected the first process to go on, got an error there; its message says more"
    )


@pytest.mark.slow
def test_torchrun_starts_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += worker_command(tmp_path, "fit", "train.epochs=1")[1:]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=worker_environment())
    assert done.returncode == 0, done.stderr
    assert len(load_trained(tmp_path / "run", N_LABELS, tiny_config(tmp_path, "train.epochs=1")).history) == 1


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "trainer", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("trainer ")


@pytest.mark.slow
def test_a_learning_rate_is_searched_by_one_process(tmp_path: Path) -> None:
    told = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    tiny_config(tmp_path)
    command = [sys.executable, "-m", "trainer", "fit", str(tmp_path / "tiny.toml"), "--data", str(tmp_path)]
    command += ["--range-test", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=worker_environment(**told))
    assert done.returncode == 2, done.stderr
    assert "trainer: --range-test: expected one process, got 2; leave torchrun out" in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_recordings_that_are_listed_are_trained_on_by_one_process(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,scene_label\n")
    told = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    tiny_config(tmp_path)
    command = [sys.executable, "-m", "trainer", "fit", str(tmp_path / "tiny.toml"), "--data", str(tmp_path)]
    command += ["--set", "data.labels=labels.csv", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=worker_environment(**told))
    assert done.returncode == 2, done.stderr
    assert "trainer: data.labels: expected one process, as its many networks are small, got 2" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_batch_is_shared_evenly_or_not_at_all(tmp_path: Path) -> None:
    from trainer.fit.stages import stages_of

    config = tiny_config(tmp_path, "train.batch_size=6")
    assert stages_of(config, 3, validated=False)[0].n_steps == 8
    for n_processes in (4, 6):
        with pytest.raises(ConfigError, match=f"expected a multiple of the {n_processes} processes, two windows each"):
            stages_of(config, n_processes, validated=False)


def test_one_process_is_a_group_of_its_own(tmp_path: Path) -> None:
    with join_group("cpu") as group, join_group("auto"):
        assert group == Group(Process(0, 1), torch.device("cpu"))
        assert group.share(lambda: b"abc") == b"abc"
        assert group.mean(torch.tensor(0.25)) == 0.25
        module = nn.Linear(2, 2)
        assert group.spread(module) is module
    assert not torch.distributed.is_initialized()
    assert "WORLD_SIZE" not in os.environ
    data = TinyData()
    config = tiny_config(tmp_path, "train.epochs=1")
    assert fit_network(config, N_LABELS, data.for_config(config), tmp_path / "run").history[0].validation_loss is None


def test_a_device_is_what_it_is_called() -> None:
    assert find_device("cpu", 7) == torch.device("cpu")
    with pytest.raises(ConfigError, match=r'train.device: expected "auto", "cpu" or "cuda", got \'tpu\''):
        find_device("tpu")


def test_plain_normalisations_are_synchronised_and_others_are_not() -> None:
    network = nn.Sequential(nn.Sequential(nn.BatchNorm2d(4), RowNorm(4)), nn.BatchNorm1d(4), nn.Linear(4, 4))
    names = list(network.state_dict())
    synchronise_norms(network)
    assert isinstance(network[0][0], nn.SyncBatchNorm)
    assert isinstance(network[1], nn.SyncBatchNorm)
    assert type(network[0][1]) is RowNorm
    assert list(network.state_dict()) == names
