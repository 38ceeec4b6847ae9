"""How much sound and picture count, fitted by maximum likelihood; and what that is worth at places held out.

The likelihood of a log-linear pool is concave in its weights: two numbers, found by Newton's method within bounds. Few
places tell them badly: they are only taken where they are better than weights of 1 at places they have not met.
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
"""Target of a pair that does not match: even odds."""
_LARGEST = 4.0
"""A few clips told apart without a fault are no ground for certainty."""
_STEPS = 50
_SMALLEST_GAIN = 1e-12


@dataclass(frozen=True, slots=True)
class Evidence:
    """What both modalities say of windows whose scene is known."""

    audio: Vector
    """[n, n_labels]: `Pool.evidence` of the ear."""
    video: Vector
    """[n, n_labels]: of the eye."""
    targets: Integers
    """[n]: position of each one's label; `NOT_SURE` where sound and picture are of different scenes."""
    clips: Integers
    """[n]: which clip or pair; its windows follow each other in time."""
    folds: Integers
    """[n]: which fold; no place is in two."""

    def take(self, chosen: NDArray[np.bool_]) -> Evidence:
        """Some of the windows."""
        return Evidence(
            self.audio[chosen], self.video[chosen], self.targets[chosen], self.clips[chosen], self.folds[chosen]
        )


@dataclass(frozen=True, slots=True)
class Quality:
    """How good answers are, scenes alike, within them clips alike."""

    accuracy: float
    """Part of the windows whose best scene is right."""
    log_loss: float
    """Mean of −ln of the probability given to the right scene."""
    calibration_error: float
    """Expected calibration error."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Weights, and what they are worth."""

    audio_weight: float
    """Of the ear; 1 where fitting did not help."""
    video_weight: float
    """Of the eye, likewise."""
    helped: bool
    """Whether fitted weights were better at places held out than weights of 1, and are taken."""
    n_clips: int
    """Clips or pairs they rest on."""
    n_windows: int
    """Windows of these."""
    n_folds: int
    """Folds of places they were judged on."""
    figures: dict[str, Quality]
    """By name: audio, video, even (weights of 1) and fitted: the last by weights of the other folds."""
    mismatched: float | None
    """Mean score of the best scene where sound and picture are of different ones; None where there are no such."""
    held_out: Vector
    """[n, n_labels]: the probabilities behind "fitted", or behind "even" where that is taken."""


def fit_weights(evidence: Evidence) -> tuple[float, float]:
    """The weights of greatest likelihood, each 0 to 4; scenes count alike, within them clips.

    Args:
        evidence: Of labelled windows.
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
    """Fit on everything, and judge by weights fitted without each fold in turn; weights of 1 where that did not help.

    Args:
        evidence: Of labelled windows, two folds or more.
        pool: Labels.
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
    """The same pool with other weights."""
    return replace(pool, audio=replace(pool.audio, weight=audio), video=replace(pool.video, weight=video))


def _together(evidence: Evidence, pool: Pool) -> Vector:
    """[n, n_labels]: probabilities by both."""
    return np.asarray(np.exp(pool.together(evidence.audio, evidence.video)))


def _quality(probabilities: Vector, targets: Integers, clips: Integers) -> Quality:
    """Of some answers."""
    weights = balanced_weights(targets, clips)
    return Quality(
        accuracy(probabilities, targets, weights),
        log_loss(probabilities, targets, weights),
        calibration_error(probabilities, targets, weights),
    )


def _loss(probabilities: Vector, evidence: Evidence) -> float:
    """Cross-entropy, as it is minimised."""
    tiny = np.finfo(np.float64).tiny
    return float(-_counts(evidence) @ (_targets(evidence) * np.log(np.maximum(probabilities, tiny))).sum(axis=1))


def _targets(evidence: Evidence) -> Vector:
    """[n, n_labels]: the right scene; of mismatched pairs even odds."""
    n_labels = evidence.audio.shape[1]
    return np.where(evidence.targets[:, None] == NOT_SURE, 1 / n_labels, np.eye(n_labels)[evidence.targets])


def _counts(evidence: Evidence) -> Vector:
    """[n], sums to 1: scenes alike, within them clips alike; mismatched pairs as many as they are."""
    sure = evidence.targets != NOT_SURE
    counts = recording_weights(evidence.clips)
    counts[sure] = counts[sure].sum() * balanced_weights(evidence.targets[sure], evidence.clips[sure])
    return counts


def _step(loss: Callable[[Vector], float], weights: Vector, slope: Vector, bend: Vector) -> Vector:
    """One step of a projected Newton method (Bertsekas 1982): a weight at its bound that is pushed outward stays."""
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
