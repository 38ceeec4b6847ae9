"""What a training did, epoch by epoch: kept in the checkpoint, written as CSV, and for TensorBoard if it is there."""

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
    """One pass."""

    epoch: int
    """Its number, from 1, over all stages."""
    stage: str
    """What was trained: "all", or a step's number and parts."""
    learning_rate: float
    """Of its last step."""
    loss: float
    """Mean over its steps."""
    validation_loss: float | None
    """Mean log loss on the validation split, by the averaged weights; None: there is none."""
    seconds: float
    """What it took, validation left out."""
    data_wait: float
    """Part of that in which the network waited for its next batch."""


def to_plain(history: Sequence[Epoch]) -> list[dict[str, Any]]:
    """A history as a checkpoint keeps it."""
    return [asdict(epoch) for epoch in history]


def from_plain(values: Sequence[dict[str, Any]]) -> tuple[Epoch, ...]:
    """The other way."""
    return tuple(Epoch(**value) for value in values)


def write_log(path: Path, history: Sequence[Epoch]) -> None:
    """A history as CSV, a line an epoch."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Epoch)])
    for e in history:
        validation = "" if e.validation_loss is None else f"{e.validation_loss:.6f}"
        rest = (f"{e.seconds:.3f}", f"{e.data_wait:.4f}")
        writer.writerow([e.epoch, e.stage, f"{e.learning_rate:.6g}", f"{e.loss:.6f}", validation, *rest])
    write_whole(path, lambda file: file.write(text.getvalue().encode()))


class TensorBoard:
    """Scalars for TensorBoard, where the package is there; entered by `with`, opened by the first epoch."""

    def __init__(self, folder: Path) -> None:
        """Nothing is made yet."""
        self._folder = folder
        self._writer: Any = None
        self._is_there = True

    def add(self, epoch: Epoch) -> None:
        """One epoch; what an earlier process wrote of it or of later ones no longer counts."""
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
            with suppress(*((OSError,) if error is not None else ())):  # a full disk has been said already
                self._writer.close()

    def _open(self, first: int) -> None:
        """Open the writer, or see that there is none."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._is_there = False
            return
        self._writer = SummaryWriter(str(self._folder), purge_step=first)
