"""Fits the weights of sound and picture by maximum likelihood, and measures their benefit on held-out places.

The log-likelihood of a log-linear pool is concave in its two weights, so Newton's method within bounds finds them. Few
places determine them badly, so they are only used if they beat weights of 1 on held-out places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trainer.evaluate.metrics import (
    Integers,
    Vector,
    accuracy,
    balanced_weights,
    calibration_error,
    log_loss,
    recording_weights,
    softmax,
)
from trainer.fuse.pool import Pool

NOT_SURE = -1
"""Target of mismatched pairs, which stands for even odds."""
_LARGEST = 4.0
"""Largest weight: that a few clips are classified without error does not justify certainty."""
_STEPS = 50
_SMALLEST_GAIN = 1e-12


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence of both modalities on windows whose scene is known."""

    audio: Vector
    """[n, n_labels]: `Pool.evidence` of sound."""
    video: Vector
    """[n, n_labels]: `Pool.evidence` of pictures."""
    targets: Integers
    """[n]: index of each window's label; `NOT_SURE` if sound and picture are of different scenes."""
    clips: Integers
    """[n]: index of its clip or pair, whose windows are in temporal order."""
    folds: Integers
    """[n]: its fold; no place is in two folds."""

    def take(self, chosen: NDArray[np.bool_]) -> Evidence:
        """Return the chosen windows."""
        return Evidence(
            self.audio[chosen], self.video[chosen], self.targets[chosen], self.clips[chosen], self.folds[chosen]
        )


@dataclass(frozen=True, slots=True)
class Quality:
    """Quality of answers; scenes count equally, and clips within each scene."""

    accuracy: float
    """Fraction of windows whose best scene is right."""
    log_loss: float
    """Mean of −ln of the probability given to the right scene."""
    calibration_error: float
    """Expected calibration error."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Weights, and how good they are."""

    audio_weight: float
    """Weight of sound; 1 if fitting did not help."""
    video_weight: float
    """Weight of pictures, likewise."""
    helped: bool
    """Whether fitted weights were better than weights of 1 on held-out places, and are therefore used."""
    n_clips: int
    """Number of clips or pairs they were fitted on."""
    n_windows: int
    """Number of windows of these."""
    n_folds: int
    """Number of folds they were judged on."""
    figures: dict[str, Quality]
    """Quality by name: audio, video, even (weights of 1) and fitted (each fold with weights from the other folds)."""
    mismatched: float | None
    """Mean score of the best scene where sound and picture are of different scenes; None if there are no such pairs."""
    held_out: Vector
    """[n, n_labels]: the probabilities of "fitted", or of "even" if weights of 1 are used."""


def fit_weights(evidence: Evidence) -> tuple[float, float]:
    """Return the weights of maximum likelihood, each 0 to 4; scenes count equally, and clips within each scene.

    Args:
        evidence: Evidence on labelled windows.
    """
    ratios = np.stack([evidence.audio, evidence.video])
    targets, counts = _targets(evidence), _counts(evidence)

    def loss(weights: Vector) -> float:
        logits = np.tensordot(weights, ratios, 1)
        top = logits.max(axis=1)
        sums = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        return float(counts @ (sums - (targets * logits).sum(axis=1)))

    weights = np.ones(2)
    for _ in range(_STEPS):
        probabilities = softmax(np.tensordot(weights, ratios, 1))
        expected = (ratios * probabilities).sum(axis=2)
        slope = (expected - (ratios * targets).sum(axis=2)) @ counts
        centred = (ratios - expected[:, :, None]) * np.sqrt(probabilities * counts[:, None])
        bend = np.einsum("inl,jnl->ij", centred, centred)
        fresh = _step(loss, weights, slope, bend)
        gain = loss(weights) - loss(fresh)
        weights = fresh
        if gain < _SMALLEST_GAIN:
            break
    return float(weights[0]), float(weights[1])


