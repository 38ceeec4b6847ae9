"""Combines two calibrated answers, in numpy: the arithmetic that `graph.py` repeats as a graph.

It is the log-linear pool of experts calibrated under the same prior π (Genest & Zidek 1986; a product of experts,
Hinton 2002), with the prior divided out:

    log p(y) = w_a·r_a(y) + w_v·r_v(y) + const,    r_m(y) = log p_m(y)/π(y)

With weights of 1 this is Bayes' rule for sound and picture that are independent given the scene. A temperature of the
summed evidence would only scale both weights, so there is none. All answers, of both together and of each alone, assume
even odds: the runtime's filter takes each window's answer as its likelihood, and would count any other prior again with
every window.

A label that a modality does not know is neutral for it: p_m(y) = π(y), so r_m(y) = 0, and the labels it knows share the
rest in proportion, p_m(y) = π(K_m)·q_m(y), where q_m is the softmax over the labels K_m it knows. Under an even prior,
that modality alone never scores such a label above its prior. Both together may still choose it, if the other modality
favours it and this one does not favour another label as much.

If one modality is absent, the answer is the other's own, whatever its weight; if both are, it is even odds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.manifest import Modality
from trainer.errors import ConfigError
from trainer.evaluate.metrics import Vector

PRESENT = 0.5
"""A presence flag above this means that the modality is present."""


@dataclass(frozen=True, slots=True)
class Expert:
    """One modality's part in a pool."""

    labels: tuple[str, ...]
    """The labels it knows, in the order of its logits."""
    temperature: float
    """Its logits are divided by this before the softmax."""
    weight: float = 1.0
    """Weight of its evidence when both modalities are present."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Everything that the fused answer depends on, apart from the two experts' logits."""

    labels: tuple[str, ...]
    """The labels that either expert knows, in alphabetical order."""
    prior: tuple[float, ...]
    """Prior of each label, under which both experts were calibrated; sums to 1."""
    audio: Expert
    """The expert for sound."""
    video: Expert
    """The expert for pictures."""

    def expert(self, modality: Modality) -> Expert:
        """Return the expert of that modality."""
        return self.audio if modality == "audio" else self.video

    def known(self, modality: Modality) -> NDArray[np.bool_]:
        """Return [n_labels]: which labels a modality knows."""
        return np.isin(self.labels, self.expert(modality).labels)

    def own_prior(self, modality: Modality) -> Vector:
        """Return the prior among the labels that a modality knows, in the order of its logits; sums to 1."""
        prior = dict(zip(self.labels, self.prior, strict=True))
        own = np.array([prior[label] for label in self.expert(modality).labels])
        return np.asarray(own / own.sum())

    def evidence(self, modality: Modality, logits: NDArray[np.floating[Any]]) -> Vector:
        """Map [n, n_known] logits to [n, n_labels] r: how much, in nats, a modality favours a label; 0 if unknown."""
        log_q = _log_softmax(np.asarray(logits, np.float64) / self.expert(modality).temperature)
        evidence = np.zeros((len(log_q), len(self.labels)))
        positions = [self.labels.index(label) for label in self.expert(modality).labels]
        evidence[:, positions] = log_q - np.log(self.own_prior(modality))
        return evidence

    def alone(self, evidence: Vector) -> Vector:
        """Return [n, n_labels] log-probabilities from one modality's evidence."""
        return _log_softmax(evidence)

    def together(self, audio: Vector, video: Vector) -> Vector:
        """Return [n, n_labels] log-probabilities from the evidence of both modalities."""
        return _log_softmax(self.audio.weight * audio + self.video.weight * video)

    def answers(
        self, audio: NDArray[np.floating[Any]], video: NDArray[np.floating[Any]], presence: NDArray[np.floating[Any]]
    ) -> dict[str, Vector]:
        """Compute what the fused graph returns for each head.

        Args:
            audio: [n, n_known] logits of the audio expert.
            video: [n, n_known] logits of the video expert.
            presence: [n, 2] flags, audio first. The logits of an absent modality, even NaN, do not affect "fused".

        Returns:
            [n, n_labels] log-probabilities for "fused", "audio" and "video".
        """
        heard, seen = self.evidence("audio", audio), self.evidence("video", video)
        by_ear, by_eye = self.alone(heard), self.alone(seen)
        hears, sees = (presence[:, index : index + 1] > PRESENT for index in range(2))
        alone = np.where(hears, by_ear, np.where(sees, by_eye, -np.log(len(self.labels))))
        return {"fused": np.where(hears & sees, self.together(heard, seen), alone), "audio": by_ear, "video": by_eye}


def make_pool(audio: Expert, video: Expert, odds: Mapping[str, float] | None = None) -> Pool:
    """Join two experts over the union of their labels.

    Args:
        audio: The expert for sound.
        video: The expert for pictures.
        odds: Prior odds of some labels; every other label has 1.

    Raises:
        ConfigError: Odds are given for a label that neither knows, or are not above 0.
    """
    labels = tuple(sorted({*audio.labels, *video.labels}))
    for label, value in (odds or {}).items():
        if label not in labels:
            raise ConfigError(f"--prior: expected one of the labels {', '.join(labels)}, got {label!r}")
        if not 0 < value < np.inf:
            raise ConfigError(f"--prior: expected odds above 0 for {label!r}, got {value:g}")
    weights = np.array([(odds or {}).get(label, 1.0) for label in labels])
    return Pool(labels, tuple((weights / weights.sum()).tolist()), audio, video)


def _log_softmax(values: Vector) -> Vector:
    """Log-probabilities from [n, n_labels] logits; NaN in a row gives NaN."""
    with np.errstate(invalid="ignore"):
        shifted = values - values.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
