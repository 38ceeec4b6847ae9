"""The sample arithmetic: exact cuts for any block size, gaps where they are, tails by the rule, frames by age."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ascstream.records import AudioBlock, EndOfVideo, VideoFrame, VideoProgress, Window
from ascstream.windows import FrameBuffer, SampleRing, Windower
from engines.manifest import Manifest

RATE = 8000


def manifest(
    *,
    window: float = 1.0,
    context: float = 0.0,
    frame_times: tuple[float, ...] = (),
    audio: bool = True,
    rate: int = RATE,
    channels: str = "mono",
) -> Manifest:
    inputs: list[dict[str, object]] = []
    if audio:
        feature = {"kind": "waveform"}
        entry = {"sample_rate": rate, "channels": channels, "context_seconds": context, "feature": feature}
        inputs.append({"name": "samples", "audio": entry})
    if frame_times:
        video = {"width": 8, "height": 8, "fit": "squash", "frame_times_seconds": frame_times, "max_age_seconds": 0.5}
        inputs.append({"name": "images", "video": video})
    return Manifest.from_json(
        json.dumps(
            {
                "schema": 1,
                "name": "cutter",
                "version": "1",
                "description": "Only its window matters here.",
                "licence": "Apache-2.0",
                "labels": ["a", "b"],
                "window": {"seconds": window, "default_step_seconds": window},
                "inputs": inputs,
                "outputs": [{"name": "fused"}],
                "graphs": [{"name": "scene", "files": {"float32": "scene.onnx"}}],
                "files": {"scene.onnx": {"sha256": "0" * 64, "size": 1}},
            }
        )
    )


def ramp(n: int) -> np.ndarray:
    """Samples that are their own position."""
    return np.arange(n, dtype=np.float32)[None]


def feed(
    windower: Windower, samples: np.ndarray, sizes: list[int], lost: tuple[tuple[int, int], ...] = (), rate: int = RATE
) -> list[Window]:
    """Push samples in blocks of the given sizes (in turn); stretches in `lost` become lost blocks of zeros."""
    edges = sorted({position for stretch in lost for position in stretch})
    out, at, turn = [], 0, 0
    while at < samples.shape[1]:
        stop = min(at + sizes[turn % len(sizes)], samples.shape[1])
        stop = min([stop, *(edge for edge in edges if at < edge)])
        is_lost = any(a <= at < b for a, b in lost)
        block = np.zeros_like(samples[:, at:stop]) if is_lost else samples[:, at:stop]
        windower.push(AudioBlock(at / rate, block, rate, lost=is_lost))
        out += list(windower.ready())
        at, turn = stop, turn + 1
    return out + list(windower.finish())


def same(left: list[Window], right: list[Window]) -> bool:
    return len(left) == len(right) and all(
        (a.index, a.start, a.end, a.start_sample, a.lost_seconds, a.padded_seconds)
        == (b.index, b.start, b.end, b.start_sample, b.lost_seconds, b.padded_seconds)
        and np.array_equal(a.samples, b.samples)
        for a, b in zip(left, right, strict=True)
    )


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30_000), min_size=1, max_size=5),
    n=st.integers(1, 40_000),
    step=st.sampled_from(["0.1", "0.25", "0.333", "0.5", "1"]),
    context=st.sampled_from([0.0, 0.02]),
    gap=st.tuples(st.integers(0, 30_000), st.integers(1, 9_000)),
)
def test_any_block_size_gives_the_same_windows(
    sizes: list[int], n: int, step: str, context: float, gap: tuple[int, int]
) -> None:
    lost = ((gap[0], gap[0] + gap[1]),) if gap[0] + gap[1] < n else ()
    spec = manifest(context=context)
    whole = feed(Windower(spec, Fraction(step)), ramp(n), [n], lost)
    blocks = feed(Windower(spec, Fraction(step)), ramp(n), sizes, lost)
    assert same(whole, blocks)
    for window in whole:
        first = round(window.index * Fraction(step) * RATE) - round(context * RATE)
        assert window.start_sample == first
        stop = first + RATE + round(context * RATE)
        expected = np.zeros(stop - first, np.float32)
        inside = np.arange(max(first, 0), min(stop, n))
        expected[inside - first] = inside
        for a, b in lost:
            expected[[p - first for p in range(max(a, first), min(b, stop))]] = 0
        assert np.array_equal(window.samples[0], expected)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 50_000), step=st.sampled_from(["0.2", "0.5", "1"]))
def test_every_sample_is_classified_or_counted(n: int, step: str) -> None:
    windower = Windower(manifest(), Fraction(step))
    windows = feed(windower, ramp(n), [1111])
    covered = min(windows[-1].end * RATE, n) if windows else 0
    assert covered + windower.dropped_tail_seconds * RATE == pytest.approx(n, abs=1e-6)
    assert [window.index for window in windows] == list(range(len(windows)))


@pytest.mark.parametrize(
    ("n_samples", "n_windows", "padded", "dropped"),
    [
        (RATE // 10, 1, 0.9, 0.0),  # shorter than a window: one padded window
        (RATE, 1, 0.0, 0.0),
        (2 * RATE - 80, 2, 0.01, 0.0),  # 10 ms short: padded without further ado
        (2 * RATE - 1, 2, 1 / RATE, 0.0),  # a clip of 479,999 samples is one of 480,000
        (RATE + RATE // 2, 2, 0.5, 0.0),  # half a window is enough
        (RATE + RATE // 2 - 1, 1, 0.0, 0.5 - 1 / RATE),  # less is dropped and counted
    ],
)
def test_the_tail_rule(n_samples: int, n_windows: int, padded: float, dropped: float) -> None:
    windower = Windower(manifest(), Fraction(1))
    windows = feed(windower, ramp(n_samples), [700])
    assert len(windows) == n_windows
    assert windows[-1].padded_seconds == pytest.approx(padded, abs=1e-9)
    assert windower.dropped_tail_seconds == pytest.approx(dropped, abs=1e-9)


def test_lost_samples_are_marked_in_the_windows_they_touch_and_in_no_other() -> None:
    lost = ((12_000, 16_000),)  # 1.5 s to 2.0 s
    windows = feed(Windower(manifest(), Fraction(1, 2)), ramp(32_000), [999], lost)
    assert [window.lost_seconds for window in windows] == [0, 0, 0.5, 0.5, 0, 0, 0]
    assert not windows[3].samples[0, : RATE // 2].any()


def test_context_is_zero_before_the_stream_and_real_after() -> None:
    windows = feed(Windower(manifest(context=0.02), Fraction(1)), ramp(2 * RATE), [640])
    assert windows[0].samples.shape == (1, RATE + 160)
    assert not windows[0].samples[0, :160].any()
    assert windows[1].samples[0, 0] == RATE - 160
    assert windows[1].lost_seconds == 0


def test_windows_are_cut_on_exact_positions_after_a_day() -> None:
    # 0.1 s is no binary fraction: a sum of floats would be off after a day, a fraction is not
    ring_rate = 44_100
    windower = Windower(manifest(rate=ring_rate), Fraction("0.1"))
    assert windower._first_sample(864_000) == 86_400 * ring_rate


def test_a_window_owns_its_samples() -> None:
    windower = Windower(manifest(), Fraction(1))
    windower.push(AudioBlock(0.0, ramp(RATE), RATE))
    (window,) = windower.ready()
    kept = window.samples.copy()
    for k in range(1, 9):
        windower.push(AudioBlock(float(k), ramp(RATE) + 1e6, RATE))
        list(windower.ready())
    assert np.array_equal(window.samples, kept)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (AudioBlock(0.5, np.zeros((1, 10), np.float32), RATE), "expected a block at 0.000000 s, got one at 0.500000 s"),
        (AudioBlock(0.0, np.zeros((1, 10), np.float32), 16_000), "expected blocks at 8000 Hz, got 16000 Hz"),
        (AudioBlock(0.0, np.zeros((2, 10), np.float32), RATE), "expected blocks of 1 channels, got 2"),
    ],
)
def test_a_block_out_of_place_is_refused(block: AudioBlock, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Windower(manifest(), Fraction(1)).push(block)


@pytest.mark.parametrize("step", ["0", "-1", "1.5"])
def test_a_step_that_cannot_be_is_refused(step: str) -> None:
    with pytest.raises(ValueError, match="expected a step above 0 and at most 1 s"):
        Windower(manifest(), Fraction(step))


def test_the_ring_keeps_only_what_is_needed() -> None:
    ring = SampleRing(2, 1000)
    for k in range(500):
        ring.append(np.full((2, 700), k, np.float32))
        ring.discard_before(ring.end - 100)
    assert ring._buffer.shape[1] <= 4000
    assert np.array_equal(ring.read(ring.end - 2, ring.end + 1), [[499, 499, 0]] * 2)
    with pytest.raises(IndexError, match="are gone"):
        ring.read(0, 10)


def picture(time: float, until: float | None = None, index: int = 0) -> VideoFrame:
    return VideoFrame(time, np.zeros((8, 8, 3), np.uint8), time if until is None else until, index)


def test_a_slot_takes_the_newest_frame_that_is_young_enough() -> None:
    frames = FrameBuffer(0.5)
    for k, time in enumerate((0.0, 0.4, 0.9)):
        frames.add(picture(time, index=k))
    chosen = {slot: frames.newest_at(slot) for slot in (0.39, 0.4, 0.85, 0.95, 1.4, 1.5)}
    assert {slot: frame and frame.index for slot, frame in chosen.items()} == {
        0.39: 0,
        0.4: 1,
        0.85: 1,
        0.95: 2,
        1.4: 2,
        1.5: None,
    }


def test_frames_out_of_order_are_refused() -> None:
    frames = FrameBuffer(0.5)
    frames.add(picture(1.0))
    with pytest.raises(ValueError, match=r"frames out of order: 0\.5 s after 1 s"):
        frames.add(picture(0.5))


def test_one_channel_is_not_taken_for_two() -> None:
    windower = Windower(manifest(channels="left,right"), Fraction(1))
    with pytest.raises(ValueError, match="expected blocks of 2 channels, got 1"):
        windower.push(AudioBlock(0.0, np.zeros((1, 10), np.float32), RATE))


def test_a_window_waits_for_its_picture_but_not_for_ever() -> None:
    windower = Windower(manifest(frame_times=(0.1, 0.9)), Fraction(1), patience_seconds=0.5)
    windower.push(AudioBlock(0.0, ramp(RATE), RATE))
    windower.push(picture(0.0, 0.4))
    assert list(windower.ready()) == []
    windower.push(picture(0.8, 0.95, index=1))
    (window,) = windower.ready()
    assert [frame and frame.index for frame in window.frames] == [0, 1]
    windower.push(AudioBlock(1.0, ramp(RATE + RATE // 2 - 1), RATE))
    assert list(windower.ready()) == []
    assert windower.missed_frames_at is None
    windower.push(AudioBlock(2.5 - 1 / RATE, ramp(1), RATE))
    (late,) = windower.ready()
    assert [frame and frame.index for frame in late.frames] == [1, None]
    assert windower.missed_frames_at == 2.0


def test_a_camera_that_says_there_is_nothing_newer_is_not_waited_for() -> None:
    windower = Windower(manifest(frame_times=(0.5,)), Fraction(1))
    windower.push(picture(0.3))
    windower.push(AudioBlock(0.0, np.zeros((1, 2 * RATE), np.float32), RATE))
    assert [window.index for window in windower.ready()] == []
    windower.push(VideoProgress(1.0))
    (window,) = windower.ready()
    assert [frame.time if frame else None for frame in window.frames][-1] == 0.3
    windower.push(picture(1.5, until=1.6, index=1))  # and one that comes again is taken
    windower.push(VideoProgress(2.0))
    (window,) = windower.ready()
    assert [frame.time if frame else None for frame in window.frames][-1] == 1.5
    assert windower.missed_frames_at is None


def test_memory_stays_bounded_while_the_picture_stalls() -> None:
    windower = Windower(manifest(frame_times=(0.5,)), Fraction(1))
    windower.push(picture(0.0))
    n_windows = 0
    for k in range(300):
        windower.push(AudioBlock(float(k), ramp(RATE), RATE))
        n_windows += len(list(windower.ready()))
    assert n_windows == 280
    assert windower._ring is not None
    assert windower._ring._buffer.shape[1] <= 64 * RATE
    windower.push(picture(290.5, 291.0, index=1))
    assert [(w.end, w.frames[0] and w.frames[0].index) for w in windower.finish()][10] == (291.0, 1)


def test_without_sound_the_picture_is_the_clock() -> None:
    windower = Windower(manifest(frame_times=(0.5,), audio=False), Fraction(1))
    out: list[Window] = []
    for k in range(12):
        windower.push(picture(k * 0.25, (k + 1) * 0.25, index=k))
        out += windower.ready()
    windower.push(EndOfVideo(3.3))
    out += windower.finish()
    assert [(window.end, window.frames[0].index) for window in out] == [(1.0, 2), (2.0, 6), (3.0, 10)]
    assert all(window.samples is None for window in out)
    assert windower.dropped_tail_seconds == pytest.approx(0.3)


@pytest.mark.parametrize(("n_frames", "padded"), [(3, [0.25]), (4, [0.0]), (6, [0.0, 0.5]), (5, [0.0])])
def test_a_picture_that_breaks_off_without_saying_so_is_judged_to_its_end(n_frames: int, padded: list[float]) -> None:
    windower = Windower(manifest(frame_times=(0.5,), audio=False), Fraction(1))
    out: list[Window] = []
    for k in range(n_frames):
        windower.push(picture(k * 0.25, (k + 1) * 0.25, index=k))
        out += windower.ready()
    out += windower.finish()
    assert [window.padded_seconds for window in out] == padded
    assert windower.dropped_tail_seconds == (0.25 if n_frames == 5 else 0.0)
