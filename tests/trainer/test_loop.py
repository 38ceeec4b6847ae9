"""A run that was stopped ends as if it had not been; checkpoints hold no code."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.corpus import SCENES, scene_samples, write_config

from trainer.checkpoint import load_checkpoint, save_checkpoint
from trainer.config import Config, load_config
from trainer.data.windows import WindowSampler
from trainer.errors import RunError
from trainer.loop import fit_network, load_trained


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(
        write_config(tmp_path / "toy.toml"), ["train.epochs=3", "train.windows_per_epoch=48", "augment.mixup=0.3"]
    )


@pytest.fixture
def sampler(config: Config) -> WindowSampler:
    recordings = [scene_samples(scene, 2.0, 1).astype(np.float32) for scene in SCENES]
    return WindowSampler(recordings, range(len(SCENES)), config)


class StoppedError(Exception):
    """Stands for a power cut."""


def test_a_resumed_run_gives_the_same_losses_and_weights(
    tmp_path: Path, config: Config, sampler: WindowSampler
) -> None:
    def stop_after_one(epoch: int, _loss: float) -> None:
        if epoch == 1:
            raise StoppedError

    whole = fit_network(sampler, 3, config, tmp_path / "whole" / "fold-0")
    with pytest.raises(StoppedError):
        fit_network(sampler, 3, config, tmp_path / "parts" / "fold-0", on_epoch=stop_after_one)
    with pytest.raises(RunError, match="expected 3 epochs, got 1; type: trainer fit … --resume"):
        load_trained(tmp_path / "parts" / "fold-0", 3, config)
    resumed = fit_network(sampler, 3, config, tmp_path / "parts" / "fold-0")
    assert resumed.losses == whole.losses
    assert len(whole.losses) == 3
    assert resumed.audio == whole.audio
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=0, atol=0)
    log = (tmp_path / "whole" / "fold-0" / "log.csv").read_text().splitlines()
    assert log[0] == "epoch,loss"
    assert [float(line.split(",")[1]) for line in log[1:]] == [pytest.approx(loss, abs=1e-6) for loss in whole.losses]


def test_another_split_starts_from_other_weights(tmp_path: Path, config: Config, sampler: WindowSampler) -> None:
    short = replace(config, train=replace(config.train, epochs=1))
    first, other = (fit_network(sampler, 3, short, tmp_path / name) for name in ("fold-0", "fold-1"))
    assert first.losses != other.losses


def test_a_loaded_network_answers_as_the_trained_one(tmp_path: Path, config: Config, sampler: WindowSampler) -> None:
    trained = fit_network(sampler, 3, config, tmp_path / "final")
    loaded = load_trained(tmp_path / "final", 3, config)
    features = np.random.default_rng(0).standard_normal((300, 1, 64, 48)).astype(np.float32)
    np.testing.assert_array_equal(trained.logits(features), loaded.logits(features))


def test_a_checkpoint_is_whole_and_runs_no_code(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", {"x": torch.arange(3), "losses": [0.5]})
    assert load_checkpoint(tmp_path / "a.pt")["losses"] == [0.5]
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Path("/"), protocol=2))
    (tmp_path / "text.pt").write_text("no checkpoint")
    for name in ("evil.pt", "text.pt"):
        with pytest.raises(RunError, match="expected a checkpoint, got another file"):
            load_checkpoint(tmp_path / name)
    with pytest.raises(RunError, match="expected a checkpoint, got: No such file"):
        load_checkpoint(tmp_path / "none.pt")
