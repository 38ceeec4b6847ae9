"""The learning-rate range test: finds the highest usable learning rate before a one-cycle training (Smith, 2017).

It follows the wave-spec-fusion systems: fifty rates, one batch each, from fresh weights; a tenth of the rate with the
lowest loss; the median of seven repetitions.
"""

from __future__ import annotations

import copy
import csv
import io
import itertools
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trainer.config import Config
from trainer.data.batch import Process, TrainingData
from trainer.errors import DataError
from trainer.files import write_whole
from trainer.fit.curves import draw_range_test, has_matplotlib
from trainer.fit.distributed import find_device
from trainer.fit.optim import make_optimizer
from trainer.fit.stage_training import Feed, StageLoss
from trainer.fit.stages import Stage
from trainer.models.freezing import training_mode
from trainer.models.systems import build_network, check_inputs

TABLE, PICTURE = "range_test.csv", "range_test.png"
RATES = tuple(float(rate) for rate in np.logspace(-7, 2, 50))
"""Learning rates to try, one batch each."""
REPETITIONS = 7
_BELOW = 10.0
"""Ratio of the rate with the lowest loss to the suggested peak."""


@dataclass(frozen=True, slots=True)
class RangeTest:
    """Result of a range test."""

    rates: tuple[float, ...]
    """Learning rates, ascending."""
    losses: tuple[tuple[float, ...], ...]
    """Per repetition, one loss per rate, computed before that rate's step; NaN from the first non-finite loss on."""
    peak: float
    """Suggested value for `train.learning_rate`."""


def range_test(
    config: Config,
    n_labels: int,
    data: TrainingData,
    folder: Path,
    *,
    root: Path | None = None,
    rates: Sequence[float] = RATES,
    repetitions: int = REPETITIONS,
) -> RangeTest:
    """Try learning rates; the folder gets a table and a plot but no checkpoint, as no training is kept.

    If the configuration has `train.steps`, the whole network is tested, and always without a teacher.

    Args:
        config: The training configuration to test.
        n_labels: Number of labels.
        data: Provides the batches.
        folder: Where `range_test.csv` and `range_test.png` are written.
        root: The data folder, for pretrained weights.
        rates: Learning rates, ascending.
        repetitions: Number of repetitions, each on different batches.

    Raises:
        ConfigError: The configuration cannot be satisfied; the message names the key.
        DataError: There are no batches, or no loss is finite.
    """
    torch.set_num_threads(config.train.threads)
    check_inputs(config)
    device = find_device(config.train.device)
    seed = (config.seed, zlib.crc32(folder.name.encode()))
    inputs = data.measure(np.random.default_rng((*seed, 0)))
    torch.manual_seed(config.seed)
    network = build_network(config, n_labels, root).to(device)
    epochs = (Feed(data.batches(inputs, number, config, Process()), device, None) for number in itertools.count())
    batches = _endless(epochs)
    losses = tuple(_losses(config, copy.deepcopy(network), batches, rates) for _ in range(repetitions))
    lowest = [rates[int(np.nanargmin(line))] for line in losses if not all(math.isnan(loss) for loss in line)]
    if not lowest:
        raise DataError("range test: expected a loss that is a number at the lowest learning rate, got none")
    result = RangeTest(tuple(rates), losses, float(f"{float(np.median(lowest)) / _BELOW:.3g}"))
    _write(folder, result)
    return result


def _losses(
    config: Config, network: nn.Module, batches: Iterator[tuple[object, ...]], rates: Sequence[float]
) -> tuple[float, ...]:
    """Train one batch per rate and return the losses; NaN from the first non-finite loss on."""
    stage = Stage("all", config, "fused", None)
    stage.prepare(network)
    module, optimizer = StageLoss(check_inputs(config), network, stage), make_optimizer(network, config.train)
    training_mode(network)
    losses: list[float] = []
    for rate in rates:
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = module(*next(batches))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            break
    finite = losses if math.isfinite(losses[-1]) else losses[:-1]
    return (*finite, *(math.nan for _ in range(len(rates) - len(finite))))


def _endless(epochs: Iterator[Feed]) -> Iterator[tuple[object, ...]]:
    """Chain the batches of endless epochs.

    Raises:
        DataError: An epoch has no batch.
    """
    for feed in epochs:
        n_batches = 0
        for batch in feed:
            n_batches += 1
            yield batch
        if n_batches == 0:
            raise DataError("expected a batch of training windows at least, got none; lower train.batch_size")


def _write(folder: Path, result: RangeTest) -> None:
    """Write the table and, if matplotlib is installed, the plot."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["learning_rate", *(f"loss_{number}" for number in range(1, len(result.losses) + 1))])
    for rate, losses in zip(result.rates, zip(*result.losses, strict=True), strict=True):
        writer.writerow([f"{rate:.6g}", *("" if math.isnan(loss) else f"{loss:.6f}" for loss in losses)])
    write_whole(folder / TABLE, lambda file: file.write(text.getvalue().encode()))
    if has_matplotlib():
        draw_range_test(folder / PICTURE, result.rates, result.losses, result.peak)
