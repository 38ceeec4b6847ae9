"""The log-linear pool: what must hold of it whatever the numbers are."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from ascstream.smoothing import SceneFilter
from engines.manifest import SmoothingSpec
from trainer.errors import ConfigError
from trainer.evaluate.metrics import softmax
from trainer.fuse.pool import Expert, Pool, make_pool

SEEDS = range(20)
NAMES = ("bus", "metro", "park", "square", "street", "tram")
BOTH = np.ones((1, 2))


def drawn(seed: int) -> tuple[Pool, np.ndarray, np.ndarray]:
    """A pool over two sets of labels that overlap, an uneven prior, and five windows of logits."""
    rng = np.random.default_rng(seed)
    ears, eyes = (tuple(sorted(rng.choice(NAMES, int(rng.integers(2, 7)), replace=False))) for _ in range(2))
    experts = [Expert(labels, float(rng.uniform(0.5, 4)), float(rng.uniform(0, 2))) for labels in (ears, eyes)]
    odds = {label: float(rng.uniform(0.2, 5)) for label in {*ears, *eyes}}
    return (
        make_pool(*experts, odds),
        3 * rng.standard_normal((5, len(ears))),
        3 * rng.standard_normal((5, len(eyes))),
    )


def by_hand(pool: Pool, audio: np.ndarray, video: np.ndarray) -> list[list[float]]:
    """The formula of the documentation, number by number in plain Python: (p_a/π)^w_a · (p_v/π)^w_v."""
    rows = []
    for heard, seen in zip(audio.tolist(), video.tolist(), strict=True):
        extended = []
        for expert, logits in ((pool.audio, heard), (pool.video, seen)):
            known = [math.exp(value / expert.temperature) for value in logits]
            q = {label: value / sum(known) for label, value in zip(expert.labels, known, strict=True)}
            share = sum(p for label, p in zip(pool.labels, pool.prior, strict=True) if label in q)
            # q was calibrated under the prior among its own labels: p = q·π(K), the rest is the prior
            extended.append(
                [q[label] * share if label in q else p for label, p in zip(pool.labels, pool.prior, strict=True)]
            )
        w_a, w_v = pool.audio.weight, pool.video.weight
        products = [(a / p) ** w_a * (v / p) ** w_v for a, v, p in zip(*extended, pool.prior, strict=True)]
        rows.append([product / sum(products) for product in products])
    return rows


@pytest.mark.parametrize("seed", SEEDS)
def test_it_is_the_product_of_powers_that_the_documentation_says(seed: int) -> None:
    pool, audio, video = drawn(seed)
    fused = np.exp(pool.answers(audio, video, BOTH)["fused"])
    assert fused == pytest.approx(np.array(by_hand(pool, audio, video)), rel=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_head_is_a_distribution(seed: int) -> None:
    pool, audio, video = drawn(seed)
    for head, values in pool.answers(audio, video, BOTH).items():
        assert np.exp(values).sum(axis=1) == pytest.approx(1.0, abs=1e-12), head


@pytest.mark.parametrize("seed", SEEDS)
def test_an_absent_modality_enters_nothing_not_even_as_nan(seed: int) -> None:
    pool, audio, video = drawn(seed)
    nothing = np.full_like
    by_ear = pool.answers(audio, nothing(video, np.nan), np.array([[1.0, 0.0]]))
    by_eye = pool.answers(nothing(audio, np.inf), video, np.array([[0.0, 1.0]]))
    neither = pool.answers(nothing(audio, np.nan), nothing(video, np.nan), np.zeros((1, 2)))
    whole = pool.answers(audio, video, BOTH)
    np.testing.assert_array_equal(by_ear["fused"], whole["audio"])
    np.testing.assert_array_equal(by_eye["fused"], whole["video"])
    assert np.exp(neither["fused"]) == pytest.approx(np.full((5, len(pool.labels)), 1 / len(pool.labels)))


@pytest.mark.parametrize("seed", SEEDS)
def test_an_unknown_label_scores_its_prior_alone_and_stays_out_of_the_product(seed: int) -> None:
    pool, audio, video = drawn(seed)
    level = replace(pool, prior=(1 / len(pool.labels),) * len(pool.labels))
    even = {head: np.exp(values) for head, values in level.answers(audio, video, BOTH).items()}
    answers = {head: np.exp(values) for head, values in pool.answers(audio, video, BOTH).items()}
    for modality, other in (("audio", "video"), ("video", "audio")):
        unknown = ~pool.known(modality)  # type: ignore[arg-type]
        assert even[modality][:, unknown] == pytest.approx(1 / len(pool.labels))
        # between two labels that this one does not know, only the other decides
        weight = pool.expert(other).weight  # type: ignore[arg-type]
        for first, second in itertools.pairwise(np.flatnonzero(unknown)):
            fused = answers["fused"][:, first] / answers["fused"][:, second]
            alone = answers[other][:, first] / answers[other][:, second]
            assert fused == pytest.approx(alone**weight)


@pytest.mark.parametrize("seed", SEEDS)
def test_known_labels_keep_their_proportions(seed: int) -> None:
    pool, audio, video = drawn(seed)
    answers = pool.answers(audio, video, BOTH)
    for modality, logits in (("audio", audio), ("video", video)):
        posterior = np.exp(answers[modality]) * pool.prior  # under the prior that it was calibrated under
        known = posterior[:, pool.known(modality)]  # type: ignore[arg-type]
        own = softmax(logits, pool.expert(modality).temperature)  # type: ignore[arg-type]
        assert known / known.sum(axis=1, keepdims=True) == pytest.approx(own)


def test_the_order_of_an_experts_labels_does_not_matter() -> None:
    logits = np.random.default_rng(1).standard_normal((4, 3))
    eye, seen = Expert(("bus", "park"), 1.5), np.random.default_rng(2).standard_normal((4, 2))
    straight = make_pool(Expert(("bus", "metro", "park"), 0.7), eye)
    turned = make_pool(Expert(("park", "bus", "metro"), 0.7), eye)
    first, second = straight.answers(logits, seen, BOTH), turned.answers(logits[:, [2, 0, 1]], seen, BOTH)
    for head in first:
        assert first[head] == pytest.approx(second[head], abs=1e-12)


def test_two_experts_that_say_the_same_are_surer_by_the_square() -> None:
    labels, logits = ("bus", "metro", "park"), np.array([[1.0, 0.0, -1.0]])
    pool = make_pool(Expert(labels, 1.0), Expert(labels, 1.0))
    squares = softmax(logits) ** 2
    assert np.exp(pool.answers(logits, logits, BOTH)["fused"]) == pytest.approx(squares / squares.sum())
    halves = make_pool(Expert(labels, 1.0, 0.5), Expert(labels, 1.0, 0.5))
    assert np.exp(halves.answers(logits, logits, BOTH)["fused"]) == pytest.approx(softmax(logits))


def test_the_prior_is_taken_out_of_every_answer() -> None:
    """Two experts that know no more than the prior say nothing: the runtime's filter would count it in every window."""
    labels = ("bus", "park")
    pool = make_pool(Expert(labels, 1.0, 1.7), Expert(labels, 1.0, 0.4), {"bus": 3.0})
    logits = np.log([[0.75, 0.25]])
    answers = pool.answers(logits, logits, BOTH)
    for head in ("fused", "audio", "video"):
        assert np.exp(answers[head]) == pytest.approx(np.array([[0.5, 0.5]])), head
    scene_filter = SceneFilter(2, SmoothingSpec(2.0), 1.0)
    for _ in range(60):
        smoothed = scene_filter.update(np.exp(answers["fused"][0]), 1.0)
    assert smoothed == pytest.approx([0.5, 0.5])


def test_a_temperature_divides_the_logits() -> None:
    labels = ("bus", "park", "tram")
    logits = np.array([[4.0, 1.0, -2.0]])
    pool = make_pool(Expert(labels, 2.5), Expert(labels, 1.0))
    assert np.exp(pool.answers(logits, logits, BOTH)["audio"]) == pytest.approx(softmax(logits / 2.5))


@pytest.mark.parametrize(
    ("odds", "message"),
    [
        ({"pub": 1.0}, "--prior: expected one of the labels bus, park, tram, got 'pub'"),
        ({"bus": 0.0}, "--prior: expected odds above 0 for 'bus', got 0"),
    ],
)
def test_odds_that_cannot_be_are_refused(odds: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_pool(Expert(("bus", "park"), 1.0), Expert(("park", "tram"), 1.0), odds)
    assert str(error.value) == message
