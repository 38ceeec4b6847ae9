"""Chunks of a device to blocks of a stream: no hole, no sample uncounted, whatever arrives when."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ascstream.capture.messages import Sound
from ascstream.errors import DecodeError
from ascstream.live.sound import LiveSound
from ascstream.live.timeline import Timeline
from ascstream.records import AudioBlock, StreamEvent
from ascstream.sources.base import AudioWants

START = 7000.0
MONO = AudioWants(24000, 1)


class Ear:
    """Feeds a `LiveSound` and checks that its blocks follow each other."""

    def __init__(self, wants=MONO):
        self.timeline = Timeline(START)
        self.sound = LiveSound(wants, self.timeline)
        self.rate = wants.sample_rate
        self.position = 0
        self.blocks = []
        self.events = []

    def take(self, items):
        for item in items:
            if isinstance(item, StreamEvent):
                self.events.append(item)
                continue
            assert isinstance(item, AudioBlock)
            assert item.start * self.rate == pytest.approx(self.position, abs=1e-3)
            assert item.lost == (not item.samples.any()) or not item.lost
            self.position += item.n_samples
            self.blocks.append(item)

    def add(self, stamp, samples, rate=48000, *, now=None, lost=False):
        chunk = Sound(stamp, np.asarray(samples, np.float32), rate, lost)
        self.take(self.sound.add(chunk, stamp + len(samples[0]) / rate if now is None else now))

    def pace(self, now, late=0.5):
        self.take(self.sound.keep_pace(now, late))

    def lost_spans(self):
        """[start, stop) of what is lost, in seconds, joined."""
        spans = []
        for block in self.blocks:
            if block.lost and spans and abs(spans[-1][1] - block.start) < 1e-6:
                spans[-1] = (spans[-1][0], block.end)
            elif block.lost:
                spans.append((block.start, block.end))
        return spans

    def heard(self):
        return np.concatenate([block.samples for block in self.blocks], axis=1)


def wave(begin, n, rate, n_channels=1):
    """A slow sine of the moment, never 0: [n_channels, n]."""
    moments = begin - START + np.arange(n) / rate
    return np.repeat((0.5 + 0.3 * np.sin(2 * np.pi * 5 * moments))[None], n_channels, axis=0)


def steady(ear, seconds, *, begin=0.0, rate=48000, chunk=0.02, n_channels=1):
    n = round(chunk * rate)
    for index in range(round(seconds / chunk)):
        at = START + begin + index * n / rate
        ear.add(at, wave(at, n, rate, n_channels), rate)
        ear.pace(at + n / rate)
    return begin + seconds


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(data=st.data(), seed=st.integers(0, 10_000))
def test_every_sample_is_accounted_for_whatever_arrives_when(data, seed):
    """Late, in bursts, never, twice as coarse, at another rate, after an absence: samples follow true time."""
    rng = np.random.default_rng(seed)
    ear = Ear(AudioWants(data.draw(st.sampled_from([16000, 24000, 44100])), data.draw(st.sampled_from([1, 2]))))
    rate, n_channels = 48000, 1
    now = at = START  # at: where the device's next sample was in the air
    for _ in range(data.draw(st.integers(1, 12))):
        what = data.draw(st.sampled_from(["steady", "late", "burst", "overflow", "silent", "return", "rate"]))
        length = data.draw(st.floats(0.1, 3.0))
        chunk = data.draw(st.sampled_from([0.02, 0.05]))
        if what == "rate":
            rate, n_channels = data.draw(st.sampled_from([(44100, 2), (16000, 1), (48000, 2)]))
        if what == "return":
            ear.take(ear.sound.end_stretch())
        if what == "silent":
            length += 1.2  # time to be sure that samples are missing
        if what in ("overflow", "silent", "return"):  # these samples never come
            until = at + length
            while now < until:
                now += 0.05
                ear.pace(now, 0.1 if what == "return" else 0.5)
            at = until
        lost = what == "overflow"
        held = []
        n = round(chunk * rate)
        for _ in range(max(1, round(length / chunk))):
            stamp, samples = at + 0.001 * rng.random(), wave(at, n, rate, n_channels)
            at += n / rate
            now = max(now, at)
            if what == "burst":
                held.append((stamp, samples))
            else:
                arrival = now + (rng.random() * 0.4 if what == "late" else 0.0)
                ear.add(stamp, samples, rate, now=max(arrival, stamp), lost=lost)
                lost = False
            ear.pace(now)
        for stamp, samples in held:
            ear.add(stamp, samples, rate, now=now)
        ear.pace(now)
        due = (at - START) * ear.rate
        assert ear.sound.n_delivered + ear.sound.n_lost == ear.position
        # a block, what the resampler holds, and what stamps that are late by 1 ms can add at every new anchor
        assert ear.position == pytest.approx(due, abs=(0.05 + 0.012) * ear.rate)
    assert np.isfinite(ear.heard()).all()


def test_a_healthy_microphone_loses_nothing_and_keeps_its_phase():
    ear = Ear(AudioWants(24000, 1))
    steady(ear, 10, rate=44100)
    assert ear.lost_spans() == []
    assert ear.events == []
    expected = 0.5 + 0.3 * np.sin(2 * np.pi * 5 * np.arange(ear.position) / 24000)
    assert np.abs(ear.heard()[0, 100:] - expected[100:]).max() < 1e-3
    assert ear.position == pytest.approx(240_000, abs=40)


def test_an_overflow_becomes_a_lost_block_as_long_as_what_is_missing():
    ear = Ear()
    end = steady(ear, 2)
    at = START + end + 0.3
    ear.add(at, wave(at, 960, 48000), lost=True)
    steady(ear, 1, begin=end + 0.32)
    assert ear.lost_spans() == [(pytest.approx(2.0, abs=1e-3), pytest.approx(2.3, abs=1e-3))]
    assert [(event.kind, round(event.seconds, 3)) for event in ear.events] == [("overflow", 0.3)]


def test_samples_that_vanish_without_a_word_are_found_by_the_stamps_within_a_second():
    ear = Ear()
    end = steady(ear, 5)
    steady(ear, 3, begin=end + 0.2)
    assert ear.sound.n_lost == pytest.approx(0.2 * 24000, abs=24)
    assert [(event.kind, round(event.seconds, 2)) for event in ear.events] == [("gap", 0.2)]
    assert ear.events[0].time == pytest.approx(6.0, abs=0.1)
    assert ear.sound.seconds == pytest.approx(8.2, abs=0.01)


def test_a_few_late_stamps_are_no_gap():
    ear = Ear()
    end = steady(ear, 5)
    for index in range(40):  # 0.8 s
        at = START + end + index * 0.02
        ear.add(at + 0.12, wave(at, 960, 48000), now=at + 0.15)
    steady(ear, 2, begin=end + 0.8)
    assert ear.sound.n_lost == 0
    assert ear.events == []


def test_sound_that_is_half_a_second_late_is_replaced_in_real_time_and_dropped():
    ear = Ear()
    end = steady(ear, 2)
    for step in range(12):
        ear.pace(START + end + 0.1 * step)
    assert ear.sound.seconds == pytest.approx(end + 1.1 - 0.5, abs=0.05)
    replaced = ear.sound.n_lost
    for index in range(55):  # all 1.1 s come after all
        at = START + end + index * 0.02
        ear.add(at, wave(at, 960, 48000), now=START + end + 1.1)
        if abs(at + 0.02 - START - ear.lost_spans()[0][1]) > 1e-3:
            assert ear.sound.in_time() == (at + 0.02 > START + ear.lost_spans()[0][1])
    assert ear.sound.n_lost == replaced
    assert ear.lost_spans() == [(pytest.approx(2.0, abs=1e-3), pytest.approx(2.6, abs=0.06))]
    assert ear.sound.seconds == pytest.approx(3.1, abs=1e-3)
    steady(ear, 1, begin=end + 1.1)
    assert np.abs(ear.heard()[0, -12000:] - wave(START + 3.6, 12000, 24000)[0]).max() < 0.01


def test_a_microphone_that_returns_is_anchored_at_its_stamp():
    ear = Ear()
    end = steady(ear, 3)
    ear.take(ear.sound.end_stretch())
    for step in range(1, 100):
        ear.pace(START + end + step * 0.05, 0.1)
    back = end + 4.95
    steady(ear, 2, begin=back)
    assert ear.lost_spans() == [(pytest.approx(3.0, abs=1e-3), pytest.approx(back, abs=0.02))]
    assert np.abs(ear.heard()[0, -24000:] - wave(START + back + 1.0, 24000, 24000)[0]).max() < 0.01


def test_a_new_rate_and_new_channels_go_on_without_a_hole():
    ear = Ear()
    end = steady(ear, 2)
    end = steady(ear, 2, begin=end, rate=44100, n_channels=2)
    steady(ear, 2, begin=end, rate=16000)
    assert ear.sound.n_lost == 0
    assert ear.sound.seconds == pytest.approx(6.0, abs=0.005)


def test_hours_of_absence_come_in_pieces_of_a_second():
    ear = Ear()
    steady(ear, 1)
    ear.pace(START + 7200, 0.1)
    assert max(block.n_samples for block in ear.blocks) == 24000
    assert ear.sound.seconds == pytest.approx(7199.9, abs=0.01)


def test_channels_become_what_the_bundle_hears():
    left, right, third = (np.full(960, value) for value in (0.2, 0.6, 0.4))
    for channels, n_wanted, expected in (
        ([left, right], 1, [0.4]),
        ([left, right, third], 1, [0.4]),
        ([left], 2, [0.2, 0.2]),
        ([left, right, third], 2, [0.2, 0.6]),
    ):
        ear = Ear(AudioWants(48000, n_wanted))
        ear.add(START, channels)
        ear.add(START + 0.02, channels)
        assert ear.blocks[-1].samples[:, -1] == pytest.approx(expected)
        told = [event.kind for event in ear.events]
        assert told == (["mono_source"] if len(channels) < n_wanted else [])


def test_a_mono_microphone_is_refused_where_the_bundle_does():
    ear = Ear(AudioWants(48000, 2, refuse_mono=True))
    with pytest.raises(DecodeError, match="listens to left and right; give a microphone that has two channels"):
        ear.add(START, [np.zeros(960)])
