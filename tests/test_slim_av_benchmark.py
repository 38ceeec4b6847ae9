"""The arithmetic by which benchmarks/slim_av_*.py judge the bundle that ships."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))  # they import each other as scripts do
from slim_av_figures import Answers, among, bootstrap, figures_of, gain_of
from slim_av_streams import delays_of

GROUPS = [[0, 1], [2]]


def drawn(seed: int, sharpness: float) -> Answers:
    """Answers to 8 recordings of two scenes of three, five windows each."""
    rng = np.random.default_rng(seed)
    owners = np.repeat(np.arange(8), 5)
    targets = owners % 2 * 2
    logits = rng.standard_normal((40, 3))
    logits[np.arange(40), targets] += sharpness
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Answers(probabilities, targets, owners, GROUPS)


def test_delays_are_of_all_changes() -> None:
    assert delays_of([2.0, 5.0, np.inf, 9.0]) == {
        "median_seconds": 7.0,
        "within_5": 0.5,
        "within_30": 0.75,
        "changes": 4,
    }
    assert delays_of([1.0, np.inf, np.inf])["median_seconds"] is None


def test_a_gain_over_oneself_is_nothing() -> None:
    given = drawn(1, 1.0)
    for part in gain_of(given, given).values():
        assert part == {"gain": 0.0, "interval": [0.0, 0.0]}


def test_gains_are_paired_over_the_same_recordings() -> None:
    plain = drawn(1, 1.0)
    better = replace(plain, probabilities=0.5 * plain.probabilities + 0.5 * np.eye(3)[plain.targets])
    found = gain_of(better, plain)
    assert found["log_loss"]["interval"][1] < 0  # in every draw, however the figures themselves vary
    spread = np.ptp([one["log_loss"] for one in bootstrap(plain)])
    assert np.ptp(found["log_loss"]["interval"]) < spread


def test_scenes_that_do_not_occur_are_known_to_be_absent() -> None:
    given = drawn(2, 0.0)
    kept = among(given).probabilities
    np.testing.assert_array_equal(kept[:, 1], 0)
    np.testing.assert_allclose(kept.sum(axis=1), 1)
    np.testing.assert_allclose(kept[:, 0] / kept[:, 2], given.probabilities[:, 0] / given.probabilities[:, 2])


def test_scenes_and_recordings_weigh_the_same() -> None:
    probabilities = np.array([[0.9, 0.0, 0.1]] * 9 + [[0.1, 0.0, 0.9], [0.9, 0.0, 0.1]])
    given = Answers(probabilities, np.array([0] * 9 + [2, 2]), np.array([0] * 9 + [1, 2]), GROUPS)
    figures = figures_of(given)(np.arange(11), given.owners)
    assert figures["accuracy"] == pytest.approx((1 + 0.5) / 2)
    assert figures["group_accuracy"] == pytest.approx((1 + 0.5) / 2)
