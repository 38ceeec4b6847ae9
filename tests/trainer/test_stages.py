"""What each stage of a recipe trains, and with which values."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.training import tiny_config

from trainer.errors import ConfigError
from trainer.models.se_crnn import STEPS, SeCrnn
from trainer.stages import stages_of

SE_CRNN = """train.steps=[
  {parts=["scene.audio"], answer="audio", learning_rate=1e-3, batch_size=32, mixup=0.4, stop_epochs=80},
  {parts=["scene.visual"], answer="video", learning_rate=1e-4, plateau_epochs=20, stop_epochs=40},
  {parts=["scene.visual", "encoder"], answer="video", learning_rate=1e-6, plateau_epochs=20, stop_epochs=40},
  {parts=["scene.gru", "scene.early", "scene.late"], learning_rate=1e-4, stop_epochs=80},
  {parts=[""], learning_rate=1e-6, stop_epochs=80},
]""".replace("\n", "")


def test_the_five_steps_of_se_crnn_train_what_was_published(tmp_path: Path) -> None:
    config = tiny_config(
        tmp_path, SE_CRNN, "train.epochs=200", "train.batch_size=16", "train.schedule=plateau", "augment.mixup=0"
    )
    stages = stages_of(config, 1, validated=True)
    with torch.device("meta"):
        network = SeCrnn(10)
    trained = []
    for stage, step in zip(stages, STEPS.values(), strict=True):
        stage.prepare(network)
        trained.append(sum(p.numel() for p in network.parameters() if p.requires_grad))
        train = stage.config.train
        assert (stage.answer, train.learning_rate, train.batch_size) == (step.answer, step.learning_rate, step.batch)
        assert (train.plateau_epochs, train.stop_epochs) == (step.patience, step.stop)
        assert stage.config.augment.mixup == step.mixup
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
