"""The loop of live streams: answers in time whatever becomes of the engine, the consumer, the clock or the source."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from support import bundles
from support.health import make_health, make_microphone
from support.live_streams import EPOCH, FastClock, SyntheticLive, troubled

from ascstream.classifier import Classifier
from ascstream.errors import DecodeError, SourceError, UsageError
from ascstream.live.health import Health
from ascstream.live.loop import describe, stream_live
from ascstream.pipeline import StreamSettings, stream
from ascstream.records import Image, Prediction, StreamEvent
from ascstream.sources.synthetic import Segment, SyntheticSource
from ascstream.stats import StreamStats
from engines.errors import BackendError

PARK = Segment(4.0, tones=((bundles.tone_hz("park"),),))
TRAM = Segment(4.0, tones=((bundles.tone_hz("tram"),),))
ENDLESS = Segment(1e6, tones=((bundles.tone_hz("park"),),))
HALF = StreamSettings(step_seconds=0.5)
PATIENT = {"deadline_seconds": 60.0, "give_up_seconds": 120.0}
"""For tests of other things: a busy machine must not look like an engine that hangs."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundles.mono_logmel(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def listener(folder: Path) -> Iterator[Classifier]:
    with Classifier.load(folder) as classifier:
        yield classifier


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 5
    while (left := [thread.name for thread in threading.enumerate() if thread.name.startswith("ascstream")]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.01)
    assert left == []


def kinds(events: Sequence[StreamEvent]) -> list[str]:
    return [event.kind for event in events]


def moment_of(prediction: Prediction) -> datetime:
    assert prediction.time is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", prediction.time)
    return datetime.fromisoformat(prediction.time.replace("Z", "+00:00"))


@pytest.mark.slow
def test_live_answers_as_a_file_does(listener: Classifier) -> None:
    segments = [PARK, TRAM]
    from_file = {p.end: p for p in stream(listener, SyntheticSource(segments, has_video=False), HALF)}
    stats = StreamStats("synthetic")
    events: list[StreamEvent] = []
    clock = FastClock(5)
    with SyntheticLive(segments, clock) as source:
        live = list(stream_live(listener, source, HALF, stats=stats, on_event=events.append, clock=clock, **PATIENT))
    summary = stats.summary()
    assert summary.n_windows + summary.n_dropped_windows == len(from_file) == 15
    assert summary.complete
    for prediction in live:
        other = from_file[prediction.end]
        assert prediction.raw_scores == pytest.approx(dict(other.raw_scores), abs=1e-6)
        assert prediction.start == other.start
        assert not prediction.degraded
    if not summary.n_dropped_windows:
        assert [p.label for p in live] == [p.label for p in from_file.values()]
        assert kinds(events) == ["started"]
    assert events[0].message == "microphone synthetic microphone, 24000 Hz, 1 channel"
    assert [device.device for device in summary.devices] == ["microphone"]


@pytest.mark.slow
def test_every_answer_says_when_it_was_and_how_long_it_took(listener: Classifier) -> None:
    clock = FastClock(4)
    with SyntheticLive([PARK], clock) as source:
        predictions = list(stream_live(listener, source, HALF, clock=clock, **PATIENT))
        for prediction in predictions:
            began = EPOCH + timedelta(seconds=source.to_monotonic(0) - 1000.0)
            assert abs(moment_of(prediction) - began - timedelta(seconds=prediction.end)) < timedelta(seconds=1)
    assert all(0 < prediction.latency_seconds < 20 for prediction in predictions)


@pytest.mark.slow
def test_a_wall_clock_that_jumps_moves_the_time_of_day_and_nothing_else(listener: Classifier) -> None:
    clock = FastClock(4)
    predictions = []
    with SyntheticLive([PARK, TRAM], clock) as source:
        for prediction in stream_live(listener, source, HALF, clock=clock, **PATIENT):
            predictions.append(prediction)
            if len(predictions) == 5:
                clock.jump(-7200)
    before, after = predictions[4], predictions[5]
    stepped = moment_of(after) - moment_of(before)
    assert abs(stepped - timedelta(seconds=after.end - before.end - 7200)) < timedelta(seconds=1)
    assert all(0 < prediction.latency_seconds < 20 for prediction in predictions)
    assert predictions[-1].label == "tram"


@pytest.mark.slow
def test_lost_devices_are_named_with_the_seconds(listener: Classifier) -> None:
    clock = FastClock(4)
    stats = StreamStats("synthetic", clock=clock.monotonic)
    predictions = []
    with SyntheticLive([PARK, TRAM], clock) as source:
        for prediction in stream_live(listener, source, HALF, clock=clock, stats=stats, **PATIENT):
            predictions.append(prediction)
            if len(predictions) == 4:
                source.lose("microphone")
            if len(predictions) == 8:
                source.find("microphone")
    lost = [prediction.lost.get("microphone") for prediction in predictions[:9]]
    assert lost[:4] == [None] * 4
    assert [seconds is not None for seconds in lost[4:]] == [True] * 4 + [False]
    assert 0 < (lost[4] or 0) < (lost[7] or 0)
    summary = stats.summary()
    assert summary.n_losses == 1
    assert (lost[7] or 0) < summary.device_lost_seconds["microphone"] < 6


