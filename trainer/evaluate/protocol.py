"""The protocol of DCASE 2021 task 1B: each second of each clip is one decision; and a clip's ten seconds together.

Segment metrics are the challenge's: log loss (natural logarithm) ranks, accuracy is reported beside it. Both are given
over all segments and as the mean over scenes ("macro"), as in the challenge's baseline; macro accuracy is what
scikit-learn calls balanced accuracy. Scenes without segments are left out of macro means; their own figures are None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from trainer.errors import RunError
from trainer.evaluate.answers import WHOLE, Answers
from trainer.evaluate.metrics import (
    Integers,
    Vector,
    accuracy,
    brier_score,
    calibration_error,
    clip_means,
    fit_temperature,
    log_loss,
    losses,
    means_of,
    recording_probabilities,
    rights,
    softmax,
)
from trainer.evaluate.thresholds import group_sums

if TYPE_CHECKING:
    from trainer.clip_run import ClipEntry

Groups: TypeAlias = Sequence[Sequence[int]]
"""Indices of each group's labels; empty if there are no groups."""
OUTPUT_OF = {WHOLE: "fused"}
"""Output that a condition's temperature belongs to, where its name is not the condition's."""
_DRAWS = 1000
"""Bootstrap resamples; enough to know an interval's ends to about a thirtieth of its length."""
_CONFIDENCE = (2.5, 97.5)
"""Percentiles at the interval's ends."""


@dataclass(frozen=True, slots=True)
class Segments:
    """A network's answers for the segments of some clips, joined with the clips' metadata."""

    logits: Mapping[str, Vector]
    """[n_segments, n_labels] per condition; "whole" first."""
    targets: Integers
    """[n_segments] index of each segment's scene among the labels."""
    clips: Integers
    """[n_segments] index of each segment's clip in `entries`."""
    entries: tuple[ClipEntry, ...]
    """The run's clips."""

    @property
    def n_clips(self) -> int:
        """Number of clips that have segments."""
        return len(np.unique(self.clips))

    def names(self, of: str) -> tuple[Integers, list[str]]:
        """[n_segments] index of each segment's "label", "city", "place" or "device", and the sorted names."""
        column = [str(getattr(entry, of)) for entry in self.entries]
        names = sorted({column[index] for index in np.unique(self.clips)})
        number = {name: index for index, name in enumerate(names)}
        return np.array([number.get(name, -1) for name in column], np.int64)[self.clips], names


def gather_segments(
    answers: Answers, entries: Sequence[ClipEntry], labels: Sequence[str], where: Path | str
) -> Segments:
    """Join answers with their clips' metadata.

    Args:
        answers: A network's answers.
        entries: The run's clips; `answers.clips` are indices into them.
        labels: Scenes, in the order of the logits.
        where: Prefix of error messages.

    Raises:
        RunError: The answers are empty, not finite, or of other clips or labels.
    """
    clips = answers.clips
    if clips.ndim != 1 or not np.issubdtype(clips.dtype, np.integer) or len(clips) == 0:
        raise RunError(f"{where}: expected a clip's position a segment, got none; evaluate the network again")
    if clips.min() < 0 or clips.max() >= len(entries):
        raise RunError(
            f"{where}: expected positions of the run's {len(entries):,} clips, got {int(clips.min())} to "
            f"{int(clips.max())}; it is of another run"
        )
    for condition, logits in answers.logits.items():
        if logits.shape != (len(clips), len(labels)):
            raise RunError(
                f"{where}: expected logits [{len(clips)}, {len(labels)}], got {list(logits.shape)}; "
                "it is of another run"
            )
        bad = ~np.isfinite(logits).all(axis=1)
        if bad.any():
            raise RunError(
                f"{where}: expected numbers, got NaN or infinity in {int(bad.sum()):,} of {len(clips):,} segments "
                f"({condition}), first in {entries[clips[np.argmax(bad)]].key}; the network diverged: train it anew "
                "with a lower train.learning_rate"
            )
    position = {label: index for index, label in enumerate(labels)}
    strangers = sorted({entries[index].label for index in np.unique(clips)} - position.keys())
    if strangers:
        raise RunError(f"{where}: expected clips of {', '.join(labels)}, got {strangers[0]!r}")
    targets = np.array([position.get(entry.label, -1) for entry in entries], np.int64)[clips]
    order = sorted(answers.logits, key=lambda condition: (condition != WHOLE, condition))
    ordered = {condition: np.asarray(answers.logits[condition], np.float64) for condition in order}
    return Segments(ordered, targets, clips.astype(np.int64), tuple(entries))


