"""The map between the machine's clock and the sound's: drift and lateness found, never a step back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ascstream.live.timeline import ClockMap, Timeline

START = 86_400.0 * 30


def feed(timeline, seconds, *, ppm=0.0, chunk=0.02, late=lambda: 0.0, begin=0.0, offset=0.0):
    """Observe chunks from stream second `begin` on; the true moment of a second is `true(second)`."""
    n = round(seconds / chunk)
    for index in range(n):
        at = begin + index * chunk
        stamp = true(at, ppm) + offset + late()
        timeline.observe(stamp, at, stamp + chunk)
    return begin + n * chunk


def true(at, ppm):
    return START + at / (1 + ppm * 1e-6)


@settings(deadline=None, max_examples=30)
@given(
    ppm=st.floats(-300, 300),
    chunk=st.sampled_from([0.005, 0.01, 0.02, 0.0464, 0.1, 0.2]),
    latest=st.floats(0, 0.2),
    power=st.floats(2.5, 8),
    seed=st.integers(0, 10_000),
)
def test_after_a_minute_the_map_is_within_5_ms_and_the_drift_within_20_ppm(ppm, chunk, latest, power, seed):
    rng = np.random.default_rng(seed)
    timeline = Timeline(START)
    end = feed(timeline, 60, ppm=ppm, chunk=chunk, late=lambda: latest * rng.random() ** power)
    assert abs(timeline.to_stream(true(end, ppm)) - end) <= 0.005
    assert abs(timeline.to_moment(end) - true(end, ppm)) <= 0.005
    assert timeline.drift_ppm == pytest.approx(ppm, abs=20)


@settings(deadline=None, max_examples=10)
@given(ppm=st.floats(-300, 300), seed=st.integers(0, 10_000))
def test_stamps_that_are_rarely_right_are_seen_through_within_five_minutes(ppm, seed):
    """Evenly late by up to 200 ms: hardly any stamp is right, and a line has to be laid below them all."""
    rng = np.random.default_rng(seed)
    timeline = Timeline(START)
    end = feed(timeline, 300, ppm=ppm, late=lambda: 0.2 * rng.random())
    assert abs(timeline.to_stream(true(end, ppm)) - end) <= 0.002
    assert timeline.drift_ppm == pytest.approx(ppm, abs=5)


@settings(deadline=None, max_examples=30)
@given(data=st.data(), ppm=st.floats(-300, 300), seed=st.integers(0, 10_000))
def test_the_map_never_steps_back_and_is_its_own_inverse(data, ppm, seed):
    rng = np.random.default_rng(seed)
    timeline = Timeline(START)
    previous, now, at = float("-inf"), START, 0.0
    for _ in range(data.draw(st.integers(1, 5))):
        if data.draw(st.booleans()):
            timeline.restart(same_clock=data.draw(st.booleans()))
        offset = data.draw(st.floats(-2, 2))
        for _ in range(data.draw(st.integers(1, 400))):
            at += 0.05
            stamp = true(at, ppm) + offset + 0.1 * rng.random()
            now = max(now, stamp + 0.05)
            timeline.observe(stamp, at, now)
            for moment in (now, now + 0.01):
                here = timeline.to_stream(moment)
                assert here >= previous - 1e-9
                assert timeline.to_moment(here) == pytest.approx(moment, abs=1e-6)
                previous = here
            now += 0.01


def test_what_a_device_says_before_it_has_settled_is_forgotten():
    timeline = Timeline(START)
    end = feed(timeline, 3, offset=-0.01)
    end = feed(timeline, 57, begin=end)
    assert timeline.drift_ppm == pytest.approx(0, abs=1)
    assert abs(timeline.to_stream(true(end, 0)) - end) <= 0.001


def test_what_is_delayed_for_good_is_no_drift():
    """A sound server that makes its buffer longer: the clock goes as before, and lies elsewhere."""
    timeline = Timeline(START)
    end = feed(timeline, 60, ppm=50)
    end = feed(timeline, 80, ppm=50, begin=end, offset=0.04)
    assert timeline.drift_ppm == pytest.approx(50, abs=1)
    assert abs(timeline.to_stream(true(end, 50) + 0.04) - end) <= 0.001


def test_the_drift_is_unknown_before_half_a_minute():
    timeline = Timeline(START)
    end = feed(timeline, 29, ppm=100)
    assert timeline.drift_ppm is None
    feed(timeline, 6, ppm=100, begin=end)
    assert timeline.drift_ppm == pytest.approx(100, abs=0.1)


def test_a_stall_and_the_burst_after_it_disturb_nothing():
    timeline = Timeline(START)
    end = feed(timeline, 100, ppm=50)
    for index in range(150):  # three seconds that all come at the end of them
        at = end + index * 0.02
        timeline.observe(true(end + 3, 50), at, true(end + 3, 50))
    end = feed(timeline, 5, ppm=50, begin=end + 3)
    assert timeline.to_stream(true(end, 50)) == pytest.approx(end, abs=1e-4)
    assert timeline.drift_ppm == pytest.approx(50, abs=1)


def test_one_stamp_that_is_far_too_early_is_no_news():
    timeline = Timeline(START)
    end = feed(timeline, 60)
    timeline.observe(true(end, 0) - 5.0, end, true(end, 0))
    end = feed(timeline, 60, begin=end + 0.02)
    assert timeline.to_stream(true(end, 0)) == pytest.approx(end, abs=1e-6)


def test_a_clock_that_lies_elsewhere_is_joined_within_seconds():
    timeline = Timeline(START)
    end = feed(timeline, 60)
    end = feed(timeline, 6, begin=end, offset=-0.4)  # the device was opened anew, and its first stamp was late
    assert timeline.to_stream(true(end, 0) - 0.4) == pytest.approx(end, abs=1e-3)


def test_a_device_that_returns_keeps_its_drift_and_another_one_does_not():
    for same, expected in ((True, 50.005), (False, 50.0)):
        timeline = Timeline(START)
        end = feed(timeline, 120, ppm=100)
        timeline.restart(same_clock=same)
        assert timeline.drift_ppm is None
        end = feed(timeline, 2.5, ppm=100, begin=end)
        later = timeline.to_stream(true(end, 0) + 60) - timeline.to_stream(true(end, 0) + 10)
        assert later == pytest.approx(expected, abs=1e-4)


def test_an_hour_is_followed_with_bounded_memory():
    rng = np.random.default_rng(3)
    timeline = Timeline(START)
    end = feed(timeline, 3600, ppm=-180, chunk=0.1, late=lambda: 0.05 * rng.random() ** 3)
    assert timeline.to_stream(true(end, -180)) == pytest.approx(end, abs=1e-4)
    assert timeline.drift_ppm == pytest.approx(-180, abs=0.5)
    assert len(timeline.map.moments) <= 120


def test_a_map_is_a_line_with_bends():
    bent = ClockMap((100.0, 110.0), (0.0, 20.0), 1.0)
    assert [bent.to_stream(moment) for moment in (99.0, 100.0, 105.0, 110.0, 112.0)] == [-1.0, 0.0, 10.0, 20.0, 22.0]
    assert [bent.to_moment(second) for second in (-1.0, 0.0, 10.0, 20.0, 22.0)] == [99.0, 100.0, 105.0, 110.0, 112.0]
