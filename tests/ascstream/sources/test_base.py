"""The schedule of frames: the first moment at which a window looks, to the last digit, hours into a stream."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from ascstream.sources.base import FrameSchedule


@given(
    time=st.floats(-1.0, 30.0) | st.integers(0, 10**8).map(lambda tick: tick / 1000),
    step=st.sampled_from([Fraction("0.1"), Fraction(1, 3), Fraction("0.04"), Fraction(1), Fraction(10)]),
    offsets=st.lists(st.integers(0, 100).map(lambda n: Fraction(n, 100)), min_size=1, max_size=5, unique=True),
)
def test_the_next_slot_is_the_first_at_or_after_a_time(time: float, step: Fraction, offsets: list[Fraction]) -> None:
    slot = FrameSchedule(step, tuple(sorted(offsets)), 0.5).next_slot(time)
    near = range(max(0, int(time / step) - 30), max(0, int(time / step)) + 3)
    every = {float(offset + k * step) for offset in offsets for k in near}
    assert slot == min(at for at in every if at >= time)


def test_a_frame_is_wanted_where_it_is_newest_and_young_enough_at_a_slot() -> None:
    schedule = FrameSchedule(Fraction(1), (Fraction("0.1"), Fraction("0.9")), 0.4)
    shown = {(0.0, 0.1): False, (0.0, 0.2): True, (0.1, 0.2): True, (0.2, 0.8): False, (0.5, 2.0): True}
    assert {span: schedule.wants(*span) for span in shown} == shown
    assert not schedule.wants(1.2, 1.85)
    assert schedule.wants(3599.6, 3600.2)


def test_no_slots_at_all_are_never() -> None:
    assert FrameSchedule(Fraction(1), (), 0.4).next_slot(0.0) == float("inf")
