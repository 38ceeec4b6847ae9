"""The 1-s protocol: scikit-learn's figures, invariances, what is refused, and how quick it is."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from support.answers import LABELS, clip_entries, invent_answers

from trainer.clip_run import ClipEntry
from trainer.errors import RunError
from trainer.evaluate.answers import Answers
from trainer.evaluate.metrics import confusion_counts, softmax
from trainer.evaluate.protocol import (
    Segments,
    breakdown,
    chance,
    condition_figures,
    fit_temperatures,
    gather_segments,
    group_rights,
    intervals,
    score,
    score_clips,
)

ENTRIES = clip_entries(devices=("a", "b"))


def segments(entries: tuple[ClipEntry, ...] = ENTRIES, **options: object) -> Segments:
    return gather_segments(invent_answers(entries, "evaluate", **options), entries, LABELS, "here")  # type: ignore[arg-type]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), n=st.integers(20, 200), spread=st.floats(0.01, 60.0))
def test_every_figure_is_scikit_learns(seed: int, n: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(4), rng.integers(0, 4, n)])
    probabilities = softmax(spread * rng.standard_normal((n + 4, 4)))
    figures = score(probabilities, targets)
    answers = probabilities.argmax(axis=1)
    numbers = list(range(4))
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(targets, answers),
        "accuracy_macro": sklearn_metrics.balanced_accuracy_score(targets, answers),
        "log_loss": sklearn_metrics.log_loss(targets, probabilities, labels=numbers),
        "log_loss_macro": np.mean(
            [
                sklearn_metrics.log_loss(targets[targets == k], probabilities[targets == k], labels=numbers)
                for k in numbers
            ]
        ),
        "brier_score": sklearn_metrics.brier_score_loss(targets, probabilities, labels=numbers),
    }
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, rel=1e-12, abs=1e-12), name


def test_an_answer_that_knows_nothing_is_a_guess_and_not_the_first_scene() -> None:
    targets = np.array([0, 0, 0, 3])
    for figures in (score(np.full((4, 4), 0.25), targets), score(np.full((4, 4), 0.25), 3 - targets)):
        assert figures["accuracy"] == figures["accuracy_macro"] == 0.25
        assert figures["calibration_error"] == 0.0
    even = np.full((1, 4), 0.25)
    assert confusion_counts(np.concatenate([even, [[0.1, 0.2, 0.3, 0.4]]]), np.array([0, 0]), 4)[0].tolist() == [
        0,
        0,
        0,
        1,
    ]


def test_a_scene_without_a_segment_is_left_out_of_macro_means() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.1, 0.8, 0.1]])
    figures = score(probabilities, np.array([0, 0, 1]))
    assert figures["accuracy_macro"] == pytest.approx((0.5 + 1.0) / 2)
    assert figures["log_loss_macro"] == pytest.approx((-np.log(0.7 * 0.4) / 2 - np.log(0.8)) / 2)


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_clips_changes_nothing(seed: int) -> None:
    answers = invent_answers(ENTRIES, "evaluate")
    numbers = np.unique(answers.clips)
    order = np.concatenate(
        [np.flatnonzero(answers.clips == c) for c in np.random.default_rng(seed).permutation(numbers)]
    )
    shuffled = Answers(answers.clips[order], {name: logits[order] for name, logits in answers.logits.items()})
    one, other = (gather_segments(part, ENTRIES, LABELS, "here") for part in (answers, shuffled))
    temperatures = fit_temperatures(one)
    for name, temperature in fit_temperatures(other).items():
        assert temperature == pytest.approx(temperatures[name], rel=1e-9)
    for condition in one.logits:
        a, b = (condition_figures(part, condition, temperatures) for part in (one, other))
        ends, other_ends = (figures["calibrated"].pop("interval") for figures in (a, b))
        for name in ends:
            assert ends[name] == pytest.approx(other_ends[name], rel=1e-9)
        assert a["calibrated"] == pytest.approx(b["calibrated"], rel=1e-9)
        assert a["clips"]["mean_probability"] == pytest.approx(b["clips"]["mean_probability"], rel=1e-9)
        assert a["uncalibrated"] == pytest.approx(b["uncalibrated"], rel=1e-9)


@settings(deadline=None, max_examples=20)
@given(temperature=st.floats(0.25, 20.0), seed=st.integers(0, 1000))
def test_a_temperature_changes_no_answer(temperature: float, seed: int) -> None:
    part = segments(seed=seed)
    plain = score(softmax(part.logits["whole"]), part.targets)
    warm = score(softmax(part.logits["whole"], temperature), part.targets)
    assert (warm["accuracy"], warm["accuracy_macro"]) == (plain["accuracy"], plain["accuracy_macro"])
    assert 0.0 <= warm["calibration_error"] <= 1.0


def test_perfect_answers_have_no_loss() -> None:
    targets = np.arange(10).repeat(3)
    figures = score(np.eye(10)[targets], targets)
    assert figures["accuracy"] == figures["accuracy_macro"] == 1.0
    assert figures["log_loss"] == figures["log_loss_macro"] == figures["calibration_error"] == 0.0
    assert figures["brier_score"] == 0.0


def test_sure_mistakes_cost_what_scikit_learn_says() -> None:
    figures = score(np.eye(2), np.array([1, 0]))
    assert figures["log_loss"] == pytest.approx(-np.log(np.finfo(np.float64).eps))
    assert figures["brier_score"] == 2.0


def test_clips_are_joined_both_ways() -> None:
    probabilities = np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.6, 0.4]])
    clips, targets = np.array([4, 4, 4, 7]), np.array([0, 0, 0, 1])
    figures = score_clips(probabilities, targets, clips)
    arithmetic = np.array([[1.4 / 3, 1.6 / 3], [0.6, 0.4]])
    geometric = np.cbrt([0.9 * 0.3 * 0.2, 0.1 * 0.7 * 0.8])
    assert figures["mean_probability"]["accuracy"] == 0.0
    assert figures["mean_probability"]["log_loss"] == pytest.approx(-np.log([arithmetic[0, 0], 0.4]).mean())
    expected = -np.log([geometric[0] / geometric.sum(), 0.4]).mean()
    assert figures["mean_log_probability"]["log_loss"] == pytest.approx(expected)


def test_places_are_resampled_whole() -> None:
    rng = np.random.default_rng(0)
    n_places, each = 60, 40
    place_right = rng.random(n_places) < 0.7  # every segment of a place is right, or none is
    locations = np.arange(n_places).repeat(each)
    targets = np.zeros(n_places * each, np.int64)
    probabilities = np.where(place_right[locations, None], [[0.9, 0.1]], [[0.2, 0.8]])
    ends = intervals(probabilities, targets, locations)
    assert ends is not None
    low, high = ends["accuracy"]
    wanted = 1.96 * place_right.std() / np.sqrt(n_places)
    assert low == pytest.approx(place_right.mean() - wanted, abs=0.03)
    assert high == pytest.approx(place_right.mean() + wanted, abs=0.03)
    assert ends["accuracy_macro"] == ends["accuracy"]  # of the only scene there is
    assert intervals(probabilities, targets, np.zeros_like(locations)) is None


def test_a_group_is_right_by_its_sum_and_a_tie_is_a_guess() -> None:
    groups = [[0, 1], [2, 3]]  # label 4 is of no group
    probabilities = np.array(
        [
            [0.30, 0.30, 0.40, 0.00, 0.00],  # the wrong scene of the right group
            [0.25, 0.25, 0.25, 0.25, 0.00],  # a tie
            [0.10, 0.10, 0.60, 0.10, 0.10],
            [0.60, 0.10, 0.10, 0.10, 0.10],  # a scene of no group is never of the right one
        ]
    )
    targets = np.array([0, 2, 3, 4])
    figures = score(probabilities, targets, groups)
    assert group_rights(probabilities, targets, groups).tolist() == [1, 0.5, 1, 0]
    assert figures["group_accuracy"] == 2.5 / 4
    assert figures["group_accuracy_macro"] == 2.5 / 4
    assert "group_accuracy" not in score(probabilities, targets)
    ends = intervals(probabilities, targets, np.arange(4), groups)
    assert ends is not None
    assert ends["group_accuracy"][0] < 2.5 / 4 < ends["group_accuracy"][1]
    assert chance(5, targets, groups)["group_accuracy"] == pytest.approx((2 + 2 + 2 + 0) / 4 / 5)


def test_breakdowns_count_and_average() -> None:
    part = segments()
    probabilities = softmax(part.logits["whole"])
    right = probabilities.argmax(axis=1) == part.targets
    by_class = breakdown(part, probabilities, "label", LABELS)
    assert list(by_class) == list(LABELS)
    assert by_class["bus"]["accuracy"] == pytest.approx(right[part.targets == 1].mean())
    assert {name: by_class["bus"][name] for name in ("n_segments", "n_clips", "n_locations")} == {
        "n_segments": 16,
        "n_clips": 4,
        "n_locations": 2,
    }
    assert list(breakdown(part, probabilities, "city")) == ["prague"]
    by_device = breakdown(part, probabilities, "device")
    assert list(by_device) == ["a", "b"]
    assert sum(row["n_segments"] for row in by_device.values()) == len(part.clips)
    shares = [row["accuracy"] * row["n_segments"] for row in breakdown(part, probabilities, "place").values()]
    assert sum(shares) == pytest.approx(right.sum())


def test_a_scene_without_clips_is_listed_as_not_measured() -> None:
    entries = tuple(entry for entry in ENTRIES if entry.split != "evaluate" or entry.label != "tram")
    part = segments(entries)
    row = breakdown(part, softmax(part.logits["whole"]), "label", LABELS)["tram"]
    assert row == {"accuracy": None, "log_loss": None, "n_segments": 0, "n_clips": 0, "n_locations": 0}


def test_temperatures_undo_overconfidence() -> None:
    part = segments(clip_entries(clips=20, locations=10))
    for output, temperature in fit_temperatures(part).items():
        condition = {"fused": "whole"}.get(output, output)
        figures = condition_figures(part, condition, {"fused": 1.0} | {output: temperature})
        assert figures["calibrated"]["log_loss"] < figures["uncalibrated"]["log_loss"]


def test_chance_is_a_coin_of_ten_sides() -> None:
    assert chance(10) == {"accuracy": 0.1, "log_loss": pytest.approx(2.302585, abs=1e-6)}


def test_nan_names_the_clip(tmp_path: Path) -> None:
    answers = invent_answers(ENTRIES, "evaluate")
    answers.logits["audio"][5, 2] = np.nan
    key = ENTRIES[answers.clips[5]].key
    with pytest.raises(RunError, match=f"got NaN or infinity in 1 of 160 segments \\(audio\\), first in {key}"):
        gather_segments(answers, ENTRIES, LABELS, tmp_path)


@pytest.mark.parametrize(
    ("clips", "logits", "message"),
    [
        (np.zeros(0, np.int64), np.zeros((0, 10)), "expected a clip's position a segment, got none"),
        (np.zeros((2, 1), np.int64), np.zeros((2, 10)), "expected a clip's position a segment"),
        (np.zeros(2), np.zeros((2, 10)), "expected a clip's position a segment"),
        (np.array([0, 400]), np.zeros((2, 10)), "expected positions of the run's 160 clips, got 0 to 400"),
        (np.array([-1, 0]), np.zeros((2, 10)), "got -1 to 0"),
        (np.array([0, 0]), np.zeros((2, 9)), r"expected logits \[2, 10\], got \[2, 9\]"),
    ],
)
def test_answers_of_something_else_are_refused(clips: np.ndarray, logits: np.ndarray, message: str) -> None:
    with pytest.raises(RunError, match=message):
        gather_segments(Answers(clips, {"whole": logits.astype(np.float32)}), ENTRIES, LABELS, "here")


def test_clips_of_other_scenes_are_refused() -> None:
    answers = invent_answers(ENTRIES, "evaluate")
    renamed = [ClipEntry(e.key, "beach", e.city, e.location, e.device, e.split, e.seconds) for e in ENTRIES]
    with pytest.raises(RunError, match="got 'beach'"):
        gather_segments(answers, renamed, LABELS, "here")


def test_the_whole_evaluation_set_takes_a_moment() -> None:
    entries = clip_entries(locations=13, clips=28, seconds=10, cities={"prague": "evaluate"})
    part = segments(entries)
    assert len(part.clips) == 36_400
    begun = time.process_time()
    figures = {name: condition_figures(part, name, {"fused": 2.0, "audio": 2.0, "video": 2.0}) for name in part.logits}
    assert time.process_time() - begun < 4  # 0.4 s on one core
    assert set(figures) == {"whole", "audio", "video"}
