"""From which score on a scene or a group is named: chosen on held-out answers, after the runtime's own filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ascstream.smoothing import SceneFilter
from engines.manifest import SmoothingSpec
from trainer.evaluate.metrics import Integers, Vector, recording_weights

_CONSIDERED = np.round(np.arange(0.40, 0.96, 0.01), 2)
"""Thresholds to choose from."""


def smooth_clips(
    probabilities: Vector, clips: Integers, spec: SmoothingSpec, window_seconds: float, step_seconds: float
) -> Vector:
    """What the runtime's filter makes of the windows, each clip a stream of its own.

    Args:
        probabilities: [n_windows, n_labels], calibrated; the windows of a clip in order of time.
        clips: [n_windows] which clip each belongs to.
        spec: The filter.
        window_seconds: Length of a window.
        step_seconds: Time between two windows' ends.
    """
    smoothed = np.empty_like(probabilities)
    _, positions, counts = np.unique(clips, return_inverse=True, return_counts=True)
    order = np.argsort(positions, kind="stable")
    firsts = np.cumsum(counts) - counts
    for count in np.unique(counts):  # clips of equal length go side by side
        rows = order[firsts[counts == count, None] + np.arange(count)]
        scene_filter = SceneFilter(probabilities.shape[1], spec, window_seconds)
        for k in range(count):
            seconds = window_seconds if k == 0 else step_seconds
            smoothed[rows[:, k]] = scene_filter.update(probabilities[rows[:, k]], seconds)
    return smoothed


def choose_thresholds(
    smoothed: Vector,
    targets: Integers,
    clips: Integers,
    groups: Sequence[Sequence[int]],
    precision: float,
    group_precision: float | None = None,
) -> dict[str, float]:
    """The lowest thresholds whose named answers are right as often as demanded.

    Every clip counts alike; scenes count as often as they were recorded, since how often a named answer is right
    depends on how often it could have been another. Where no threshold is enough, the highest considered stands. Groups
    are judged where no scene is named.

    Args:
        smoothed: [n_windows, n_labels] what `smooth_clips` gives.
        targets: [n_windows] scene of each.
        clips: [n_windows] clip of each.
        groups: The positions of each group's labels.
        precision: Part of the named answers that shall be right.
        group_precision: Of named groups; None: the same.

    Returns:
        "scene", and "group" where there are groups, and for each its "_precision" and "_coverage": how often it is
        right where it is named, and the part of all time it is named.
    """
    weights = recording_weights(clips)
    scores = smoothed.max(axis=1)
    scene = _lowest(scores, smoothed.argmax(axis=1) == targets, weights, precision)
    if not groups:
        return measure_thresholds(smoothed, targets, clips, groups, {"scene": scene})
    sums, right = best_groups(smoothed, targets, groups)
    unnamed = scores < scene
    demanded = precision if group_precision is None else group_precision
    group = _lowest(sums[unnamed], right[unnamed], weights[unnamed], demanded)
    return measure_thresholds(smoothed, targets, clips, groups, {"scene": scene, "group": group})


def measure_thresholds(
    smoothed: Vector,
    targets: Integers,
    clips: Integers,
    groups: Sequence[Sequence[int]],
    thresholds: Mapping[str, float],
) -> dict[str, float]:
    """How often named answers are right, and how much of the time there is one, at given thresholds.

    Arguments and result are those of `choose_thresholds`; `thresholds` has "scene", and "group" where there are groups.
    """
    weights = recording_weights(clips)
    scores, right = smoothed.max(axis=1), smoothed.argmax(axis=1) == targets
    named = scores >= thresholds["scene"]
    result = _measured("scene", thresholds["scene"], named, right, weights)
    if groups:
        sums, right = best_groups(smoothed, targets, groups)
        result |= _measured("group", thresholds["group"], ~named & (sums >= thresholds["group"]), right, weights)
    return result


def best_groups(
    probabilities: Vector, targets: Integers, groups: Sequence[Sequence[int]]
) -> tuple[Vector, NDArray[np.bool_]]:
    """[n] each: the score of the best group, the sum of its labels', and whether it holds the scene."""
    member_of = np.full(probabilities.shape[1], -1)
    for number, members in enumerate(groups):
        member_of[list(members)] = number
    sums = np.stack([probabilities[:, list(members)].sum(axis=1) for members in groups], axis=1)
    return np.asarray(sums.max(axis=1)), np.asarray(sums.argmax(axis=1) == member_of[targets])


def _lowest(scores: Vector, right: NDArray[np.bool_], weights: Vector, precision: float) -> float:
    """The lowest threshold that is enough; else the highest considered."""
    for value in _CONSIDERED:
        named = scores >= value
        coverage = weights[named].sum()
        if coverage > 0 and weights[named & right].sum() / coverage >= precision:
            return float(value)
    return float(_CONSIDERED[-1])


def _measured(
    name: str, threshold: float, named: NDArray[np.bool_], right: NDArray[np.bool_], weights: Vector
) -> dict[str, float]:
    """A threshold with its precision and coverage."""
    coverage = float(weights[named].sum())
    precision = float(weights[named & right].sum() / coverage) if coverage > 0 else 0.0
    return {name: threshold, f"{name}_precision": precision, f"{name}_coverage": coverage}