@pytest.mark.slow
def test_sound_that_never_came_and_silence_still_tick(listener: Classifier) -> None:
    clock = FastClock(8)
    stats = StreamStats("synthetic", clock=clock.monotonic)
    segments = [PARK, Segment(3.0, lost=True), Segment(3.0, tones=())]
    with SyntheticLive(segments, clock) as source:
        predictions = list(stream_live(listener, source, clock=clock, stats=stats, **PATIENT))
    by_end = {prediction.end: prediction for prediction in predictions}
    assert {by_end[end].reason for end in (6.0, 7.0) if end in by_end} == {"no_audio"}
    assert {by_end[end].reason for end in (9.0, 10.0) if end in by_end} == {"silence"}
    assert stats.summary().lost_seconds == pytest.approx(3.0)


def test_one_inference_that_fails_costs_one_window(folder: Path) -> None:
    def trouble(call: int) -> None:
        if call == 3:
            raise BackendError("scene: out of memory")

    clock = FastClock(5)
    events: list[StreamEvent] = []
    with troubled(folder, trouble) as classifier, SyntheticLive([PARK], clock) as source:
        predictions = list(stream_live(classifier, source, HALF, on_event=events.append, clock=clock, **PATIENT))
    assert [p.reason == "engine" for p in predictions] == [index == 3 for index in range(len(predictions))]
    assert (predictions[3].label, predictions[3].degraded, predictions[3].modalities) == ("unknown", True, ())
    assert predictions[-1].label == "park"
    told = [event for event in events if event.kind.startswith("engine")]
    assert [(event.kind, event.message) for event in told] == [
        ("engine_error", "an inference failed: scene: out of memory"),
        ("engine_back", "the engine answers again, after one failed"),
    ]


def test_ten_failures_in_a_row_end_the_stream(folder: Path) -> None:
    def trouble(call: int) -> None:
        if call >= 2:
            raise BackendError(f"scene: failure {call}")

    clock = FastClock(10)
    seen: list[Prediction] = []
    with (
        troubled(folder, trouble) as classifier,
        SyntheticLive([ENDLESS], clock) as source,
        pytest.raises(BackendError, match="scene: failure 11"),
    ):
        seen.extend(stream_live(classifier, source, HALF, clock=clock, **PATIENT))
    assert [p.reason for p in seen[2:]] == ["engine"] * 9


@pytest.mark.slow
def test_an_engine_that_hangs_is_reported_and_the_stream_ticks_until_it_is_back(folder: Path) -> None:
    released = threading.Event()

    def trouble(call: int) -> None:
        if call == 3:
            released.wait(20)

    clock = FastClock(10)
    stats = StreamStats("synthetic", clock=clock.monotonic)
    events: list[StreamEvent] = []
    healths: list[Health] = []
    after = 0
    reasons: list[str | None] = []
    with troubled(folder, trouble) as classifier, SyntheticLive([ENDLESS], clock) as source:
        live = stream_live(
            classifier,
            source,
            HALF,
            stats=stats,
            on_event=events.append,
            on_tick=lambda health, _picture: healths.append(health),
            clock=clock,
            deadline_seconds=3.0,
            give_up_seconds=1000.0,
        )
        with closing(live):
            ends: list[float] = []
            for prediction in live:
                reasons.append(prediction.reason)
                ends.append(prediction.end)
                if reasons.count("engine") == 12:
                    released.set()
                after = after + 1 if "engine_back" in kinds(events) else 0
                if after > 4:
                    break
    late = [event for event in events if event.kind.startswith("engine")]
    assert kinds(late)[:2] == ["engine_late", "engine_back"]
    assert late[1].seconds > late[0].time - 2
    assert reasons.index("engine") == 3
    assert reasons[-1] is None
    # while it hangs, a window a step: dropped ones were those that piled up before the deadline
    hung = [end for end, reason in zip(ends, reasons, strict=True) if reason == "engine"]
    assert [b - a for a, b in pairwise(hung[3:12])] == [0.5] * 8
    assert "no answer for 3 s" in {health.engine_problem for health in healths}
    assert healths[-1].engine_problem is None


