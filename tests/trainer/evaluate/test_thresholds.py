"""The filter over many clips equals the runtime's own, clip by clip; thresholds against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ascstream.smoothing import SceneFilter
from engines.manifest import SmoothingSpec
from trainer.evaluate.thresholds import best_groups, choose_thresholds, measure_thresholds, smooth_clips


@settings(deadline=None, max_examples=20)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    seed=st.integers(0, 1000),
    step=st.sampled_from([0.5, 1.0]),
    tau=st.sampled_from([0.0, 2.0]),
)
def test_clips_are_filtered_as_streams_of_their_own(lengths: list[int], seed: int, step: float, tau: float) -> None:
    rng = np.random.default_rng(seed)
    clips = np.repeat(rng.permutation(100)[: len(lengths)], lengths)
    probabilities = rng.dirichlet(np.ones(4), len(clips))
    smoothed = smooth_clips(probabilities, clips, SmoothingSpec(tau), 1.0, step)
    for clip in np.unique(clips):
        alone = SceneFilter(4, SmoothingSpec(tau), 1.0)
        rows = np.flatnonzero(clips == clip)
        expected = [alone.update(probabilities[row], 1.0 if k == 0 else step) for k, row in enumerate(rows)]
        np.testing.assert_allclose(smoothed[rows], expected, rtol=1e-12)


def test_the_lowest_threshold_that_is_right_often_enough() -> None:
    scores = np.array([0.9, 0.7, 0.6, 0.5])
    smoothed = np.stack([scores, 1 - scores, np.zeros(4)], axis=1)
    targets = np.array([0, 0, 0, 1])
    clips = np.arange(4)
    chosen = choose_thresholds(smoothed, targets, clips, [], 0.8)
    assert chosen == {"scene": 0.51, "scene_precision": 1.0, "scene_coverage": 0.75}
    assert choose_thresholds(smoothed, targets, clips, [], 0.75)["scene"] == 0.4


def test_clips_count_alike_whatever_their_length() -> None:
    smoothed = np.array([[0.8, 0.2]] * 9 + [[0.6, 0.4]])
    targets = np.array([1] * 9 + [0])  # a long clip that is wrong, a short one that is right
    measured = measure_thresholds(smoothed, targets, np.array([3] * 9 + [8]), [], {"scene": 0.5})
    assert measured["scene_precision"] == pytest.approx(0.5)
    assert measured["scene_coverage"] == pytest.approx(1.0)


def test_groups_are_judged_where_no_scene_is_named() -> None:
    smoothed = np.array([[0.96, 0.02, 0.02], [0.48, 0.45, 0.07], [0.1, 0.3, 0.6], [0.34, 0.33, 0.33]])
    targets = np.array([0, 1, 0, 2])
    chosen = choose_thresholds(smoothed, targets, np.arange(4), [[0, 1], [2]], 0.9)
    assert chosen["scene"] == 0.61
    assert chosen["group"] == 0.68  # the second alone: its group holds its scene, with 0.93
    assert chosen["group_precision"] == 1.0
    assert chosen["group_coverage"] == 0.25
    gentle = choose_thresholds(smoothed, targets, np.arange(4), [[0, 1], [2]], 0.9, 0.3)
    assert (gentle["scene"], gentle["group"]) == (0.61, 0.4)  # one of three is enough
    scores, right = best_groups(smoothed, targets, [[0, 1], [2]])
    np.testing.assert_allclose(scores, [0.98, 0.93, 0.6, 0.67])
    assert right.tolist() == [True, True, False, False]


def test_where_nothing_is_enough_the_highest_stands() -> None:
    wrong = choose_thresholds(np.array([[0.99, 0.01]]), np.array([1]), np.array([0]), [[0], [1]], 0.8)
    assert (wrong["scene"], wrong["scene_precision"], wrong["scene_coverage"]) == (0.95, 0.0, 1.0)
    assert (wrong["group"], wrong["group_precision"], wrong["group_coverage"]) == (0.95, 0.0, 0.0)


@pytest.mark.parametrize(("precision", "threshold"), [(0.9, 0.56), (0.7, 0.40)])
def test_thresholds_are_the_lowest_that_reach_the_precision(precision: float, threshold: float) -> None:
    targets = np.repeat([0, 1, 2], 4)
    # right where the score is 0.7 or more, wrong where it is 0.55
    scores = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.1, 0.35, 0.55], [0.7, 0.2, 0.1]] * 3)
    smoothed = np.stack([np.roll(row, label) for row, label in zip(scores, targets, strict=True)])
    chosen = choose_thresholds(smoothed, targets, np.arange(12), [], precision)
    assert chosen["scene"] == threshold
    assert chosen["scene_precision"] == pytest.approx(1.0 if precision == 0.9 else 0.75)
