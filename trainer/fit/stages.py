"""Training stages: each trains some parts of the network with its own settings; without `train.steps` there is one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from trainer.config import Config, StepConfig
from trainer.errors import ConfigError
from trainer.models.freezing import train_only
from trainer.models.pretrained import find_part


@dataclass(frozen=True, slots=True)
class Stage:
    """One entry of `train.steps`, or the whole training if there are none."""

    name: str
    """Name in the log, such as "2 scene.visual+encoder"; "all" without `train.steps`."""
    config: Config
    """The run's configuration with this stage's values in `[train]` and `[augment]`."""
    answer: str
    """Network output that the loss is computed on."""
    parts: tuple[str, ...] | None
    """Parts to train; None: those that the built network leaves trainable."""

    @property
    def n_steps(self) -> int:
        """Optimiser steps per epoch, at least one."""
        train = self.config.train
        return max(1, train.windows_per_epoch // train.batch_size)

    def prepare(self, network: nn.Module) -> None:
        """Freeze the parts that this stage does not train, and unfreeze those it does.

        Raises:
            ConfigError: The network has no such part, or nothing in it is trainable.
        """
        if self.parts is not None:
            train_only(network, [find_part(network, part, "train.steps: parts") for part in self.parts])
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise ConfigError(
                "model.freeze and train.steps: expected a part of the network that is trained, got all of it frozen"
            )


def stages_of(config: Config, n_processes: int, *, validated: bool) -> tuple[Stage, ...]:
    """Return a configuration's stages, in order.

    Args:
        config: The run's configuration.
        n_processes: Number of processes that share every batch.
        validated: Whether a validation loss is computed after each epoch.

    Raises:
        ConfigError: A batch cannot be split among that many processes, or a setting needs the validation loss that is
            not computed.
    """
    steps = config.train.steps
    stages = tuple(_stage(config, step, number) for number, step in enumerate(steps, start=1))
    stages = stages or (Stage("all", config, "fused", None),)
    for stage in stages:
        size = stage.config.train.batch_size
        if size % n_processes or size < 2 * n_processes:
            raise ConfigError(
                f"train.batch_size: expected a multiple of the {n_processes} processes, two windows each or more, "
                f"got {size}"
            )
        if not validated:
            _check_unvalidated(stage)
    return stages


def _stage(config: Config, step: StepConfig, number: int) -> Stage:
    """Apply a step's settings to the configuration."""
    keys = ("epochs", "learning_rate", "batch_size", "plateau_epochs", "stop_epochs")
    changes = {key: getattr(step, key) for key in keys if getattr(step, key) is not None}
    augment = config.augment if step.mixup is None else replace(config.augment, mixup=step.mixup)
    changed = replace(config, train=replace(config.train, **changes), augment=augment)
    name = f"{number} {'+'.join(part or 'all' for part in step.parts)}"
    return Stage(name, changed, step.answer, step.parts)


def _check_unvalidated(stage: Stage) -> None:
    """Raise ConfigError for settings that need a validation loss."""
    train = stage.config.train
    for key, value, waits in (
        ("select", train.select, train.select == "best"),
        ("stop_epochs", train.stop_epochs, train.stop_epochs is not None and train.stop_epochs < train.epochs),
        ("schedule", train.schedule, train.schedule == "plateau"),
    ):
        if waits:
            raise ConfigError(
                f"train.{key}: expected one that waits for no validation loss, got {value!r}: recordings that are "
                "listed by data.labels have no validation split; leave it out, or train on data.prepared"
            )
