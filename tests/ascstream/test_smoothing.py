"""The filter: Bayes by hand, independence of the step, memory that fades; the decider: levels, hysteresis, reasons."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ascstream.smoothing import Decider, SceneFilter
from engines.manifest import SmoothingSpec, Thresholds

LABELS = ("airport", "metro", "park", "tram")
GROUPS = {"indoor": ("airport",), "outdoor": ("park",), "transportation": ("metro", "tram")}


def sure(index: int, score: float = 0.7, n: int = 4) -> np.ndarray:
    probabilities = np.full(n, (1 - score) / (n - 1))
    probabilities[index] = score
    return probabilities


def run(truth: list[tuple[float, np.ndarray]], step: float, tau: float, dwell: float = 30.0) -> dict[float, np.ndarray]:
    """Posteriors by time, where a window across a change says the mixture of what it covers, by share of time."""
    total = sum(seconds for seconds, _ in truth)
    grid = 1e-3
    frames = np.concatenate([np.tile(np.log(p), (round(seconds / grid), 1)) for seconds, p in truth])
    cumulative = np.concatenate([np.zeros((1, frames.shape[1])), np.cumsum(frames, axis=0)])
    filter_ = SceneFilter(frames.shape[1], SmoothingSpec(tau, dwell), 1.0)
    posteriors = {}
    k = 0
    while 1.0 + k * step <= total + 1e-9:
        end = 1.0 + k * step
        a, b = round((end - 1.0) / grid), round(end / grid)
        log_p = (cumulative[b] - cumulative[a]) / (b - a)
        probabilities = np.exp(log_p) / np.exp(log_p).sum()
        posteriors[round(end, 6)] = filter_.update(probabilities, 1.0 if k == 0 else step)
        k += 1
    return posteriors


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0, 5.0])
def test_a_change_of_step_does_not_change_behaviour(tau: float) -> None:
    truth = [(8.0, sure(0)), (7.0, sure(2, 0.8)), (5.0, sure(3, 0.5)), (6.0, sure(2, 0.9))]
    fine = run(truth, 0.1, tau)
    for step in (0.2, 0.25, 0.5, 1.0):
        coarse = run(truth, step, tau)
        common = sorted(set(fine) & set(coarse))
        assert len(common) >= 25
        worst = max(float(np.abs(fine[time] - coarse[time]).max()) for time in common)
        assert worst <= 0.02, f"step {step}: {worst:.4f}"


@settings(max_examples=30, deadline=None)
@given(
    scores=st.lists(st.tuples(st.integers(0, 3), st.floats(0.26, 0.95)), min_size=2, max_size=5),
    step=st.sampled_from([0.2, 0.5, 1.0]),
)
def test_any_scenes_give_equal_posteriors_at_any_step(scores: list[tuple[int, float]], step: float) -> None:
    truth = [(4.0, sure(index, score)) for index, score in scores]
    fine, coarse = run(truth, 0.1, 2.0), run(truth, step, 2.0)
    assert max(float(np.abs(fine[time] - coarse[time]).max()) for time in set(fine) & set(coarse)) <= 0.02


def test_without_moves_it_is_bayes_rule() -> None:
    # a chain that never moves and windows that do not overlap: the product of the likelihoods
    filter_ = SceneFilter(2, SmoothingSpec(1.0, 1e12), 1.0)
    filter_.update(np.array([0.6, 0.4]), 1.0)
    posterior = filter_.update(np.array([0.6, 0.4]), 1.0)
    assert posterior[0] == pytest.approx(0.36 / (0.36 + 0.16), abs=1e-9)


def test_evidence_fades_as_the_chain_says() -> None:
    dwell, n = 30.0, 4
    filter_ = SceneFilter(n, SmoothingSpec(1.0, dwell), 1.0)
    before = filter_.update(sure(1, 0.97), 1.0)
    after = filter_.update(None, 12.0)
    keep = math.exp(-12.0 * n / ((n - 1) * dwell))
    assert after == pytest.approx(keep * before + (1 - keep) / n, abs=1e-12)


def test_zero_switches_the_filter_off() -> None:
    filter_ = SceneFilter(4, SmoothingSpec(0.0, 30.0), 1.0)
    filter_.update(sure(0, 0.9), 1.0)
    assert filter_.update(sure(3, 0.4), 0.5) == pytest.approx(sure(3, 0.4))
    assert filter_.update(None, 0.5) == pytest.approx(np.full(4, 0.25))


def test_a_hole_counts_once() -> None:
    # what was heard after nine unheard seconds weighs as one window, not as ten
    with_hole, without = (SceneFilter(2, SmoothingSpec(1.0, 1e12), 1.0) for _ in range(2))
    for filter_, elapsed in ((with_hole, 10.0), (without, 1.0)):
        filter_.update(np.array([0.7, 0.3]), 1.0)
        filter_.update(np.array([0.7, 0.3]), elapsed)
    assert with_hole.posterior == pytest.approx(without.posterior, abs=1e-9)


@pytest.mark.parametrize("tau", [0.0, 2.0])
def test_streams_side_by_side_are_filtered_as_one_by_one(tau: float) -> None:
    scores = np.random.default_rng(0).dirichlet(np.ones(4), (3, 6))
    together = SceneFilter(4, SmoothingSpec(tau), 1.0)
    side_by_side = np.stack([together.update(scores[:, k], 0.5) for k in range(6)], axis=1)
    for stream, posteriors in zip(scores, side_by_side, strict=True):
        alone = SceneFilter(4, SmoothingSpec(tau), 1.0)
        np.testing.assert_allclose(posteriors, [alone.update(window, 0.5) for window in stream], rtol=1e-12)


def test_a_certain_window_is_no_proof() -> None:
    filter_ = SceneFilter(2, SmoothingSpec(1.0, 30.0), 1.0)
    posterior = filter_.update(np.array([1.0, 0.0]), 1.0)
    assert 0.9 < posterior[0] < 1.0
    assert np.isfinite(posterior).all()


def decider(**thresholds: float) -> Decider:
    return Decider(LABELS, GROUPS, Thresholds(**thresholds))


def test_the_most_specific_confident_answer_wins() -> None:
    answers = [
        decider().decide(np.array([0.1, 0.6, 0.1, 0.2])),
        decider().decide(np.array([0.2, 0.4, 0.1, 0.3])),
        decider().decide(np.array([0.3, 0.3, 0.3, 0.1])),
    ]
    assert [(a.label, a.level, a.reason) for a in answers] == [
        ("metro", "scene", None),
        ("transportation", "group", None),
        ("unknown", "unknown", "low_confidence"),
    ]
    assert [a.score for a in answers] == pytest.approx([0.6, 0.7, 0.3])


def test_an_unusable_window_is_unknown_whatever_was_before() -> None:
    judge = decider()
    judge.decide(sure(2, 0.99))
    answer = judge.decide(sure(2, 0.98), "silence")
    assert (answer.label, answer.level, answer.reason) == ("unknown", "unknown", "silence")


def test_a_named_scene_is_kept_within_the_hysteresis() -> None:
    judge = decider(scene=0.5, hysteresis=0.1)
    trace = [0.55, 0.45, 0.41, 0.39, 0.45, 0.51]
    labels = [judge.decide(np.array([(1 - p) / 3, p, (1 - p) / 3, (1 - p) / 3])).level for p in trace]
    # entered at 0.55, kept down to 0.4, then its group alone (metro and tram, 0.59 and 0.63), entered again above 0.5
    assert labels == ["scene", "scene", "scene", "group", "group", "scene"]


def test_a_rival_needs_a_lead() -> None:
    judge = decider(scene=0.4, hysteresis=0.1)
    assert judge.decide(np.array([0.45, 0.0, 0.42, 0.13])).label == "airport"
    assert judge.decide(np.array([0.43, 0.0, 0.48, 0.09])).label == "airport"
    assert judge.decide(np.array([0.40, 0.0, 0.52, 0.08])).label == "park"


def test_reset_forgets_the_answer() -> None:
    judge = decider()
    judge.decide(sure(1, 0.9))
    judge.reset()
    assert judge.decide(sure(1, 0.45)).level != "scene"
