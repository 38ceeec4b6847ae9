"""Logistic regression against scikit-learn; strengths and temperatures of held-out answers, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from trainer.evaluate.metrics import balanced_weights
from trainer.importers.regression import STRENGTHS, fit_regression, hold_out


def drawn(n: int, n_features: int, n_labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of unequal scale and place, targets that depend on them, and clips of three rows each."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n, n_features)) * 10.0 ** rng.integers(-2, 3, n_features) + rng.standard_normal()
    targets = np.argmax(rng.standard_normal((n, n_labels)) + 2 * np.eye(n_labels)[np.arange(n) // 3 % n_labels], axis=1)
    features[np.arange(n), targets % n_features] += 2
    return features, targets.astype(np.int64), np.arange(n) // 3


@pytest.mark.parametrize("strength", [1.0, 0.01])
@pytest.mark.parametrize("n_labels", [2, 4])
def test_it_is_scikit_learns_of_the_same_objective(strength: float, n_labels: int) -> None:
    features, targets, clips = drawn(90, 6, n_labels)
    weights = balanced_weights(targets, clips)
    mean = weights @ features
    spread = np.sqrt(weights @ (features - mean) ** 2)
    theirs = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=10_000)
    if n_labels == 2:  # one vector there, two opposite ones here: their squares sum to half of its square
        theirs.C = 2 / strength
    theirs.fit((features - mean) / spread, targets, sample_weight=weights)
    expected = theirs.predict_log_proba((features - mean) / spread)
    logits = fit_regression(features, targets, weights, n_labels, strength)(features)
    ours = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)


def test_what_does_not_vary_has_no_weight_and_all_scales_are_alike() -> None:
    features, targets, clips = drawn(60, 3, 3)
    weights = balanced_weights(targets, clips)
    plain = fit_regression(features, targets, weights, 3, 0.1)
    noisy = np.concatenate([features * 1000 + 5, 7 + 1e-6 * features[:, :1], np.zeros((60, 1))], axis=1)
    other = fit_regression(noisy, targets, weights, 3, 0.1)
    np.testing.assert_array_equal(other.weight[:, 3:], 0)
    np.testing.assert_allclose(other(noisy), plain(features), rtol=0, atol=1e-6)
    again = fit_regression(noisy, targets, weights, 3, 0.1)
    np.testing.assert_array_equal(again.weight, other.weight)


def test_noise_takes_the_strongest_penalty_and_a_sure_feature_a_weak_one() -> None:
    rng = np.random.default_rng(0)
    targets, folds = np.arange(80) % 2, np.arange(80) // 2 % 5
    noise = rng.standard_normal((80, 20))
    assert hold_out(noise, targets, np.arange(80), folds, 2).strength == STRENGTHS[0]
    sure = noise + 20 * targets[:, None]
    held_out = hold_out(sure, targets, np.arange(80), folds, 2)
    assert held_out.strength < 0.01
    assert held_out.accuracy == 1.0
    assert held_out.log_loss < 0.01
    assert held_out.temperature < 1


def test_a_strength_is_found_behind_a_worse_one() -> None:
    """Places differ in loudness far more than scenes: two features that tell places tell scenes by their difference."""
    rng = np.random.default_rng(0)
    places = np.repeat(np.arange(8), 12)
    targets, clips, folds = places % 2, np.arange(96) // 3, places // 2
    loudness = 2 * rng.standard_normal(8)[places] + 0.2 * rng.standard_normal(96)
    other = loudness + 0.15 * (2 * targets - 1) + 0.03 * rng.standard_normal(96)
    held_out = hold_out(np.stack([loudness, other], axis=1), targets, clips, folds, 2)
    assert held_out.strength == STRENGTHS[-1]
    assert held_out.accuracy == 1.0
    assert held_out.log_loss < 0.1


def test_features_that_say_nothing_give_chance() -> None:
    targets, folds = np.arange(30) % 3, np.arange(30) // 3 % 5
    held_out = hold_out(np.zeros((30, 4), np.float32), targets, np.arange(30), folds, 3)
    assert held_out.accuracy == pytest.approx(1 / 3)
    assert held_out.log_loss == pytest.approx(np.log(3))
    head = fit_regression(np.zeros((30, 4)), targets, balanced_weights(targets, np.arange(30)), 3, held_out.strength)
    np.testing.assert_array_equal(head.weight, 0)
    np.testing.assert_allclose(head.bias, 0, rtol=0, atol=1e-9)


def test_a_fold_is_judged_by_the_others_alone() -> None:
    """Each fold turns the feature round, so that whoever learns from the other is always wrong."""
    targets, folds = np.tile([0, 1], 20), np.repeat([0, 1], 20)
    features = np.where(targets == folds, 1.0, -1.0)[:, None]
    held_out = hold_out(features, targets, np.arange(40), folds, 2)
    assert held_out.accuracy == 0.0
    assert held_out.temperature == pytest.approx(20, rel=1e-6)  # the hottest there is
    assert held_out.log_loss >= np.log(2)


def test_a_label_with_nothing_to_learn_from_is_not_judged() -> None:
    targets, folds = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 1, 1])
    features = np.eye(3)[targets]
    held_out = hold_out(features, targets, np.arange(6), folds, 3)
    assert held_out.targets.tolist() == [0, 0, 1, 1]
    kept = hold_out(features, targets, np.arange(6), np.array([0, 1, 0, 1, -1, -1]), 3)
    assert kept.targets.tolist() == [0, 0, 1, 1]
    assert (kept.logits > -100).all()  # both folds know the third
