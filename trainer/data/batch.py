"""The data of one training step, and the protocol that provides it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.config import Config
from trainer.inputs import Inputs


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of windows with their targets."""

    inputs: Mapping[str, NDArray[np.float32]]
    """Input name (`trainer.inputs`) to [n, …]: features, waveform, frames [n, k, 3, height, width], presence [n, 2]."""
    targets: NDArray[np.float32]
    """[n, n_labels]; each row sums to 1."""


@dataclass(frozen=True, slots=True)
class Process:
    """This process's place among the training processes."""

    rank: int = 0
    """Index of this process."""
    count: int = 1
    """Number of processes."""


class TrainingData(Protocol):
    """Provides the batches of every epoch; the same epoch always gives the same batches."""

    def measure(self, rng: np.random.Generator) -> Inputs:
        """The network's inputs, with any unset normalisation statistics filled in."""

    def batches(self, inputs: Inputs, epoch: int, config: Config, process: Process) -> Iterator[Batch]:
        """This process's share of every batch of one epoch: `batch_size / count` windows each."""
