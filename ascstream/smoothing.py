"""From window scores to a steady answer: a continuous-time recursive filter, then hysteresis and an honest "unknown".

The filter is that of a hidden Markov chain that stays in a scene for `dwell_seconds` on average and then moves to any
other. In continuous time its unnormalised posterior obeys (Zakai, 1969, for a finite chain)

    dp/dt = (Qᵀ + diag(ℓ(t)/τ)) p,    Q = (11ᵀ/K − I)·K / ((K − 1)·dwell),    ℓ = log-likelihood of the current window

so evidence is weighted by the time it covers, not by the number of windows: overlapping windows repeat evidence, and τ
is the time after which new evidence counts as independent. ℓ is interpolated linearly between windows and the equation
is integrated in small substeps, so the posterior at a given time does not depend on the step between windows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ascstream.records import Level
from engines.manifest import SmoothingSpec, Thresholds

Vector = NDArray[np.float64]

_SUBSTEP_SECONDS = 0.1
"""Longest integration substep; halving it changes a posterior by less than 1e-3 at a time constant of 1 s."""
_FLOOR = 1e-6
"""Lower bound on a window's likelihoods: no single window, however confident, is proof."""


class SceneFilter:
    """The posterior over scenes given all windows so far, of one stream or of several in parallel."""

    def __init__(self, n_labels: int, spec: SmoothingSpec, window_seconds: float) -> None:
        """Start from a uniform posterior.

        Args:
            n_labels: Number of scenes, K.
            spec: Time constant τ (0: no smoothing) and mean dwell time, both in seconds.
            window_seconds: Length of a window: the most time whose evidence one window can provide.
        """
        self._n_labels = n_labels
        self._tau = spec.time_constant_seconds
        self._rate = n_labels / ((n_labels - 1) * spec.dwell_seconds)
        self._window_seconds = window_seconds
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._posterior = np.full(self._n_labels, 1.0 / self._n_labels)
        self._last: Vector | None = None

    @property
    def posterior(self) -> Vector:
        """[n_labels], sums to 1; a copy."""
        return self._posterior.copy()

    def update(self, probabilities: Vector | None, elapsed_seconds: float) -> Vector:
        """Update with the next window.

        Args:
            probabilities: [n_labels], calibrated, under a uniform prior; None: the window could not be scored.
                For several streams: [n_streams, n_labels], with the same n_streams every time.
            elapsed_seconds: Time since the previous window's end; the window's length for the first.

        Returns:
            The posterior at this window's end, in the shape of `probabilities`.
        """
        if self._tau <= 0:
            if probabilities is None:
                self.reset()
            else:
                self._posterior = np.asarray(probabilities, np.float64) / np.sum(probabilities, axis=-1, keepdims=True)
            return self.posterior
        if probabilities is None:
            self._mix(elapsed_seconds)
            self._last = None
            return self.posterior
        now = np.log(np.maximum(np.asarray(probabilities, np.float64), _FLOOR))
        before = self._last if self._last is not None else now
        # after a gap the window is evidence for its own length only, not for the time that no window covered
        covered = min(elapsed_seconds, self._window_seconds)
        self._mix(elapsed_seconds - covered)
        n_steps = max(1, math.ceil(covered / _SUBSTEP_SECONDS - 1e-9))
        seconds = covered / n_steps
        for step in range(n_steps):
            at = (step + 0.5) / n_steps
            evidence = (before + at * (now - before)) * (seconds / self._tau)
            self._mix(seconds / 2)
            self._posterior = self._posterior * np.exp(evidence - evidence.max(axis=-1, keepdims=True))
            self._posterior /= self._posterior.sum(axis=-1, keepdims=True)
            self._mix(seconds / 2)
        self._last = now
        return self.posterior

    def _mix(self, seconds: float) -> None:
        """Advance the chain without evidence: exp(Q·seconds), in closed form."""
        if seconds > 0:
            keep = math.exp(-self._rate * seconds)
            self._posterior = keep * self._posterior + (1.0 - keep) / self._n_labels


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer for a window."""

    label: str
    """A scene, a group, or "unknown"."""
    level: Level
    """What `label` is."""
    reason: str | None
    """Why the answer is "unknown"; None otherwise."""
    score: float
    """Posterior of the label; that of the best scene if unknown."""


class Decider:
    """Picks the most specific confident answer: a scene, else a group, else "unknown"; hysteresis avoids flicker."""

    def __init__(self, labels: Sequence[str], groups: Mapping[str, Sequence[str]], thresholds: Thresholds) -> None:
        """Decide among `labels` (in the order of the scores) and `groups`."""
        self._labels = tuple(labels)
        positions = {label: index for index, label in enumerate(self._labels)}
        self._groups = {group: [positions[label] for label in members] for group, members in groups.items() if members}
        self._group_of = {label: group for group, members in groups.items() for label in members}
        self._thresholds = thresholds
        self.reset()

    def reset(self) -> None:
        """Forget the previous answer."""
        self._previous = ""

    def decide(self, posterior: Vector, reason: str | None = None) -> Decision:
        """Answer for a window.

        Args:
            posterior: [n_labels] smoothed scores.
            reason: Why this window could not be scored; None if it could.
        """
        best = int(np.argmax(posterior))
        if reason is not None:
            return Decision("unknown", "unknown", reason, float(posterior[best]))
        scenes = {label: float(posterior[index]) for index, label in enumerate(self._labels)}
        label = self._choose(scenes, self._thresholds.scene, self._previous)
        if label is not None:
            return self._keep(Decision(label, "scene", None, scenes[label]))
        groups = {group: float(posterior[members].sum()) for group, members in self._groups.items()}
        group = self._choose(groups, self._thresholds.group, self._group_of.get(self._previous, self._previous))
        if group is not None:
            return self._keep(Decision(group, "group", None, groups[group]))
        return self._keep(Decision("unknown", "unknown", "low_confidence", float(posterior[best])))

    def _choose(self, scores: Mapping[str, float], threshold: float, previous: str) -> str | None:
        """The answer at one level: the previous one while it holds, else the best if confident, else None."""
        if not scores:
            return None
        best = max(scores, key=lambda name: scores[name])
        slack = self._thresholds.hysteresis
        held = scores.get(previous)
        if held is not None and held >= threshold - slack and scores[best] - held < max(slack, 1e-12):
            return previous
        return best if scores[best] >= threshold else None

    def _keep(self, decision: Decision) -> Decision:
        self._previous = decision.label
        return decision
