"""Synthetic and replayed sources: functions of time, in blocks of any size, on any clock."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.media import audio_wants, both_wants, hear

from ascstream.errors import UsageError
from ascstream.records import AudioBlock, StreamEvent, VideoFrame
from ascstream.sources.synthetic import ReplaySource, Segment, SyntheticSource, paint_bars

SEGMENTS = (
    Segment(1.5, ((440.0,), (500.0, 600.0)), (255, 0, 0)),
    Segment(0.75, lost=True, colour=(0, 255, 0)),
    Segment(1.0, (), (0, 0, 255), noise=0.1),
)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 20_000), st.sampled_from([1, 2]))
def test_samples_do_not_depend_on_the_size_of_the_blocks(block_samples, n_channels):
    whole = hear(SyntheticSource(SEGMENTS, block_samples=100_000), both_wants(n_channels=n_channels))
    cut = hear(SyntheticSource(SEGMENTS, block_samples=max(block_samples, 50)), both_wants(n_channels=n_channels))
    assert np.array_equal(cut.samples, whole.samples)
    assert cut.samples.shape == (n_channels, 78_000)
    assert max(block.n_samples for block in cut.blocks) <= max(block_samples, 50)
    assert cut.lost == [(1.5, pytest.approx(2.25))]
    assert [f.time for f in cut.frames] == [f.time for f in whole.frames]


def test_tones_are_sines_and_one_channel_is_their_mean():
    stereo = hear(SyntheticSource(SEGMENTS), audio_wants(n_channels=2)).samples.astype(np.float64)
    times = np.arange(36_000) / 24_000
    expected = 0.125 * (np.sin(2 * np.pi * 500 * times) + np.sin(2 * np.pi * 600 * times))
    assert np.abs(stereo[0, :36_000] - 0.25 * np.sin(2 * np.pi * 440 * times)).max() < 1e-6
    assert np.abs(stereo[1, :36_000] - expected).max() < 1e-6
    mono = hear(SyntheticSource(SEGMENTS), audio_wants()).samples
    assert np.abs(mono[0, :36_000] - stereo[:, :36_000].mean(axis=0)).max() < 1e-6
    assert stereo[:, 54_000:].std() == pytest.approx(0.1, rel=0.02)


def test_frames_have_the_colour_of_their_time():
    heard = hear(SyntheticSource(SEGMENTS, frame_rate=10), both_wants())
    assert [round(f.time, 6) for f in heard.frames[:5]] == [0.2, 0.4, 0.6, 0.8, 1.0]
    for frame in heard.frames:
        colour = SEGMENTS[int(np.searchsorted([1.5, 2.25], frame.time, side="right"))].colour
        assert tuple(frame.image[0, -1]) == colour
        assert tuple(frame.image[0, 0]) == (0, 0, 0)
    assert heard.ends == [3.25]


def test_events_come_before_the_block_of_their_time():
    event = StreamEvent(1.0, "jump", "a jump")
    items = list(SyntheticSource(SEGMENTS, events=[event], block_samples=2400).items(audio_wants()))
    position = items.index(event)
    assert items[position - 1].end == pytest.approx(1.0)
    assert items[position + 1].end == pytest.approx(1.1)


def test_without_sound_every_block_is_lost():
    assert hear(SyntheticSource([Segment(1.0)], has_audio=False), both_wants()).lost == [(0.0, pytest.approx(1.0))]


class Clock:
    """A clock that only `sleep` moves."""

    def __init__(self):
        self.now = 100.0

    def read(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds


@pytest.mark.parametrize("made", ["synthetic", "replay"])
def test_real_time_is_what_the_clock_says(made):
    clock = Clock()
    paced = {"clock": clock.read, "sleep": clock.sleep}
    if made == "synthetic":
        source = SyntheticSource(SEGMENTS, **paced)
    else:
        source = ReplaySource(np.zeros((1, 78_000), np.float32), 24_000, block_sizes=(100, 3000), **paced)
    for item in source.items(audio_wants()):
        assert isinstance(item, AudioBlock)
        assert clock.now == pytest.approx(100 + item.end)
    assert clock.now == pytest.approx(103.25)


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=6))
def test_a_replay_is_what_was_given_however_it_is_cut(sizes):
    samples = np.arange(10_000, dtype=np.float32)[None] / 10_000
    frames = [VideoFrame(k / 10, paint_bars((9, 9, 9), 32, 32), (k + 1) / 10, k) for k in range(4)]
    source = ReplaySource(samples, 24_000, frames=frames, lost=[(2000, 2500)], block_sizes=sizes)
    heard = hear(source, both_wants())
    expected = samples.copy()
    expected[:, 2000:2500] = 0
    assert np.array_equal(heard.samples, expected)
    assert heard.lost == [(2000 / 24_000, pytest.approx(2500 / 24_000))]
    assert [f.time for f in heard.frames] == [0.0, 0.1, 0.2, 0.3]
    assert heard.ends == [pytest.approx(10_000 / 24_000)]


def test_what_cannot_be_played_is_refused():
    with pytest.raises(UsageError, match="expected blocks of 1 sample or more"):
        SyntheticSource(SEGMENTS, block_samples=0)
    with pytest.raises(UsageError, match="wants 1 channels at 16000 Hz, and 2 at 24000 Hz were given"):
        ReplaySource(np.zeros((2, 10), np.float32), 24_000).items(audio_wants(16_000))


def test_names_and_lengths():
    info = SyntheticSource(SEGMENTS, name="x", live=True, frame_rate=Fraction(24_000, 1001)).info
    assert (info.name, info.live, info.duration_seconds, info.has_audio, info.has_video) == (
        "x",
        True,
        3.25,
        True,
        True,
    )