def test_an_engine_that_never_comes_back_ends_the_stream(folder: Path) -> None:
    released = threading.Event()
    clock = FastClock(20)
    with troubled(folder, lambda _call: released.wait(20) and None) as classifier:
        with SyntheticLive([ENDLESS], clock) as source:
            live = stream_live(classifier, source, HALF, clock=clock, deadline_seconds=2, give_up_seconds=12)
            began = time.monotonic()
            with pytest.raises(BackendError, match="expected an answer within 12 s, got none"):
                list(live)
            assert time.monotonic() - began < 10
        released.set()


@pytest.mark.slow
def test_a_process_that_was_suspended_does_not_blame_its_engine(folder: Path) -> None:
    clock = FastClock(2)
    events: list[StreamEvent] = []

    def trouble(call: int) -> None:
        if call == 2:
            clock.skip(500.0)  # in the middle of an inference
            time.sleep(0.15)

    with troubled(folder, trouble) as classifier, SyntheticLive([PARK], clock) as source:
        stream_of = stream_live(classifier, source, HALF, on_event=events.append, clock=clock, deadline_seconds=8.0)
        predictions = list(stream_of)
    assert "engine_late" not in kinds(events)
    assert "engine" not in {prediction.reason for prediction in predictions}


@pytest.mark.slow
def test_a_slow_engine_drops_windows_and_never_lags(folder: Path) -> None:
    step = 0.2
    clock = FastClock(4)  # a step is 50 ms, an inference 150 ms and more
    stats = StreamStats("synthetic", clock=clock.monotonic)
    events: list[StreamEvent] = []
    waiting: list[int] = []
    with (
        troubled(folder, lambda _call: time.sleep(0.15)) as classifier,
        SyntheticLive([Segment(8.0)], clock) as source,
    ):
        predictions = list(
            stream_live(
                classifier,
                source,
                StreamSettings(step_seconds=step),
                stats=stats,
                on_event=events.append,
                on_tick=lambda health, _picture: waiting.append(health.n_waiting_windows),
                clock=clock,
                **PATIENT,
            )
        )
    summary = stats.summary()
    assert summary.n_windows + summary.n_dropped_windows == 36
    assert 10 <= summary.n_dropped_windows < 36
    assert max(waiting) <= 2
    # the lag does not grow: two windows wait while one is judged
    latencies = [prediction.latency_seconds for prediction in predictions]
    assert sorted(latencies[-5:])[2] < 2 * sorted(latencies[3:8])[2] + 1.0
    ends = [0.0, *(prediction.end for prediction in predictions)]
    steps = [1.0, *(b - a for a, b in pairwise(ends[1:]))]
    assert [prediction.step_seconds for prediction in predictions] == pytest.approx(steps)
    dropped = [event for event in events if event.kind == "windows_dropped"]
    assert dropped[0].message == "windows come faster than they are judged: the oldest are dropped"
    assert dropped[-1].message.startswith(f"{summary.n_dropped_windows} windows were dropped within")
    assert len(dropped) == 2


@pytest.mark.slow
def test_a_consumer_that_is_slow_drops_windows_too(listener: Classifier) -> None:
    clock = FastClock(10)
    stats = StreamStats("synthetic", clock=clock.monotonic)
    with SyntheticLive([PARK, TRAM], clock) as source:
        for _ in stream_live(listener, source, HALF, stats=stats, clock=clock, **PATIENT):
            time.sleep(0.2)
    summary = stats.summary()
    assert summary.n_windows + summary.n_dropped_windows == 15
    assert summary.n_dropped_windows >= 4


def test_closing_ends_both_threads_and_the_source_at_once(listener: Classifier) -> None:
    clock = FastClock(5)
    source = SyntheticLive([ENDLESS], clock)
    live = stream_live(listener, source, HALF, clock=clock, **PATIENT)
    assert next(live).end == 1.0
    names = {thread.name for thread in threading.enumerate()}
    assert {"ascstream-engine", "ascstream-gather"} <= names
    began = time.monotonic()
    live.close()
    assert time.monotonic() - began < 2
    assert source.stopped


def test_an_error_of_the_consumer_ends_the_stream_although_the_engine_hangs(folder: Path) -> None:
    released = threading.Event()

    def trouble(call: int) -> None:
        if call == 2:
            released.wait(20)

    def tell(event: StreamEvent) -> None:
        if event.kind == "engine_late":
            raise RuntimeError("of the consumer")

    clock = FastClock(10)
    source = SyntheticLive([ENDLESS], clock)
    with troubled(folder, trouble) as classifier:
        live = stream_live(classifier, source, HALF, on_event=tell, clock=clock, deadline_seconds=2)
        with pytest.raises(RuntimeError, match="of the consumer"):
            list(live)
        assert source.stopped
        released.set()