def fit_temperatures(segments: Segments) -> dict[str, float]:
    """Fit each output's temperature to the least log loss, all segments weighted equally."""
    return {
        OUTPUT_OF.get(condition, condition): fit_temperature(logits, segments.targets)
        for condition, logits in segments.logits.items()
    }


def score(probabilities: Vector, targets: Integers, groups: Groups = ()) -> dict[str, float]:
    """Compute the metrics of a set of decisions: [n, n_labels] probabilities against [n] scenes.

    With groups (the indices of each one's labels), "group_accuracy" and "group_accuracy_macro" are added.
    """
    n_labels = probabilities.shape[1]
    right = rights(probabilities, targets)
    figures = {
        "accuracy": accuracy(probabilities, targets),
        "accuracy_macro": float(np.nanmean(means_of(right, targets, n_labels))),
        "log_loss": log_loss(probabilities, targets),
        "log_loss_macro": float(np.nanmean(means_of(losses(probabilities, targets), targets, n_labels))),
        "calibration_error": calibration_error(probabilities, targets),
        "brier_score": brier_score(probabilities, targets),
    }
    if groups:
        grouped = group_rights(probabilities, targets, groups)
        figures["group_accuracy"] = float(grouped.mean())
        figures["group_accuracy_macro"] = float(np.nanmean(means_of(grouped, targets, n_labels)))
    return figures


def score_clips(
    probabilities: Vector, targets: Integers, clips: Integers, groups: Groups = ()
) -> dict[str, dict[str, float]]:
    """Score one decision per clip, combining its segments in both customary ways.

    The challenge's baseline decides by the sum of log-probabilities, but takes the log loss of the mean probabilities:
    its 10-s accuracy corresponds to "mean_log_probability" here, its 10-s log loss to "mean_probability".
    """
    geometric, numbers = recording_probabilities(probabilities, clips)
    arithmetic, _ = clip_means(probabilities, clips)
    scenes = np.empty(int(numbers.max()) + 1, np.int64)
    scenes[clips] = targets
    return {
        "mean_log_probability": score(geometric, scenes[numbers], groups),
        "mean_probability": score(arithmetic, scenes[numbers], groups),
    }


def intervals(
    probabilities: Vector, targets: Integers, locations: Integers, groups: Groups = ()
) -> dict[str, list[float]] | None:
    """95 % intervals by a bootstrap over whole locations (Davison & Hinkley 1997, §3.8).

    Errors are correlated within a location, so locations are resampled with replacement. A scene missing from a
    resample is left out of that resample's macro means.

    Returns:
        Lower and upper end of accuracy, log loss and, with groups, group accuracy; None if there is only one location.
    """
    n_locations, n_labels = int(locations.max()) + 1, probabilities.shape[1]
    if n_locations < 2:
        return None
    cells = locations * n_labels + targets
    columns = {"accuracy": rights(probabilities, targets), "log_loss": losses(probabilities, targets)}
    if groups:
        columns["group_accuracy"] = group_rights(probabilities, targets, groups)
    rows = (np.ones(len(targets)), *columns.values())
    sums = np.stack([np.bincount(cells, row, minlength=n_locations * n_labels) for row in rows])
    table = sums.reshape(len(rows), n_locations, n_labels).swapaxes(0, 1).reshape(n_locations, -1)
    rng = np.random.default_rng(0)
    even = np.full(n_locations, 1 / n_locations)
    drawn = np.stack([rng.multinomial(n_locations, even) @ table for _ in range(_DRAWS)])
    counts, *totals = drawn.reshape(_DRAWS, len(rows), n_labels).swapaxes(0, 1)
    there = counts > 0
    within = np.where(there, counts, 1)
    draws: dict[str, Vector] = {}
    for name, total in zip(columns, totals, strict=True):
        draws[name] = total.sum(axis=1) / counts.sum(axis=1)
        draws[f"{name}_macro"] = (total / within).sum(axis=1) / there.sum(axis=1)
    return {name: np.percentile(values, _CONFIDENCE).tolist() for name, values in draws.items()}


