"""How far a build is: one fraction that never falls, told ten times a second."""

from __future__ import annotations

import pytest

from engines.trt.phases import Phases, Throttled


def test_nested_phases_are_one_fraction() -> None:
    phases = Phases()
    assert phases.start("building", None, 4) == 0.0
    assert phases.start("optimising", "building", 2) == 0.0
    assert phases.step("optimising", 0) == pytest.approx(0.98 / 8)
    assert phases.finish("optimising") == pytest.approx(0.98 / 4)
    assert phases.step("building", 0) == pytest.approx(0.98 / 4)
    phases.start("timing", "building", 10)
    assert phases.step("timing", 4) == pytest.approx(0.98 * (1 / 4 + 1 / 8))
    phases.start("reformats", "timing", 2)
    assert phases.step("reformats", 0) == pytest.approx(0.98 * (1 / 4 + 1 / 8 + 1 / 80))
    assert phases.finish("building") == pytest.approx(0.98)
    assert phases.start("another", None, 2) == pytest.approx(0.98)
    assert phases.finish("another") == pytest.approx(0.98 + 0.02 * 0.98)


def test_phases_that_make_no_sense_never_go_back() -> None:
    phases = Phases()
    assert phases.step("unknown", 3) == phases.finish("unknown") == 0.0
    phases.start("orphan", "gone", 0)
    assert phases.step("orphan", 7) == pytest.approx(0.98)
    assert phases.step("orphan", -5) == pytest.approx(0.98)
    phases.start("late", "orphan", 3)
    assert phases.step("late", 2) == pytest.approx(0.98)


def test_progress_is_told_ten_times_a_second() -> None:
    told: list[float] = []
    times = iter(index / 100 for index in range(100))
    throttled = Throttled(lambda _phase, fraction: told.append(fraction), clock=lambda: next(times))
    for index in range(100):
        throttled.tell("tactics", index / 100)
    assert len(told) == 10
    assert told[0] == 0.0
