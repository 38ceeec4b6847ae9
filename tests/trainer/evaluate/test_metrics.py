"""Figures against values worked out by hand, and the temperature against a search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from trainer.evaluate.metrics import (
    accuracy,
    balanced_weights,
    brier_score,
    calibration_error,
    clip_means,
    confusion,
    confusion_counts,
    figures,
    fit_temperature,
    log_loss,
    means_of,
    recording_probabilities,
    recording_weights,
    reliability,
    softmax,
)

PROBABILITIES = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.9, 0.1]])
TARGETS = np.array([0, 1, 1, 0])


def test_softmax_of_logarithms_gives_probabilities_back() -> None:
    np.testing.assert_allclose(softmax(np.log(PROBABILITIES)), PROBABILITIES, rtol=1e-12)
    np.testing.assert_allclose(softmax(np.array([[0.0, 2.0]]), 2.0), [[1 / (1 + np.e), np.e / (1 + np.e)]])
    np.testing.assert_allclose(softmax(np.array([[1e4, 0.0]])), [[1.0, 0.0]])


def test_accuracy_and_log_loss_by_hand() -> None:
    assert accuracy(PROBABILITIES, TARGETS) == 0.75
    assert log_loss(PROBABILITIES, TARGETS) == pytest.approx(-np.log([0.8, 0.4, 0.7, 0.9]).mean(), rel=1e-12)
    weights = np.array([1.0, 3.0, 0.0, 0.0])
    assert accuracy(PROBABILITIES, TARGETS, weights) == 0.25
    assert log_loss(PROBABILITIES, TARGETS, weights) == pytest.approx(-(np.log(0.8) + 3 * np.log(0.4)) / 4)


def test_calibration_error_by_hand() -> None:
    # bins of a fifteenth: 0.6 (wrong), 0.7 (right), 0.8 (right), 0.9 (right)
    assert calibration_error(PROBABILITIES, TARGETS) == pytest.approx((0.6 + 0.3 + 0.2 + 0.1) / 4)
    sure = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert calibration_error(sure, np.array([0, 1])) == pytest.approx(0.5)


def calibration_error_as_written(probabilities: np.ndarray, targets: np.ndarray, n_bins: int = 15) -> float:
    """Guo et al. 2017, equation 3, a bin and a row at a time."""
    total = 0.0
    for number in range(n_bins):
        rows = [
            (row.max(), (row[target] == row.max()) / (row == row.max()).sum())  # of even ones a guess
            for row, target in zip(probabilities, targets, strict=True)
            if number / n_bins <= row.max() < (number + 1) / n_bins or (number == n_bins - 1 and row.max() == 1)
        ]
        if rows:
            confidence, right = np.mean(rows, axis=0)
            total += len(rows) / len(targets) * abs(confidence - right)
    return total


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 80), spread=st.floats(0.0, 40.0))
def test_the_calibration_error_is_that_of_its_definition(seed: int, n: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    probabilities, targets = softmax(spread * rng.standard_normal((n, 3))), rng.integers(0, 3, n)
    error = calibration_error(probabilities, targets)
    assert error == pytest.approx(calibration_error_as_written(probabilities, targets), abs=1e-12)
    assert 0 <= error <= 1


def test_reliability_bins_hold_shares_confidence_and_accuracy() -> None:
    shares, confidence, right = reliability(PROBABILITIES, TARGETS)
    assert np.flatnonzero(shares).tolist() == [9, 10, 12, 13]
    np.testing.assert_allclose(shares[[9, 10, 12, 13]], 0.25)
    np.testing.assert_allclose(confidence[[9, 10, 12, 13]] * 4, [0.6, 0.7, 0.8, 0.9])
    np.testing.assert_allclose(right[[9, 10, 12, 13]] * 4, [0, 1, 1, 1])


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_confusion_and_brier_score_are_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities, targets = softmax(3 * rng.standard_normal((60, 5))), rng.integers(0, 5, 60)
    expected = sklearn_metrics.confusion_matrix(targets, probabilities.argmax(axis=1), labels=range(5))
    np.testing.assert_array_equal(confusion_counts(probabilities, targets, 5), expected)
    expected = sklearn_metrics.brier_score_loss(targets, probabilities, labels=range(5))
    assert brier_score(probabilities, targets) == pytest.approx(expected, rel=1e-12)


def test_means_of_members_and_of_clips() -> None:
    means = means_of(np.array([1.0, 2.0, 6.0]), np.array([0, 2, 2]), 3)
    assert means[[0, 2]].tolist() == [1.0, 4.0]
    assert np.isnan(means[1])
    values, numbers = clip_means(np.array([[1.0, 0.0], [3.0, 2.0], [5.0, 5.0]]), np.array([7, 7, 3]))
    assert numbers.tolist() == [3, 7]
    assert values.tolist() == [[5.0, 5.0], [2.0, 1.0]]


def test_weights_balance_scenes_then_recordings() -> None:
    targets = np.array([0, 0, 0, 1, 1])
    recordings = np.array([4, 4, 7, 9, 9])
    np.testing.assert_allclose(balanced_weights(targets, recordings), [1 / 8, 1 / 8, 1 / 4, 1 / 4, 1 / 4])
    targets = np.array([2, 0, 2, 0, 2])
    recordings = np.array([9, -1, 4, 9, 9])  # one of them in both scenes, none in order
    np.testing.assert_allclose(balanced_weights(targets, recordings), [1 / 8, 1 / 4, 1 / 4, 1 / 4, 1 / 8])


def test_weights_of_recordings_leave_scenes_as_often_as_they_are() -> None:
    np.testing.assert_allclose(recording_weights(np.array([4, 4, 7, 9, 9])), [1 / 6, 1 / 6, 1 / 3, 1 / 6, 1 / 6])


def test_figures_name_scenes_and_count() -> None:
    result = figures(PROBABILITIES, TARGETS, np.array([0, 1, 2, 3]), ["bus", "park", "tram"])
    assert result.recall == {"bus": 1.0, "park": 0.5}
    assert result.n_windows == {"bus": 2, "park": 2}
    assert result.n_recordings == {"bus": 2, "park": 2}
    assert result.accuracy == 0.75


def test_a_recording_is_the_mean_of_its_windows_logarithms() -> None:
    answers, numbers = recording_probabilities(PROBABILITIES, np.array([5, 5, 5, 2]))
    assert numbers.tolist() == [2, 5]
    np.testing.assert_allclose(answers[0], [0.9, 0.1])
    expected = np.exp(np.log(PROBABILITIES[:3]).mean(axis=0))
    np.testing.assert_allclose(answers[1], expected / expected.sum())


def test_confusion_rows_are_scenes() -> None:
    table = confusion(PROBABILITIES, TARGETS, np.full(4, 0.25), 2)
    np.testing.assert_allclose(table, [[1.0, 0.0], [0.5, 0.5]])


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), spread=st.floats(0.5, 6.0))
def test_the_temperature_is_the_best_of_a_search(seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    logits = spread * rng.standard_normal((200, 4))
    targets = np.array([rng.choice(4, p=p) for p in softmax(logits, 2.0)])
    weights = rng.random(200)
    fitted = fit_temperature(logits, targets, weights)
    candidates = np.exp(np.linspace(np.log(0.25), np.log(20), 400))
    losses = [log_loss(softmax(logits, t), targets, weights) for t in candidates]
    assert log_loss(softmax(logits, fitted), targets, weights) <= min(losses) + 1e-9
    assert 0.25 <= fitted <= 20.0


def test_a_known_temperature_is_found_again() -> None:
    rng = np.random.default_rng(0)
    logits = 6 * rng.standard_normal((20_000, 5))
    targets = np.array([rng.choice(5, p=p) for p in softmax(logits, 3.0)])
    assert fit_temperature(logits, targets) == pytest.approx(3.0, rel=0.05)


def test_perfect_answers_do_not_make_certainty() -> None:
    assert fit_temperature(np.eye(3), np.arange(3)) == pytest.approx(0.25, rel=1e-6)
