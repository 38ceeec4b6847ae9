"""The stages of a training: each trains its parts of the network with rates of its own; without any there is one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from trainer.config import Config, StepConfig
from trainer.errors import ConfigError
from trainer.models.freezing import train_only
from trainer.models.pretrained import find_part


@dataclass(frozen=True, slots=True)
class Stage:
    """One of `train.steps`, or all of the training where there are none."""

    name: str
    """What the log calls it: "2 scene.visual+encoder"; "all" where there are none."""
    config: Config
    """The run's, with this stage's values in `[train]` and `[augment]`."""
    answer: str
    """Output that the loss is about."""
    parts: tuple[str, ...] | None
    """Parts that are trained; None: those that the network was built with."""

    @property
    def n_steps(self) -> int:
        """The optimiser's steps an epoch, at least one."""
        train = self.config.train
        return max(1, train.windows_per_epoch // train.batch_size)

    def prepare(self, network: nn.Module) -> None:
        """Freeze what this stage leaves alone, free what it trains.

        Raises:
            ConfigError: The network has no such part.
        """
        if self.parts is not None:
            train_only(network, [find_part(network, part, "train.steps: parts") for part in self.parts])
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise ConfigError(
                "model.freeze and train.steps: expected a part of the network that is trained, got all of it frozen"
            )


def stages_of(config: Config, n_processes: int, *, validated: bool) -> tuple[Stage, ...]:
    """The stages of a configuration, in order.

    Args:
        config: The run's.
        n_processes: Processes that share every batch.
        validated: Whether there is a validation loss after each epoch.

    Raises:
        ConfigError: A batch cannot be shared by so many, or something waits for a validation loss that never comes.
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
    """What a step changes."""
    keys = ("epochs", "learning_rate", "batch_size", "plateau_epochs", "stop_epochs")
    changes = {key: getattr(step, key) for key in keys if getattr(step, key) is not None}
    augment = config.augment if step.mixup is None else replace(config.augment, mixup=step.mixup)
    changed = replace(config, train=replace(config.train, **changes), augment=augment)
    name = f"{number} {'+'.join(part or 'all' for part in step.parts)}"
    return Stage(name, changed, step.answer, step.parts)


def _check_unvalidated(stage: Stage) -> None:
    """Refuse what waits for a validation loss."""
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
