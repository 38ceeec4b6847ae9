"""What a stream measured of itself, against hand counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ascstream.intervals import IntervalMerger
from ascstream.live.health import DeviceHealth, Health
from ascstream.records import Prediction
from ascstream.stats import StreamStats


def said(end: float, label: str, *, step: float = 0.5, latency: float = 0.01, degraded: bool = False) -> Prediction:
    return Prediction(
        source="clip.mp4",
        start=end - 1.0,
        end=end,
        label=label,
        level="unknown" if label == "unknown" else "scene",
        reason="low_confidence" if label == "unknown" else None,
        score=0.5,
        scores={},
        raw_scores={},
        modalities=("audio",),
        degraded=degraded,
        lost_seconds=0.0,
        padded_seconds=0.0,
        latency_seconds=latency,
        step_seconds=step,
    )


def test_a_summary_counts_shares_intervals_and_speed() -> None:
    now = [100.0]
    stats = StreamStats("clip.mp4", clock=lambda: now[0])
    stats.add(said(1.0, "park", step=1.0))
    for end in (1.5, 2.0):
        stats.add(said(end, "park"))
    stats.add(said(2.5, "unknown", degraded=True))
    stats.add(said(3.0, "tram"))
    stats.add_lost(0.25)
    stats.add_dropped_tail(0.1)
    now[0] = 101.5
    summary = stats.summary()
    assert (summary.n_windows, summary.n_degraded, summary.n_unknown) == (5, 1, 1)
    assert summary.shares == pytest.approx({"park": 2 / 3, "tram": 1 / 6, "unknown": 1 / 6})
    assert [(i.start, i.end, i.label) for i in summary.intervals] == [
        (0.0, 2.0, "park"),
        (2.0, 2.5, "unknown"),
        (2.5, 3.0, "tram"),
    ]
    assert summary.wall_seconds == pytest.approx(1.5)
    assert summary.realtime_factor == pytest.approx(0.5)
    assert (summary.lost_seconds, summary.dropped_tail_seconds, summary.complete) == (0.25, 0.1, False)
    stats.finish()
    assert stats.summary().complete


def test_percentiles_are_of_the_latencies() -> None:
    stats = StreamStats("x", clock=lambda: 0.0)
    for k in range(100):
        stats.add(said(1.0 + k / 2, "park", latency=(k + 1) / 1000))
    latency = stats.summary().latency
    assert (latency.p50, latency.p95, latency.p99, latency.n) == pytest.approx((0.050, 0.095, 0.099, 100))


def test_a_padded_end_is_neither_decided_nor_counted() -> None:
    stats = StreamStats("x", clock=lambda: 0.0)
    stats.add(said(1.0, "park", step=1.0))
    stats.add(replace(said(2.0, "tram", step=1.0), padded_seconds=0.5))
    summary = stats.summary()
    assert [(i.start, i.end, i.label) for i in summary.intervals] == [(0.0, 1.0, "park"), (1.0, 1.5, "tram")]
    assert summary.shares == pytest.approx({"park": 2 / 3, "tram": 1 / 3})
    assert summary.end == 1.5


def test_nothing_classified_is_an_empty_summary() -> None:
    summary = StreamStats("x", clock=lambda: 0.0).summary()
    assert (summary.n_windows, summary.shares, summary.intervals, summary.realtime_factor) == (0, {}, (), 0.0)
    assert summary.latency.n == 0


def test_memory_stays_bounded() -> None:
    stats = StreamStats("x", clock=lambda: 0.0)
    for k in range(20_000):
        stats.add(said(1.0 + k / 2, "park" if k % 2 else "tram"))
    summary = stats.summary()
    assert summary.latency.n == 16_384
    assert len(summary.intervals) == 4_097
    assert summary.n_windows == 20_000


def test_a_hole_between_windows_splits_an_interval() -> None:
    merger = IntervalMerger()
    assert merger.add(said(1.0, "park", step=1.0)) is None
    first = merger.add(said(5.0, "park", step=1.0))
    assert first is not None
    assert (first.start, first.end) == (0.0, 1.0)
    last = merger.finish()
    assert last is not None
    assert (last.start, last.end) == (4.0, 5.0)
    assert merger.finish() is None


def test_reasons_of_unknown_are_parts_of_the_whole_time_the_largest_first() -> None:
    stats = StreamStats("x", clock=lambda: 0.0)
    stats.add(said(1.0, "park", step=1.0))
    stats.add(replace(said(2.0, "unknown", step=1.0), reason="silence"))
    stats.add(said(4.0, "unknown", step=2.0))
    summary = stats.summary()
    assert list(summary.unknown_reasons) == ["low_confidence", "silence"]
    assert summary.unknown_reasons == pytest.approx({"low_confidence": 0.5, "silence": 0.25})
    assert sum(summary.unknown_reasons.values()) == pytest.approx(summary.shares["unknown"])


def test_devices_are_counted_with_their_losses_and_how_long_these_were() -> None:
    now = [100.0]
    stats = StreamStats("mic", clock=lambda: now[0])
    assert (stats.summary().n_losses, stats.summary().devices, stats.summary().device_lost_seconds) == (0, (), {})
    microphone = DeviceHealth("microphone", "USB Audio", "running", since=100.0, drift_ppm=12.5)
    camera = DeviceHealth("camera", "/dev/video0", "running", since=100.0)
    stats.health(Health((microphone, camera)))
    lost = replace(camera, state="waiting", since=112.0, lost_since=110.0, problem="unplugged", n_losses=1)
    stats.health(Health((microphone, lost)))
    now[0] = 115.0
    assert stats.summary().device_lost_seconds == {"camera": 5.0}
    back = replace(camera, since=120.0, n_losses=1)
    stats.health(Health((microphone, back)))
    lost_again = replace(lost, since=131.0, lost_since=130.0, n_losses=2)
    stats.health(Health((microphone, lost_again)))
    now[0] = 133.0
    # lost, back and lost once more between two looks: what came between is known by the new moment alone
    stats.health(Health((microphone, replace(lost_again, lost_since=132.0, n_losses=3))))
    stats.dropped(3)
    stats.dropped(4)
    summary = stats.summary()
    assert summary.device_lost_seconds == {"camera": 10.0 + 2.0 + 1.0}
    assert (summary.n_losses, summary.n_dropped_windows) == (3, 7)
    assert summary.devices[0].drift_ppm == 12.5
