"""The submission table of DCASE 2021 task 1B, tab-separated: one row per segment with its scene and probabilities.

    filename                                scene_label  airport  bus  …  tram
    airport-lisbon-1175-44106_0.wav.mp4     airport      0.91     0.0…

Formatted as by the challenge's baseline: the segment's number after the clip's name, `.wav`, `.mp4` or both according
to the modalities used, scenes in alphabetical order. Probabilities have all digits, so reading them back is exact.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.errors import DataError
from trainer.evaluate.answers import WHOLE
from trainer.evaluate.metrics import Vector, softmax
from trainer.evaluate.protocol import OUTPUT_OF, Segments
from trainer.files import write_text

FILENAME, LABEL = "filename", "scene_label"
_SUM_TOLERANCE = 1e-6
"""Allowed deviation of a row's sum from 1, as other systems' files are rounded."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A system's answers."""

    labels: tuple[str, ...]
    """Scenes, in the order of the columns."""
    names: tuple[str, ...]
    """[n_segments] file name of each segment."""
    answers: tuple[str, ...]
    """[n_segments] predicted scene."""
    probabilities: Vector
    """[n_segments, n_labels]."""


def submission_of(
    segments: Segments, labels: Sequence[str], temperatures: Mapping[str, float], suffix: str
) -> Submission:
    """Build a submission from calibrated answers.

    Args:
        segments: Answers, with all modalities present.
        labels: Scenes, in the order of the logits.
        temperatures: With one for "fused".
        suffix: ".wav", ".mp4" or ".wav.mp4".
    """
    probabilities = softmax(segments.logits[WHOLE], temperatures[OUTPUT_OF[WHOLE]])
    _, positions, counts = np.unique(segments.clips, return_inverse=True, return_counts=True)
    order = np.argsort(positions, kind="stable")
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    keys = [segments.entries[clip].key for clip in segments.clips]
    names = tuple(f"{key}_{number}{suffix}" for key, number in zip(keys, numbers.tolist(), strict=True))
    answers = tuple(labels[index] for index in probabilities.argmax(axis=1))
    return Submission(tuple(labels), names, answers, probabilities)


def write_submission(path: Path, submission: Submission) -> None:
    """Write the table atomically."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow((FILENAME, LABEL, *submission.labels))
    rows = zip(submission.names, submission.answers, submission.probabilities.tolist(), strict=True)
    writer.writerows((name, answer, *map(repr, values)) for name, answer, values in rows)
    write_text(path, text.getvalue())


def read_submission(path: Path) -> Submission:
    """Read a submission and check it as the challenge would.

    Raises:
        DataError: It cannot be read or is not a submission; the message names the line.
    """
    try:
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8")), delimiter="\t"))
    except OSError as error:
        raise DataError(f"{path}: expected a submission, got: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected a tab-separated table, got something else: {error}") from None
    head = lines[0] if lines else []
    labels = tuple(head[2:])
    if head[:2] != [FILENAME, LABEL] or len(labels) < 2 or list(labels) != sorted(set(labels)):
        raise DataError(
            f"{path}:1: expected {FILENAME}, {LABEL} and two scenes or more in alphabetical order, tab-separated, "
            f"got {', '.join(head) or 'nothing'}"
        )
    names: dict[str, int] = {}
    probabilities = np.empty((len(lines) - 1, len(labels)))
    for number, row in enumerate(lines[1:], start=2):
        where = f"{path}:{number}"
        if len(row) != len(head):
            raise DataError(f"{where}: expected {len(head)} columns, got {len(row)}")
        if row[0] in names:
            raise DataError(f"{where}: expected each segment once, got {row[0]} as in line {names[row[0]]}")
        names[row[0]] = number
        probabilities[number - 2] = _probabilities(row, labels, where)
    return Submission(labels, tuple(names), tuple(row[1] for row in lines[1:]), probabilities)


def _probabilities(row: Sequence[str], labels: Sequence[str], where: str) -> list[float]:
    """Parse a row's probabilities, and check that the predicted scene has the largest."""
    try:
        values = [float(cell) for cell in row[2:]]
    except ValueError as error:
        raise DataError(f"{where}: expected probabilities, got something else: {error}") from None
    if not all(0 <= value <= 1 for value in values) or abs(sum(values) - 1) > _SUM_TOLERANCE:
        raise DataError(f"{where}: expected probabilities that sum to 1, got a sum of {sum(values):g}")
    if row[1] not in labels:
        raise DataError(f"{where}: expected one of {', '.join(labels)}, got {row[1]!r}")
    if values[labels.index(row[1])] < max(values):
        best = labels[values.index(max(values))]
        raise DataError(f"{where}: expected {best}, the likeliest, as its scene, got {row[1]}")
    return values
