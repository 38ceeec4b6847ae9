"""What one step of training takes, and who gives it."""

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
    """Windows and what they are."""

    inputs: Mapping[str, NDArray[np.float32]]
    """Name (`trainer.inputs`) to [n, …]: features, waveform, frames [n, k, 3, height, width], presence [n, 2]."""
    targets: NDArray[np.float32]
    """[n, n_labels], each row sums to 1."""


@dataclass(frozen=True, slots=True)
class Process:
    """Which of several training processes this one is."""

    rank: int = 0
    """Its number."""
    count: int = 1
    """How many there are."""


class TrainingData(Protocol):
    """Gives the batches of every epoch, the same ones whenever it is asked again."""

    def measure(self, rng: np.random.Generator) -> Inputs:
        """The network's inputs, with the statistics filled in that they leave open."""

    def batches(self, inputs: Inputs, epoch: int, config: Config, process: Process) -> Iterator[Batch]:
        """This process's part of every batch of one epoch: `batch_size / count` windows each."""
