"""What each stage of a recipe trains, and with which values."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.training import tiny_config

from trainer.config import load_config
from trainer.errors import ConfigError
from trainer.fit.stages import stages_of
from trainer.models.se_crnn import SeCrnn

CONFIGS = Path(__file__).parents[3] / "configs"
SE_CRNN = [
    ("audio", 1e-3, 32, 15, 80, 0.4),
    ("video", 1e-4, 16, 20, 40, 0.0),
    ("video", 1e-6, 16, 20, 40, 0.0),
    ("fused", 1e-4, 16, 15, 80, 0.0),
    ("fused", 1e-6, 16, 15, 80, 0.0),
]
"""Answer, rate, batch, epochs until the rate is halved, until the step ends, mixup: as published."""


def test_the_five_steps_of_se_crnn_train_what_was_published() -> None:
    stages = stages_of(load_config(CONFIGS / "se_crnn.toml"), 1, validated=True)
    with torch.device("meta"):
        network = SeCrnn(10)
    trained = []
    for stage, published in zip(stages, SE_CRNN, strict=True):
        stage.prepare(network)
        trained.append(sum(p.numel() for p in network.parameters() if p.requires_grad))
        train, mixup = stage.config.train, stage.config.augment.mixup
        rates = train.learning_rate, train.batch_size, train.plateau_epochs, train.stop_epochs
        assert (stage.answer, *rates, mixup) == published
        assert train.epochs == 200
    assert trained == [321_930, 105_482, 105_482 + 14_714_688, 272_704, sum(p.numel() for p in network.parameters())]
    assert [stage.name for stage in stages] == [
        "1 scene.audio",
        "2 scene.visual",
        "3 scene.visual+encoder",
        "4 scene.gru+scene.early+scene.late",
        "5 all",
    ]


def test_without_steps_there_is_one_stage_that_leaves_frozen_parts_alone(tmp_path: Path) -> None:
    (stage,) = stages_of(tiny_config(tmp_path), 1, validated=False)
    with torch.device("meta"):
        network = SeCrnn(10)
    network.encoder.requires_grad_(False)
    stage.prepare(network)
    assert not any(parameter.requires_grad for parameter in network.encoder.parameters())
    assert (stage.name, stage.answer, stage.n_steps) == ("all", "fused", 3)


def test_a_part_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    (stage,) = stages_of(tiny_config(tmp_path, 'train.steps=[{parts=["sceen.audio"]}]'), 1, validated=False)
    with torch.device("meta"):
        network = SeCrnn(10)
    with pytest.raises(ConfigError, match=r"train\.steps: .*expected a part of the network.*got 'sceen\.audio'"):
        stage.prepare(network)
