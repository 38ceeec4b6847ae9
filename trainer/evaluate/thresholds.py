"""Score thresholds for naming a scene or a group, chosen on held-out answers after the runtime's own filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ascstream.smoothing import SceneFilter
from engines.manifest import SmoothingSpec
from trainer.evaluate.metrics import Integers, Vector, recording_weights

_CONSIDERED = np.round(np.arange(0.40, 0.96, 0.01), 2)
"""Candidate thresholds."""


def smooth_clips(
    probabilities: Vector, clips: Integers, spec: SmoothingSpec, window_seconds: float, step_seconds: float
) -> Vector:
    """Run the runtime's filter over the windows, each clip as a separate stream.

    Args:
        probabilities: [n_windows, n_labels], calibrated; each clip's windows in order of time.
        clips: [n_windows] clip of each window.
        spec: The filter's settings.
        window_seconds: Length of a window.
        step_seconds: Time between the ends of successive windows.
    """
    smoothed = np.empty_like(probabilities)
    _, positions, counts = np.unique(clips, return_inverse=True, return_counts=True)
    order = np.argsort(positions, kind="stable")
    firsts = np.cumsum(counts) - counts
    for count in np.unique(counts):  # clips of equal length are filtered as one batch
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
    """Choose the lowest thresholds at which named answers are right as often as demanded.

    Every clip has equal weight; scenes count in proportion to their recordings, as a named answer's precision depends
    on how often each other scene occurs. If no threshold suffices, the highest candidate is used. Groups are judged
    only where no scene is named.

    Args:
        smoothed: [n_windows, n_labels] from `smooth_clips`.
        targets: [n_windows] scene of each window.
        clips: [n_windows] clip of each window.
        groups: Indices of each group's labels.
        precision: Fraction of the named answers that must be right.
        group_precision: The same for named groups; None: equal to `precision`.

    Returns:
        "scene", and "group" if there are groups, and for each its "_precision" and "_coverage": the fraction of its
        named answers that are right, and the fraction of the time that it is named.
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
    """Measure the precision and coverage of named answers at given thresholds.

    Arguments and result are as in `choose_thresholds`; `thresholds` has "scene", and "group" if there are groups.
    """
    weights = recording_weights(clips)
    scores, right = smoothed.max(axis=1), smoothed.argmax(axis=1) == targets
    named = scores >= thresholds["scene"]
    result = _measured("scene", thresholds["scene"], named, right, weights)
    if groups:
        sums, right = best_groups(smoothed, targets, groups)
        result |= _measured("group", thresholds["group"], ~named & (sums >= thresholds["group"]), right, weights)
    return result


def reported(measured: Mapping[str, float]) -> dict[str, float | None]:
    """The result of `choose_thresholds` or `measure_thresholds` for a report: the precision of no answers is None."""
    nothing = {f"{name}_precision" for name in ("scene", "group") if measured.get(f"{name}_coverage") == 0}
    return {name: None if name in nothing else value for name, value in measured.items()}


def best_groups(
    probabilities: Vector, targets: Integers, groups: Sequence[Sequence[int]]
) -> tuple[Vector, NDArray[np.bool_]]:
    """[n] each: the best group's score, the sum over its labels, and whether the group contains the scene."""
    sums, mine = group_sums(probabilities, targets, groups)
    return np.asarray(sums.max(axis=1)), np.asarray(sums.argmax(axis=1) == mine)


def group_sums(probabilities: Vector, targets: Integers, groups: Sequence[Sequence[int]]) -> tuple[Vector, Integers]:
    """[n, n_groups] summed probabilities, and [n] the group that contains the scene; -1 if none does."""
    member_of = np.full(probabilities.shape[1], -1)
    for number, members in enumerate(groups):
        member_of[list(members)] = number
    sums = np.stack([probabilities[:, list(members)].sum(axis=1) for members in groups], axis=1)
    return sums, member_of[targets]


def _lowest(scores: Vector, right: NDArray[np.bool_], weights: Vector, precision: float) -> float:
    """The lowest candidate with sufficient precision, or the highest if there is none."""
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
