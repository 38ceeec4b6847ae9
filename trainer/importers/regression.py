"""Multinomial logistic regression with an L2 penalty whose strength is chosen on held-out folds; double precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trainer.evaluate.metrics import Integers, Vector, accuracy, balanced_weights, fit_temperature, log_loss, softmax

STRENGTHS = (100.0, 10.0, 1.0, 0.1, 0.01, 1e-3, 1e-4)
"""Strengths of the penalty, strongest first. All are tried: if scenes differ less than places do, held-out answers get
worse before they get better."""
_CONSTANT = 1e-3
"""A feature whose standard deviation is at most this fraction of its largest magnitude is treated as constant and gets
weight 0: float16 could not hold the difference, and a large weight would amplify rounding as much."""
_ABSENT = -1e3
"""Logit of a label that a fold's training rows lack; the fold's rows with that label are not judged."""
_STEPS = 2000
_ROUGH, _EXACT = 1e-6, 1e-9
"""Largest gradient at which a fit stops: for fits that are only compared, and for the final one."""


@dataclass(frozen=True, slots=True)
class Regression:
    """A linear map from raw features to logits; the standardisation is folded in."""

    weight: Vector
    """[n_labels, n_features]."""
    bias: Vector
    """[n_labels], sums to 0."""

    def __call__(self, features: NDArray[np.floating]) -> Vector:
        """Map [n, n_features] to [n, n_labels] logits."""
        return np.asarray(np.asarray(features, np.float64) @ self.weight.T + self.bias)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Answers of regressions on rows that they were not fitted on."""

    strength: float
    """Strength of their penalty."""
    logits: Vector
    """[n_judged, n_labels]."""
    targets: Integers
    """[n_judged]."""
    clips: Integers
    """[n_judged] clip of each row."""
    folds: Integers
    """[n_judged] fold of each row."""

    @property
    def weights(self) -> Vector:
        """[n_judged] weights: labels count equally, and clips within each label."""
        return balanced_weights(self.targets, self.clips)

    @property
    def accuracy(self) -> float:
        """Weighted fraction of the rows answered correctly."""
        return accuracy(self.logits, self.targets, self.weights)

    @property
    def temperature(self) -> float:
        """Temperature of least weighted log loss."""
        return fit_temperature(self.logits, self.targets, self.weights)

    @property
    def plain_loss(self) -> float:
        """Weighted log loss at a temperature of 1."""
        return log_loss(softmax(self.logits), self.targets, self.weights)

    @property
    def log_loss(self) -> float:
        """Weighted log loss, each fold at the temperature fitted on the other folds."""
        probabilities = np.zeros_like(self.logits)
        for fold in np.unique(self.folds):
            mine = self.folds == fold
            weights = balanced_weights(self.targets[~mine], self.clips[~mine])
            temperature = fit_temperature(self.logits[~mine], self.targets[~mine], weights)
            probabilities[mine] = softmax(self.logits[mine], temperature)
        return log_loss(probabilities, self.targets, self.weights)


def fit_regression(
    features: NDArray[np.floating], targets: Integers, weights: Vector, n_labels: int, strength: float
) -> Regression:
    """Fit the regression that minimises Σ w·cross-entropy + strength / 2 · ‖W‖².

    W applies to features standardised, with the weights, to mean 0 and standard deviation 1; biases are not penalised.

    Args:
        features: [n, n_features].
        targets: [n], 0 … n_labels − 1; every label occurs.
        weights: [n], sums to 1.
        n_labels: Number of labels.
        strength: Strength of the penalty.
    """
    return _fit(features, targets, weights, n_labels, strength, None, _EXACT)[0]


def hold_out(
    features: NDArray[np.floating], targets: Integers, clips: Integers, folds: Integers, n_labels: int
) -> HeldOut:
    """Judge each fold by a regression fitted on the others; returns the answers at the strength of least log loss.

    Args:
        features: [n, n_features].
        targets: [n].
        clips: [n] clip of each row; clips count equally within their label.
        folds: [n] fold of each row, from 0; rows of −1 are in every training set and never judged. There must be two
            or more folds, each with rows that can be judged.
        n_labels: Number of labels.
    """
    starts: dict[int, Tensor] = {}
    tried = (_answers(features, targets, clips, folds, n_labels, strength, starts) for strength in STRENGTHS)
    return min(tried, key=lambda held_out: held_out.plain_loss)


def _answers(
    features: NDArray[np.floating],
    targets: Integers,
    clips: Integers,
    folds: Integers,
    n_labels: int,
    strength: float,
    starts: dict[int, Tensor],
) -> HeldOut:
    """Answers of each fold at one strength; each fit starts where that of the previous strength ended."""
    logits = np.full((len(targets), n_labels), _ABSENT)
    judged = np.zeros(len(targets), np.bool_)
    for fold in range(int(folds.max()) + 1):
        mine = folds == fold
        known = np.unique(targets[~mine])
        learnt = np.searchsorted(known, targets[~mine])
        weights = balanced_weights(learnt, clips[~mine])
        found, starts[fold] = _fit(features[~mine], learnt, weights, len(known), strength, starts.get(fold), _ROUGH)
        logits[np.ix_(mine, known)] = found(features[mine])
        judged[mine] = np.isin(targets[mine], known)
    return HeldOut(strength, logits[judged], targets[judged], clips[judged], folds[judged])


def _fit(
    features: NDArray[np.floating],
    targets: Integers,
    weights: Vector,
    n_labels: int,
    strength: float,
    start: Tensor | None,
    tolerance: float,
) -> tuple[Regression, Tensor]:
    """Return a regression, and its coefficients [n_labels, n_features + 1] on standardised features, the bias last."""
    values = np.array(features, np.float64)  # one copy, modified in place: it may take hundreds of megabytes
    largest = np.maximum(values.max(axis=0), -values.min(axis=0))
    mean = weights @ values
    values -= mean
    spread = np.sqrt(np.einsum("n,nf,nf->f", weights, values, values))
    constant = spread <= _CONSTANT * largest
    scale = np.where(constant, 0.0, 1 / np.where(constant, 1.0, spread))
    values *= scale
    standard = torch.from_numpy(values)
    chosen, counts = torch.from_numpy(targets), torch.from_numpy(weights)
    coefficients = torch.zeros(n_labels, values.shape[1] + 1, dtype=torch.float64) if start is None else start.clone()
    coefficients.requires_grad_()
    optimiser = torch.optim.LBFGS(
        [coefficients],
        max_iter=_STEPS,
        tolerance_grad=tolerance,
        tolerance_change=1e-15,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def loss() -> float:
        optimiser.zero_grad()
        logits = standard @ coefficients[:, :-1].T + coefficients[:, -1]
        entropy = functional.cross_entropy(logits, chosen, reduction="none")
        total = entropy @ counts + strength / 2 * coefficients[:, :-1].square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return float(total.detach())

    with torch.enable_grad():
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    found = coefficients.detach()
    weight = found[:, :-1].numpy() * scale
    return Regression(weight, found[:, -1].numpy() - weight @ mean), found