def condition_figures(
    segments: Segments, condition: str, temperatures: Mapping[str, float], groups: Groups = ()
) -> dict[str, Any]:
    """Metrics of one condition: over segments, calibrated and uncalibrated, and over clips.

    Returns:
        "calibrated" (with "interval"), "uncalibrated", "clips".
    """
    logits, targets = segments.logits[condition], segments.targets
    calibrated = softmax(logits, temperatures[OUTPUT_OF.get(condition, condition)])
    locations, _ = segments.names("place")
    return {
        "calibrated": score(calibrated, targets, groups)
        | {"interval": intervals(calibrated, targets, locations, groups)},
        "uncalibrated": score(softmax(logits), targets),
        "clips": score_clips(calibrated, targets, segments.clips, groups),
    }


def breakdown(
    segments: Segments, probabilities: Vector, of: str, names: Sequence[str] | None = None
) -> dict[str, dict[str, Any]]:
    """Accuracy, log loss and counts, grouped by "label", "city", "place" or "device".

    Args:
        segments: The segments and their clips.
        probabilities: [n_segments, n_labels].
        of: The attribute to group by.
        names: Groups to list, in this order, with None as metrics if they have no segment; None: all that occur.
    """
    members, present = segments.names(of)
    right = rights(probabilities, segments.targets)
    n = len(present)
    columns = (means_of(right, members, n), means_of(losses(probabilities, segments.targets), members, n))
    clips = np.unique(np.stack([members, segments.clips]), axis=1)[0]
    places = np.unique(np.stack([members, segments.names("place")[0]]), axis=1)[0]
    counts = [np.bincount(rows, minlength=n).tolist() for rows in (members, clips, places)]
    rows = {
        name: dict(zip(("accuracy", "log_loss", "n_segments", "n_clips", "n_locations"), row, strict=True))
        for name, row in zip(present, zip(*(column.tolist() for column in columns), *counts, strict=True), strict=True)
    }
    empty = {"accuracy": None, "log_loss": None, "n_segments": 0, "n_clips": 0, "n_locations": 0}
    return {name: rows.get(name, dict(empty)) for name in (present if names is None else names)}


def chance(n_labels: int, targets: Integers | None = None, groups: Groups = ()) -> dict[str, float]:
    """Metrics of a uniform prediction; with groups, those of a random scene's group, where [n] scenes are the truth."""
    figures = {"accuracy": 1 / n_labels, "log_loss": math.log(n_labels)}
    if groups and targets is not None:
        mates = np.zeros(n_labels)
        for members in groups:
            mates[list(members)] = len(members)
        figures["group_accuracy"] = float(mates[targets].mean() / n_labels)
        figures["group_accuracy_macro"] = float(mates[np.unique(targets)].mean() / n_labels)
    return figures


def group_rights(probabilities: Vector, targets: Integers, groups: Groups) -> Vector:
    """[n]: 1 if the group of the largest summed probability contains the scene, else 0; 1/k if k groups tie for it."""
    sums, mine = group_sums(probabilities, targets, groups)
    return np.where(mine >= 0, rights(sums, mine), 0.0)