def judge_weights(evidence: Evidence, pool: Pool) -> Fitted:
    """Fit on all evidence, judge each fold with weights fitted on the others; use weights of 1 if fitting is no help.

    Args:
        evidence: Evidence on labelled windows, of two folds or more.
        pool: The pool to weigh.
    """
    audio_weight, video_weight = fit_weights(evidence)
    held_out = np.empty_like(evidence.audio)
    folds = np.unique(evidence.folds)
    for fold in folds:
        out = evidence.folds == fold
        held_out[out] = _together(evidence.take(out), with_weights(pool, *fit_weights(evidence.take(~out))))
    answers = {
        "audio": np.exp(pool.alone(evidence.audio)),
        "video": np.exp(pool.alone(evidence.video)),
        "even": _together(evidence, with_weights(pool, 1.0, 1.0)),
        "fitted": held_out,
    }
    helped = _loss(held_out, evidence) < _loss(answers["even"], evidence)
    if not helped:
        audio_weight = video_weight = 1.0
        held_out = answers["even"]
    sure = evidence.targets != NOT_SURE
    targets, clips = evidence.targets[sure], evidence.clips[sure]
    return Fitted(
        audio_weight,
        video_weight,
        helped,
        len(np.unique(evidence.clips)),
        len(evidence.targets),
        len(folds),
        {name: _quality(values[sure], targets, clips) for name, values in answers.items()},
        None if sure.all() else float(held_out[~sure].max(axis=1).mean()),
        held_out,
    )


def with_weights(pool: Pool, audio: float, video: float) -> Pool:
    """Return the pool with other weights."""
    return replace(pool, audio=replace(pool.audio, weight=audio), video=replace(pool.video, weight=video))


def _together(evidence: Evidence, pool: Pool) -> Vector:
    """Probabilities [n, n_labels] from both modalities."""
    return np.asarray(np.exp(pool.together(evidence.audio, evidence.video)))


def _quality(probabilities: Vector, targets: Integers, clips: Integers) -> Quality:
    """Quality of answers, given as probabilities."""
    weights = balanced_weights(targets, clips)
    return Quality(
        accuracy(probabilities, targets, weights),
        log_loss(probabilities, targets, weights),
        calibration_error(probabilities, targets, weights),
    )


def _loss(probabilities: Vector, evidence: Evidence) -> float:
    """Cross-entropy with the weighting that `fit_weights` minimises."""
    tiny = np.finfo(np.float64).tiny
    return float(-_counts(evidence) @ (_targets(evidence) * np.log(np.maximum(probabilities, tiny))).sum(axis=1))


def _targets(evidence: Evidence) -> Vector:
    """Target probabilities [n, n_labels]: one-hot, or even odds for mismatched pairs."""
    n_labels = evidence.audio.shape[1]
    return np.where(evidence.targets[:, None] == NOT_SURE, 1 / n_labels, np.eye(n_labels)[evidence.targets])


def _counts(evidence: Evidence) -> Vector:
    """Window weights [n], sum 1: scenes count equally, as do clips within each; mismatched pairs keep their share."""
    sure = evidence.targets != NOT_SURE
    counts = recording_weights(evidence.clips)
    counts[sure] = counts[sure].sum() * balanced_weights(evidence.targets[sure], evidence.clips[sure])
    return counts


def _step(loss: Callable[[Vector], float], weights: Vector, slope: Vector, bend: Vector) -> Vector:
    """One step of a projected Newton method (Bertsekas 1982); a weight pushed outward at its bound stays there."""
    held = ((weights <= 0) & (slope > 0)) | ((weights >= _LARGEST) & (slope < 0))
    direction = np.zeros(2)
    free = np.flatnonzero(~held)
    if len(free):
        curved = bend[np.ix_(free, free)] + 1e-12 * np.eye(len(free))
        direction[free] = -np.linalg.solve(curved, slope[free])
    before = loss(weights)
    for halvings in range(_STEPS):
        fresh = np.clip(weights + direction / 2**halvings, 0.0, _LARGEST)
        if loss(fresh) < before:
            return np.asarray(fresh)
    return weights
