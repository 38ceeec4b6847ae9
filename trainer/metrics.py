"""Figures of held-out predictions, in numpy: accuracy, log loss, calibration error, per scene; and the temperature.

`weights` say how much a window counts. `balanced_weights` lets every scene count alike, and within it every recording:
a long recording is no more evidence than a short one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

_TINY = 1e-15
"""Smallest probability a logarithm is taken of."""
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
    weights = np.zeros(len(targets))
    labels = np.unique(targets)
    for label in labels:
        members = np.unique(recordings[targets == label])
        for recording in members:
            chosen = (targets == label) & (recordings == recording)
            weights[chosen] = 1 / (len(labels) * len(members) * chosen.sum())
    return weights


def recording_weights(recordings: Integers) -> Vector:
    """[n] to [n], sums to 1: recordings alike, within them windows alike; scenes as often as they were recorded."""
    _, positions, counts = np.unique(recordings, return_inverse=True, return_counts=True)
    return np.asarray(1 / (len(counts) * counts[positions]))


def accuracy(probabilities: Vector, targets: Integers, weights: Vector | None = None) -> float:
    """Part of the rows whose largest value is at the target."""
    return float(np.average(probabilities.argmax(axis=1) == targets, weights=weights))


def log_loss(probabilities: Vector, targets: Integers, weights: Vector | None = None) -> float:
    """Mean of −ln p(target)."""
    chosen = probabilities[np.arange(len(targets)), targets]
    return float(np.average(-np.log(np.maximum(chosen, _TINY)), weights=weights))


def calibration_error(probabilities: Vector, targets: Integers, weights: Vector | None = None) -> float:
    """Mean distance of confidence and accuracy over bins of confidence, each by the weight in it."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    weights = np.full(len(targets), 1 / len(targets)) if weights is None else weights / weights.sum()
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights * (confidence - right), minlength=_BINS)
    return float(np.abs(gaps).sum())


def figures(probabilities: Vector, targets: Integers, recordings: Integers, labels: Sequence[str]) -> Figures:
    """All of it, with balanced weights; scenes without a window are left out of the per-scene ones."""
    weights = balanced_weights(targets, recordings)
    right = probabilities.argmax(axis=1) == targets
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
    for _ in range(60):
        middle = (low + high) / 2
        expected = (softmax(values, float(np.exp(-middle))) * values).sum(axis=1)
        if np.average(expected - chosen, weights=weights) < 0:
            low = middle
        else:
            high = middle
    return float(np.exp(-(low + high) / 2))


def recording_probabilities(probabilities: Vector, recordings: Integers) -> tuple[Vector, Integers]:
    """One answer a recording: the mean of its windows' log-probabilities, normalised; and the recordings' numbers."""
    numbers = np.unique(recordings)
    logs = np.log(np.maximum(probabilities, _TINY))
    means = np.stack([logs[recordings == number].mean(axis=0) for number in numbers])
    return softmax(means), numbers


def confusion(probabilities: Vector, targets: Integers, weights: Vector, n_labels: int) -> Vector:
    """[n_labels, n_labels]: row = scene, column = answer, each row the part of that scene by weight."""
    table = np.zeros((n_labels, n_labels))
    np.add.at(table, (targets, probabilities.argmax(axis=1)), weights)
    return np.asarray(table / np.maximum(table.sum(axis=1, keepdims=True), _TINY))
