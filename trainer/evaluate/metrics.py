"""Metrics of held-out predictions, in numpy: accuracy, log loss, calibration, per-scene recall; temperature fitting.

Accuracy, log loss, Brier score and confusion agree with scikit-learn's to 1e-12 (tests). `weights` are per window.
`balanced_weights` gives every scene the same total, and within a scene every recording: a long recording is no more
evidence than a short one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

_TINY = float(np.finfo(np.float64).eps)
"""Lower bound of probabilities in logarithms, scikit-learn's: one certain mistake costs 36 instead of infinity."""
_BINS = 15
"""Number of bins of the calibration error."""
_COLDEST, _HOTTEST = 0.25, 20.0
"""Range of temperatures considered."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Metrics of calibrated probabilities."""

    accuracy: float
    """Weighted fraction of windows whose top scene is right."""
    log_loss: float
    """Weighted mean of −ln of the probability given to the right scene."""
    calibration_error: float
    """Weighted expected calibration error over 15 bins of confidence (Guo et al. 2017)."""
    recall: dict[str, float]
    """Per scene: fraction of its windows that are right, all recordings weighted equally."""
    n_windows: dict[str, int]
    """Number of windows per scene."""
    n_recordings: dict[str, int]
    """Number of recordings per scene."""


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> Vector:
    """Logits [n, n_labels] to probabilities, in double precision."""
    scaled = np.asarray(logits, np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def balanced_weights(targets: Integers, recordings: Integers) -> Vector:
    """Weights [n] summing to 1: equal over scenes, within them over recordings, within those over windows."""
    labels, label_of = np.unique(targets, return_inverse=True)
    numbers, number_of = np.unique(recordings, return_inverse=True)
    pairs, pair_of, n_windows = np.unique(label_of * len(numbers) + number_of, return_inverse=True, return_counts=True)
    n_recordings = np.bincount(pairs // max(1, len(numbers)), minlength=len(labels))
    return np.asarray(1 / (len(labels) * n_recordings[label_of] * n_windows[pair_of]))


def recording_weights(recordings: Integers) -> Vector:
    """Weights [n] summing to 1: equal over recordings, within them over windows; scenes in proportion to recordings."""
    _, positions, counts = np.unique(recordings, return_inverse=True, return_counts=True)
    return np.asarray(1 / (len(counts) * counts[positions]))


def rights(probabilities: Vector, targets: Integers) -> Vector:
    """[n]: 1 if the largest value is at the target, else 0; 1/k if k values tie for largest, the target among them.

    So a uniform prediction counts as a guess, not as an answer of the alphabetically first scene.
    """
    largest = probabilities == probabilities.max(axis=1, keepdims=True)
    return np.asarray(largest[np.arange(len(targets)), targets] / np.maximum(largest.sum(axis=1), 1))


def accuracy(probabilities: Vector, targets: Integers, weights: Vector | None = None) -> float:
    """Fraction of rows whose largest value is at the target; ties as in `rights`."""
    return float(np.average(rights(probabilities, targets), weights=weights))


def losses(probabilities: Vector, targets: Integers) -> Vector:
    """[n]: −ln p(target)."""
    return np.asarray(-np.log(np.maximum(probabilities[np.arange(len(targets)), targets], _TINY)))


def log_loss(probabilities: Vector, targets: Integers, weights: Vector | None = None) -> float:
    """Mean of −ln p(target)."""
    return float(np.average(losses(probabilities, targets), weights=weights))


def brier_score(probabilities: Vector, targets: Integers) -> float:
    """Mean squared distance between probabilities and truth, summed over scenes: 0…2 (Brier 1950)."""
    chosen = probabilities[np.arange(len(targets)), targets]
    return float((np.square(probabilities).sum(axis=1) - 2 * chosen + 1).mean())


def means_of(values: Vector | NDArray[np.bool_], members: Integers, n: int) -> Vector:
    """[n_rows] values to [n]: mean over the rows of each member 0…n − 1; NaN for members without rows."""
    counts = np.bincount(members, minlength=n)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(members, np.asarray(values, np.float64), minlength=n) / counts)


def calibration_error(probabilities: Vector, targets: Integers, weights: Vector | None = None) -> float:
    """Expected calibration error: weighted mean over bins of |confidence − accuracy|."""
    _, confidence, right = reliability(probabilities, targets, weights)
    return float(np.abs(confidence - right).sum())


def reliability(
    probabilities: Vector, targets: Integers, weights: Vector | None = None
) -> tuple[Vector, Vector, Vector]:
    """Data of a reliability diagram, over 15 equal bins of the top scene's probability.

    Returns:
        [15] each: the share of rows in each bin, and that share times their mean confidence and times their accuracy.
    """
    confidence, right = probabilities.max(axis=1), rights(probabilities, targets)
    weights = np.full(len(targets), 1 / len(targets)) if weights is None else weights / weights.sum()
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    columns = (weights, weights * confidence, weights * right)
    shares, sure, correct = (np.asarray(np.bincount(bins, column, minlength=_BINS), np.float64) for column in columns)
    return shares, sure, correct


def figures(probabilities: Vector, targets: Integers, recordings: Integers, labels: Sequence[str]) -> Figures:
    """Compute all metrics with balanced weights; scenes without windows are left out of the per-scene ones."""
    weights = balanced_weights(targets, recordings)
    right = rights(probabilities, targets)
    present = [(index, label) for index, label in enumerate(labels) if np.any(targets == index)]
    return Figures(
        accuracy(probabilities, targets, weights),
        log_loss(probabilities, targets, weights),
        calibration_error(probabilities, targets, weights),
        {label: float(np.average(right[targets == i], weights=weights[targets == i])) for i, label in present},
        {label: int((targets == i).sum()) for i, label in present},
        {label: len(np.unique(recordings[targets == i])) for i, label in present},
    )


def fit_temperature(logits: NDArray[np.floating], targets: Integers, weights: Vector | None = None) -> float:
    """Fit the temperature that minimises the log loss.

    The loss is convex in β = 1/T, and its slope, the weighted mean of E_p[logit] − logit of the target, increases with
    β; its zero is found by bisection. T is limited to ¼…20, as a few recordings classified without a mistake do not
    justify certainty.
    """
    values = np.asarray(logits, np.float64)
    chosen = values[np.arange(len(targets)), targets]
    low, high = np.log(1 / _HOTTEST), np.log(1 / _COLDEST)
    for _ in range(40):  # relative precision 4e-12
        middle = (low + high) / 2
        expected = (softmax(values, float(np.exp(-middle))) * values).sum(axis=1)
        if np.average(expected - chosen, weights=weights) < 0:
            low = middle
        else:
            high = middle
    return float(np.exp(-(low + high) / 2))


def recording_probabilities(probabilities: Vector, recordings: Integers) -> tuple[Vector, Integers]:
    """One answer per recording, the normalised mean of its windows' log-probabilities, and the recordings' numbers."""
    means, numbers = clip_means(np.log(np.maximum(probabilities, _TINY)), recordings)
    return softmax(means), numbers


def clip_means(values: Vector, clips: Integers) -> tuple[Vector, Integers]:
    """Average window values [n, …] per clip, in the order of the clips' numbers, which are returned too."""
    numbers, positions, counts = np.unique(clips, return_inverse=True, return_counts=True)
    sums = np.zeros((len(numbers), *values.shape[1:]))
    np.add.at(sums, positions, values)
    return sums / counts.reshape(-1, *[1] * (values.ndim - 1)), numbers


def confusion(probabilities: Vector, targets: Integers, weights: Vector, n_labels: int) -> Vector:
    """[n_labels, n_labels]: row = scene, column = answer, each row normalised to weighted fractions of its scene."""
    table = np.zeros((n_labels, n_labels))
    np.add.at(table, (targets, probabilities.argmax(axis=1)), weights)
    return np.asarray(table / np.maximum(table.sum(axis=1, keepdims=True), _TINY))


def confusion_counts(probabilities: Vector, targets: Integers, n_labels: int) -> Integers:
    """[n_labels, n_labels] counts: row = scene, column = answer; uniform rows of `probabilities` are not counted."""
    told = np.ptp(probabilities, axis=1) > 0
    pairs = (targets * n_labels + probabilities.argmax(axis=1))[told]
    return np.bincount(pairs, minlength=n_labels**2).reshape(n_labels, n_labels)
