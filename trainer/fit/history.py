"""Per-epoch training history: kept in the checkpoint, and written as CSV and, if installed, to TensorBoard."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from trainer.files import write_whole


@dataclass(frozen=True, slots=True)
class Epoch:
    """Record of one epoch."""

    epoch: int
    """Epoch number, from 1, counted over all stages."""
    stage: str
    """Name of the stage: "all", or a step's number and parts."""
    learning_rate: float
    """Learning rate of the last step."""
    loss: float
    """Mean training loss over the steps."""
    validation_loss: float | None
    """Mean log loss of the averaged weights on the validation split; None: there is no such split."""
    seconds: float
    """Duration without validation."""
    data_wait: float
    """Fraction of that time spent waiting for the next batch."""


def to_plain(history: Sequence[Epoch]) -> list[dict[str, Any]]:
    """Convert a history to the plain values that a checkpoint stores."""
    return [asdict(epoch) for epoch in history]


def from_plain(values: Sequence[dict[str, Any]]) -> tuple[Epoch, ...]:
    """Inverse of `to_plain`."""
    return tuple(Epoch(**value) for value in values)


def write_log(path: Path, history: Sequence[Epoch]) -> None:
    """Write a history as CSV, one row per epoch."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Epoch)])
    for e in history:
        validation = "" if e.validation_loss is None else f"{e.validation_loss:.6f}"
        rest = (f"{e.seconds:.3f}", f"{e.data_wait:.4f}")
        writer.writerow([e.epoch, e.stage, f"{e.learning_rate:.6g}", f"{e.loss:.6f}", validation, *rest])
    write_whole(path, lambda file: file.write(text.getvalue().encode()))


class TensorBoard:
    """Context manager that writes TensorBoard scalars if the package is installed; the first epoch opens the writer."""

    def __init__(self, folder: Path) -> None:
        """Remember the folder; no file is created yet."""
        self._folder = folder
        self._writer: Any = None
        self._is_there = True

    def add(self, epoch: Epoch) -> None:
        """Log one epoch; an earlier process's entries for this and later epochs are purged."""
        if self._writer is None and self._is_there:
            self._open(epoch.epoch)
        if self._writer is None:
            return
        scalars = {
            "loss/training": epoch.loss,
            "loss/validation": epoch.validation_loss,
            "learning_rate": epoch.learning_rate,
            "data_wait": epoch.data_wait,
        }
        for tag, value in scalars.items():
            if value is not None:
                self._writer.add_scalar(tag, value, epoch.epoch)
        self._writer.flush()

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            with suppress(*((OSError,) if error is not None else ())):  # a full disk has already been reported
                self._writer.close()

    def _open(self, first: int) -> None:
        """Open the writer, or note that TensorBoard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._is_there = False
            return
        self._writer = SummaryWriter(str(self._folder), purge_step=first)
