"""Stamps of streams: jitter, bursts, drift, jumps and two tracks, on a made-up clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ascstream.capture.stamps import StreamClock

SOUND, PICTURE = 0, 1


@given(
    start=st.floats(-1e6, 1e6),
    begin=st.floats(0, 1e6),
    delays=st.lists(st.floats(0, 0.4), min_size=20, max_size=60),
)
def test_jitter_does_not_move_what_is_stamped(start: float, begin: float, delays: list[float]) -> None:
    clock, arrival = StreamClock(), begin
    delays[:11] = [0.0] * 11  # what comes through at once now and then
    for number, delay in enumerate(delays):
        stamp = start + number * 0.04
        arrival = max(arrival, begin + number * 0.04 + delay)
        assert not clock.arrive(PICTURE, stamp, arrival)
        moment = clock.moment(PICTURE, stamp)
        assert moment <= arrival + 1e-6
        if number >= 10:
            assert moment == pytest.approx(begin + number * 0.04, abs=1e-6)


@given(burst=st.integers(1, 100))
def test_what_a_server_had_ready_is_stamped_when_it_was_made(burst: int) -> None:
    clock = StreamClock()
    for number in range(burst + 10):
        arrival = 100.0 + max(0, number - burst) * 0.04
        clock.arrive(PICTURE, number * 0.04, arrival)
    assert clock.settled
    assert clock.moment(PICTURE, 0.0) == pytest.approx(100.0 - burst * 0.04, abs=1e-6)


@given(ppm=st.floats(-500, 500))
def test_drift_is_followed(ppm: float) -> None:
    clock = StreamClock()
    for number in range(3000):
        made = 50.0 + number * 0.1
        clock.arrive(SOUND, number * 0.1 * (1 + ppm / 1e6), made + 0.02)
    error = clock.moment(SOUND, 2999 * 0.1 * (1 + ppm / 1e6)) - (made + 0.02)
    assert abs(error) <= 500e-6 * 10 + 1e-6  # what it drifts while the fastest packet is remembered


def test_a_stall_and_its_burst_change_nothing() -> None:
    clock = StreamClock()
    for number in range(100):
        clock.arrive(SOUND, number * 0.02, 10 + number * 0.02)
    for number in range(100, 250):  # nothing for three seconds, then all of it
        assert not clock.arrive(SOUND, number * 0.02, 15.0)
        assert clock.moment(SOUND, number * 0.02) == pytest.approx(10 + number * 0.02)


def test_a_sender_that_stopped_for_a_while_begins_anew() -> None:
    clock = StreamClock()
    for number in range(100):
        clock.arrive(SOUND, number * 0.02, 10 + number * 0.02)
    anew = [clock.arrive(SOUND, number * 0.02, 13 + number * 0.02) for number in range(100, 250)]
    assert anew.count(True) == 1
    assert 99 <= anew.index(True) <= 102, "not before two seconds are over"
    assert clock.moment(SOUND, 5.0) == pytest.approx(18.0)


@pytest.mark.parametrize("jump", [-1e5, -0.8, 0.8, 1e5])
def test_stamps_that_jump_are_set_on_the_clock_again(jump: float) -> None:
    clock = StreamClock()
    for number in range(50):
        clock.arrive(PICTURE, number * 0.04, 10 + number * 0.04)
    anew = clock.arrive(PICTURE, 2.0 + jump, 12.0)
    assert anew == (jump < 0), "forward, the gap in the stamps says it"
    assert clock.moment(PICTURE, 2.0 + jump) == pytest.approx(12.0)


def test_pictures_that_are_shown_in_another_order_are_no_jump() -> None:
    clock = StreamClock()
    for arrival, stamp in enumerate([0, 3, 1, 2, 6, 4, 5, 9, 7, 8]):
        assert not clock.arrive(PICTURE, stamp * 0.04, 10 + arrival * 0.04)
    assert clock.moment(PICTURE, 0.36) == pytest.approx(10.28)


@given(ahead=st.floats(-0.9, 0.9))
def test_sound_and_picture_are_moved_by_the_offset_of_the_sound(ahead: float) -> None:
    clock = StreamClock(SOUND)
    for number in range(100):
        clock.arrive(SOUND, 7 + number * 0.02, 10 + number * 0.02)
        clock.arrive(PICTURE, 7 + ahead + number * 0.02, 10 + number * 0.02)
    assert clock.moment(SOUND, 8.0) == pytest.approx(11.0)
    assert clock.moment(PICTURE, 8.0) == pytest.approx(11.0)


def test_tracks_of_two_clocks_keep_their_own_offsets() -> None:
    clock = StreamClock(SOUND)
    clock.arrive(SOUND, 0.0, 10.0)
    clock.arrive(PICTURE, 500.0, 10.0)
    assert clock.moment(PICTURE, 500.0) == pytest.approx(10.0)


def test_a_sound_that_ended_leads_no_more() -> None:
    clock = StreamClock(SOUND)
    clock.arrive(SOUND, 0.0, 10.0)
    for number in range(30):
        clock.arrive(PICTURE, float(number) + 0.5, 10.0 + number)
    assert clock.moment(PICTURE, 29.5) == pytest.approx(39.0)


def test_a_driver_that_stamps_by_the_machines_clock_is_believed() -> None:
    clock = StreamClock(monotonic=True)
    clock.arrive(PICTURE, 1000.0, 1000.07)
    assert clock.moment(PICTURE, 1000.0) == 1000.0
    other = StreamClock(monotonic=True)
    other.arrive(PICTURE, 1.7e9, 1000.07)  # the wall's clock
    assert other.moment(PICTURE, 1.7e9) == pytest.approx(1000.07)
