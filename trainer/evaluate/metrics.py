"""Figures of held-out predictions, in numpy: accuracy, log loss, calibration, scene by scene; and the temperature.

Accuracy, log loss, Brier score and confusion are scikit-learn's to 1e-12 (tests). `weights` say how much a window
counts. `balanced_weights` lets every scene count alike, and within it every recording: a long recording is no more
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
"""Smallest probability a logarithm is taken of: scikit-learn's, so that one sure mistake costs 36 and not infinity."""
_BINS = 15
"""Bins of the calibration error."""
_COLDEST, _HOTTEST = 0.25, 20.0
"""Temperatures considered."""


@dataclass(frozen=True, slots=True)
class Figures:
    """How good calibrated probabilities are."""

    accuracy: float
    """Part of the windows whose best scene is right, by weight."""
    log_loss: float
    """Mean of −ln of the probability given to the right scene, by weight."""
    calibration_error: float
    """Expected calibration error over 15 bins of confidence, by weight (Guo et al. 2017)."""
    recall: dict[str, float]
    """Per scene: part of its windows that are right, every recording counting alike."""
    n_windows: dict[str, int]
    """Per scene."""
    n_recordings: dict[str, int]
    """Per scene."""


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> Vector:
    """[n, n_labels] to probabilities, in double precision."""
    scaled = np.asarray(logits, np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def balanced_weights(targets: Integers, recordings: Integers) -> Vector:
    """[n] and [n] to [n], sums to 1: scenes alike, within them recordings alike, within them windows alike."""
    labels, label_of = np.unique(targets, return_inverse=True)
    numbers, number_of = np.unique(recordings, return_inverse=True)
    pairs, pair_of, n_windows = np.unique(label_of * len(numbers) + number_of, return_inverse=True, return_counts=True)
    n_recordings = np.bincount(pairs // max(1, len(numbers)), minlength=len(labels))
    return np.asarray(1 / (len(labels) * n_recordings[label_of] * n_windows[pair_of]))


def recording_weights(recordings: Integers) -> Vector:
    """[n] to [n], sums to 1: recordings alike, within them windows alike; scenes as often as they were recorded."""
    _, positions, counts = np.unique(recordings, return_inverse=True, return_counts=True)
    return np.asarray(1 / (len(counts) * counts[positions]))


def rights(probabilities: Vector, targets: Integers) -> Vector:
    """[n]: 1 where the largest value is at the target, else 0; where k are largest, the target among them, 1/k.

    An answer that knows nothing is a guess, and not an answer of the scene that is first in the alphabet.
    """
    largest = probabilities == probabilities.max(axis=1, keepdims=True)
    return np.asarray(largest[np.arange(len(targets)), targets] / np.maximum(largest.sum(axis=1), 1))


def accuracy(probabilities: Vector, targets: Integers, weights: Vector | None = None) -> float:
    """Part of the rows whose largest value is at the target; see `rights` of ties."""
    return float(np.average(rights(probabilities, targets), weights=weights))


def losses(probabilities: Vector, targets: Integers) -> Vector:
    """[n]: −ln p(target)."""
    return np.asarray(-np.log(np.maximum(probabilities[np.arange(len(targets)), targets], _TINY)))


def log_loss(probabilities: Vector, targets: Integers, weights: Vector | None = None) -> float:
    """Mean of −ln p(target)."""
    return float(np.average(losses(probabilities, targets), weights=weights))


def brier_score(probabilities: Vector, targets: Integers) -> float:
    """Mean squared distance of the probabilities from the truth, summed over scenes: 0…2 (Brier 1950)."""
    chosen = probabilities[np.arange(len(targets)), targets]
    return float((np.square(probabilities).sum(axis=1) - 2 * chosen + 1).mean())


def means_of(values: Vector | NDArray[np.bool_], members: Integers, n: int) -> Vector:
    """[n_rows] values to [n]: the mean over the rows of each member 0…n − 1; NaN where it has none."""
    counts = np.bincount(members, minlength=n)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(members, np.asarray(values, np.float64), minlength=n) / counts)


def calibration_error(probabilities: Vector, targets: Integers, weights: Vector | None = None) -> float:
    """Mean distance of confidence and accuracy over bins of confidence, each by the weight in it."""
    _, confidence, right = reliability(probabilities, targets, weights)
    return float(np.abs(confidence - right).sum())


def reliability(
    probabilities: Vector, targets: Integers, weights: Vector | None = None
) -> tuple[Vector, Vector, Vector]:
    """What a reliability diagram shows, over 15 equal bins of the best scene's probability.

    Returns:
        [15] each: the share of the rows in a bin, and that share times their mean confidence, and times their accuracy.
    """
    confidence, right = probabilities.max(axis=1), rights(probabilities, targets)
    weights = np.full(len(targets), 1 / len(targets)) if weights is None else weights / weights.sum()
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    columns = (weights, weights * confidence, weights * right)
    shares, sure, correct = (np.asarray(np.bincount(bins, column, minlength=_BINS), np.float64) for column in columns)
    return shares, sure, correct


def figures(probabilities: Vector, targets: Integers, recordings: Integers, labels: Sequence[str]) -> Figures:
    """All of it, with balanced weights; scenes without a window are left out of the per-scene ones."""
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
    """The temperature of least log loss.

    The loss is convex in β = 1/T, and its slope, the weighted mean of E_p[logit] − logit of the target, grows with β:
    its zero is found by bisection, between ¼ and 20: a few recordings told apart without a fault are no ground for
    certainty.
    """
    values = np.asarray(logits, np.float64)
    chosen = values[np.arange(len(targets)), targets]
    low, high = np.log(1 / _HOTTEST), np.log(1 / _COLDEST)
    for _ in range(40):  # to 4e-12 of it
        middle = (low + high) / 2
        expected = (softmax(values, float(np.exp(-middle))) * values).sum(axis=1)
        if np.average(expected - chosen, weights=weights) < 0:
            low = middle
        else:
            high = middle
    return float(np.exp(-(low + high) / 2))


def recording_probabilities(probabilities: Vector, recordings: Integers) -> tuple[Vector, Integers]:
    """One answer a recording: the mean of its windows' log-probabilities, normalised; and the recordings' numbers."""
    means, numbers = clip_means(np.log(np.maximum(probabilities, _TINY)), recordings)
    return softmax(means), numbers


def clip_means(values: Vector, clips: Integers) -> tuple[Vector, Integers]:
    """[n, …] values of windows to their means a clip, in the order of the clips' numbers; and those numbers."""
    numbers, positions, counts = np.unique(clips, return_inverse=True, return_counts=True)
    sums = np.zeros((len(numbers), *values.shape[1:]))
    np.add.at(sums, positions, values)
    return sums / counts.reshape(-1, *[1] * (values.ndim - 1)), numbers


def confusion(probabilities: Vector, targets: Integers, weights: Vector, n_labels: int) -> Vector:
    """[n_labels, n_labels]: row = scene, column = answer, each row the part of that scene by weight."""
    table = np.zeros((n_labels, n_labels))
    np.add.at(table, (targets, probabilities.argmax(axis=1)), weights)
    return np.asarray(table / np.maximum(table.sum(axis=1, keepdims=True), _TINY))


def confusion_counts(probabilities: Vector, targets: Integers, n_labels: int) -> Integers:
    """[n_labels, n_labels]: row = scene, column = answer; rows of `probabilities` that say nothing are in none."""
    told = np.ptp(probabilities, axis=1) > 0
    pairs = (targets * n_labels + probabilities.argmax(axis=1))[told]
    return np.bincount(pairs, minlength=n_labels**2).reshape(n_labels, n_labels)
