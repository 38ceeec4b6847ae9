"""Weights by maximum likelihood: found where they are known, never beyond their bounds, judged on places held out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from trainer.evaluate.metrics import softmax
from trainer.fuse.pool import Expert, Pool, make_pool
from trainer.fuse.weights import NOT_SURE, Evidence, fit_weights, judge_weights

LABELS = ("bus", "metro", "park", "tram")


def pool() -> Pool:
    return make_pool(Expert(LABELS, 1.0), Expert(LABELS, 1.0))


def drawn(n: int, true: tuple[float, float], seed: int = 1) -> Evidence:
    """Windows whose scenes were drawn from the pool itself, with these weights."""
    rng = np.random.default_rng(seed)
    audio, video = (1.5 * rng.standard_normal((n, 4)) for _ in range(2))
    probabilities = softmax(true[0] * audio + true[1] * video)
    targets = (probabilities.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    numbers = np.arange(n)
    return Evidence(audio, video, targets.astype(np.int64), numbers, numbers % 10)


@pytest.mark.parametrize("true", [(1.0, 1.0), (0.6, 1.4), (2.0, 0.3)])
def test_the_weights_that_scenes_were_drawn_by_are_found(true: tuple[float, float]) -> None:
    assert fit_weights(drawn(20_000, true)) == pytest.approx(true, abs=0.06)


@pytest.mark.parametrize("seed", range(5))
def test_a_general_optimiser_finds_the_same(seed: int) -> None:
    evidence = drawn(200, (0.4, 0.1), seed)
    counts = np.bincount(evidence.targets)[evidence.targets] * 4

    def loss(weights: np.ndarray) -> float:
        p = softmax(weights[0] * evidence.audio + weights[1] * evidence.video)
        return float((-np.log(p[np.arange(200), evidence.targets]) / counts).sum())

    best = minimize(loss, [1.0, 1.0], bounds=[(0, 4), (0, 4)], method="L-BFGS-B", options={"ftol": 1e-14})
    assert fit_weights(evidence) == pytest.approx(tuple(best.x), abs=1e-4)


def test_what_misleads_counts_nothing_and_what_never_errs_no_more_than_four() -> None:
    targets = np.tile(np.arange(4), 25)
    right = 0.5 * np.eye(4)[targets]
    numbers = np.arange(100)
    evidence = Evidence(right, -right, targets, numbers, numbers % 5)
    assert fit_weights(evidence) == (4.0, 0.0)


def test_a_pair_that_does_not_match_teaches_to_be_less_sure() -> None:
    evidence = drawn(2_000, (1.0, 1.0))
    rng = np.random.default_rng(3)
    strangers = rng.random(2_000) < 0.5
    doubted = Evidence(
        evidence.audio,
        evidence.video,
        np.where(strangers, NOT_SURE, evidence.targets),
        evidence.clips,
        evidence.folds,
    )
    audio, video = fit_weights(doubted)
    assert 0 < audio < 0.9
    assert 0 < video < 0.9
    judged = judge_weights(doubted, pool())
    assert judged.mismatched is not None
    assert judged.mismatched < judge_weights(evidence, pool()).held_out.max(axis=1).mean()


def test_figures_are_of_weights_that_never_saw_the_place() -> None:
    """In one fold the eye lies: weights for it come from the others, which trust the eye."""
    evidence = drawn(400, (0.2, 0.6))
    video = evidence.video.copy()
    liar = evidence.folds == 3
    video[liar] = -video[liar]
    lied = Evidence(evidence.audio, video, evidence.targets, evidence.clips, evidence.folds)
    judged = judge_weights(lied, pool())
    weights = fit_weights(lied.take(~liar))
    assert weights[1] > fit_weights(lied)[1] + 0.05
    assert judged.helped
    expected = softmax(weights[0] * evidence.audio[liar] + weights[1] * video[liar])
    assert judged.held_out[liar] == pytest.approx(expected)
    assert judged.mismatched is None
    assert (judged.n_clips, judged.n_windows, judged.n_folds) == (400, 400, 10)
    assert set(judged.figures) == {"audio", "video", "even", "fitted"}


def test_weights_that_are_no_better_at_other_places_are_not_taken() -> None:
    few = drawn(12, (1.0, 1.0), seed=2)
    few = Evidence(few.audio, few.video, few.targets, few.clips, few.folds % 3)
    judged = judge_weights(few, pool())
    assert fit_weights(few) != pytest.approx((1, 1), abs=0.3)
    assert judged.figures["fitted"].log_loss > judged.figures["even"].log_loss
    assert (judged.helped, judged.audio_weight, judged.video_weight) == (False, 1.0, 1.0)
    assert judged.held_out == pytest.approx(softmax(few.audio + few.video))
    many = drawn(2_000, (0.6, 1.4))
    judged = judge_weights(many, pool())
    assert (judged.helped, judged.audio_weight, judged.video_weight) == (True, *fit_weights(many))