def test_a_source_that_fails_is_judged_to_its_end_first(listener: Classifier) -> None:
    clock = FastClock(10)
    seen: list[Prediction] = []
    failure = SourceError("microphone: expected sound within 5 s, got none")
    with (
        SyntheticLive([PARK], clock, failure=failure) as source,
        pytest.raises(SourceError, match="expected sound within 5 s"),
    ):
        seen.extend(stream_live(listener, source, clock=clock, **PATIENT))
    assert seen[-1].end == 4.0


@pytest.mark.slow
def test_nobody_spins_while_the_last_window_is_judged(folder: Path) -> None:
    clock = FastClock(10)
    with troubled(folder, lambda _call: time.sleep(2.0)) as classifier, SyntheticLive([PARK], clock) as source:
        live = stream_live(classifier, source, clock=clock, **PATIENT)
        before = time.thread_time()
        assert [prediction.end for prediction in live][-1] == 4.0
    assert time.thread_time() - before < 0.7  # of five seconds of waiting


def test_a_source_that_never_opens_says_why(listener: Classifier) -> None:
    clock = FastClock(10)
    failure = SourceError("microphone: expected sound within 5 s, got none")
    with (
        SyntheticLive([], clock, failure=failure) as source,
        pytest.raises(SourceError, match="expected sound within 5 s"),
    ):
        next(stream_live(listener, source, clock=clock, **PATIENT))


def test_a_camera_alone_is_nothing_for_a_bundle_that_only_hears(listener: Classifier) -> None:
    clock = FastClock(10)
    source = SyntheticLive([PARK], clock, has_audio=False, has_video=True)
    with pytest.raises(DecodeError, match="expected a sound track"):
        next(stream_live(listener, source, clock=clock))


@pytest.mark.parametrize(("deadline", "give_up"), [(0.0, 30.0), (-1.0, 30.0), (31.0, 30.0)])
def test_deadlines_that_cannot_be_are_refused(listener: Classifier, deadline: float, give_up: float) -> None:
    clock = FastClock(10)
    source = SyntheticLive([PARK], clock)
    live = stream_live(listener, source, clock=clock, deadline_seconds=deadline, give_up_seconds=give_up)
    with pytest.raises(UsageError, match="expected a deadline above 0 and at most 30 s"):
        next(live)


@pytest.mark.slow
def test_pictures_are_judged_and_shown(tmp_path: Path) -> None:
    clock = FastClock(4)
    pictures: list[Image | None] = []
    segments = [Segment(4.0, tones=((bundles.tone_hz("park"),),), colour=(0, 255, 0))]
    with (
        Classifier.load(bundles.audio_visual(tmp_path)) as classifier,
        SyntheticLive(segments, clock, has_video=True) as source,
    ):
        predictions = list(
            stream_live(classifier, source, clock=clock, on_tick=lambda _, image: pictures.append(image), **PATIENT)
        )
    assert {prediction.modalities for prediction in predictions} == {("audio", "video")}
    assert predictions[-1].label == "park"
    shown = [image for image in pictures if image is not None]
    assert shown[-1].shape == (32, 48, 3)
    assert shown[-1][0, -1].tolist() == [0, 255, 0]


def test_events_of_the_source_come_through(listener: Classifier) -> None:
    clock = FastClock(10)
    told: list[StreamEvent] = []
    lost = StreamEvent(1.0, "device_lost", "the microphone was unplugged", 0.5)
    with SyntheticLive([PARK], clock, events=[lost]) as source:
        list(stream_live(listener, source, clock=clock, on_event=told.append, **PATIENT))
    assert lost in told


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_a_hundred_streams_leave_nothing_behind(folder: Path) -> None:
    # one heap: what is measured is what is kept, not how it is spread over threads that are long gone
    variables = {**os.environ, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-m", "support.live_cycles", str(folder), "10", "90"]
    done = subprocess.run(words, capture_output=True, text=True, env=variables, check=True, timeout=280)
    before, after = (list(map(int, line.split())) for line in done.stdout.splitlines())
    assert after[:2] == before[:2]
    assert after[0] == 1
    assert after[2] - before[2] <= 1_000_000


@pytest.mark.slow
def test_opening_the_devices_is_no_loss(listener: Classifier) -> None:
    clock = FastClock(5)
    stats = StreamStats("synthetic", clock=clock.monotonic)
    with SyntheticLive([PARK], clock, opening_seconds=2.0) as source:
        predictions = list(stream_live(listener, source, stats=stats, clock=clock, **PATIENT))
    assert predictions[-1].end == 4.0
    summary = stats.summary()
    assert (summary.n_losses, summary.device_lost_seconds) == (0, {})


def test_the_default_microphone_is_named_once():
    default = make_microphone(name="default microphone", details="48000 Hz")
    health = make_health(devices=(default, make_microphone(details="")))
    assert describe(health) == "default microphone, 48000 Hz; microphone USB Microphone"
