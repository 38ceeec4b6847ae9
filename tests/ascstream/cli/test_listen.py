"""One live stream into sinks, without devices: what ends it, and what is told."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support import bundles
from support.live_streams import FastClock, SyntheticLive, troubled

from ascstream.classifier import Classifier
from ascstream.cli.exits import Stopped
from ascstream.cli.listen import Request, follow, open_sinks
from ascstream.errors import DegradedError
from ascstream.live.health import Health
from ascstream.pipeline import StreamSettings
from ascstream.sinks import Sink
from ascstream.sources.base import SourceInfo
from ascstream.sources.synthetic import Segment
from ascstream.stats import StreamStats, StreamSummary
from engines.errors import BackendError

PARK = Segment(4.0, tones=((bundles.tone_hz("park"),),))
ENDLESS = replace(PARK, seconds=1e6)
REQUEST = Request("lines", (), None, None, None, None, strict=False, wait=False, level="info", camera_delay=0.0)
HALF = StreamSettings(step_seconds=0.5)


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Classifier]:
    with Classifier.load(bundles.mono_logmel(tmp_path_factory.mktemp("bundle"))) as classifier:
        yield classifier


def run(classifier: Classifier, source: SyntheticLive, request: Request, clock: FastClock) -> None:
    sinks = open_sinks(request, "")
    try:
        follow(classifier, source, HALF, sinks, request, clock)
    finally:
        sinks.close()


def told(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_stream_lasts_as_long_as_was_asked_for(
    listener: Classifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, out = FastClock(10), tmp_path / "r.jsonl"
    run(listener, SyntheticLive([ENDLESS], clock), replace(REQUEST, duration=3.2, out=(str(out),)), clock)
    records = told(out)
    assert [record["end"] for record in records if record["type"] == "prediction"][-1] == 3.0
    assert records[0]["type"] == "event"
    assert (records[0]["kind"], records[0]["message"]) == (
        "started",
        "microphone synthetic microphone, 24000 Hz, 1 channel",
    )
    assert (records[-1]["type"], records[-1]["complete"]) == ("summary", True)
    captured = capsys.readouterr()
    assert "; microphone synthetic microphone, 24000 Hz, 1 channel; window 1 s, step 0.5 s" in captured.err
    assert captured.out.count("park") >= 3


def test_a_signal_while_the_outputs_begin_is_no_bug(listener: Classifier) -> None:
    class Interrupted(Sink):
        ended = False

        def begin(self, info: SourceInfo, stats: StreamStats) -> None:
            raise Stopped(15)

        def end(self, summary: StreamSummary, error: str | None) -> None:
            self.ended = True

    clock, sink = FastClock(10), Interrupted()
    source = SyntheticLive([ENDLESS], clock)
    with pytest.raises(Stopped):
        follow(listener, source, HALF, sink, REQUEST, clock)
    assert source.stopped
    assert not sink.ended


@pytest.mark.slow
def test_no_answer_reaches_past_the_duration(tmp_path: Path) -> None:
    def trouble(call: int) -> None:
        if call:
            time.sleep(1.5)  # five windows and more: the ones that end at 3 s and before are dropped

    clock, out = FastClock(2), tmp_path / "r.jsonl"
    request = replace(REQUEST, duration=3.2, out=(str(out),))
    with troubled(bundles.mono_logmel(tmp_path), trouble) as classifier:
        run(classifier, SyntheticLive([ENDLESS], clock), request, clock)
    ends = [record["end"] for record in told(out) if record["type"] == "prediction"]
    assert ends
    assert all(isinstance(end, float) and end <= 3.2 for end in ends)


def test_what_is_loaded_is_not_looked_through_for_garbage_while_a_stream_runs(listener: Classifier) -> None:
    frozen = []

    class Watched(SyntheticLive):
        def health(self) -> Health:
            frozen.append(gc.get_freeze_count())
            return super().health()

    clock = FastClock(10)
    run(listener, Watched([PARK], clock), REQUEST, clock)
    assert frozen[-1] > 1000
    assert gc.get_freeze_count() == 0


def test_strict_names_the_device_that_is_lost(listener: Classifier) -> None:
    clock = FastClock(10)
    source = SyntheticLive([PARK, Segment(4.0, lost=True)], clock)
    source.lose("microphone")
    with pytest.raises(DegradedError, match=r"that is degraded \(.*microphone lost \d+ s\); the results are kept"):
        run(listener, source, replace(REQUEST, strict=True, level="error"), clock)
    assert source.stopped


def test_an_engine_that_fails_for_good_is_told_to_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def trouble(call: int) -> None:
        if call > 2:
            raise BackendError("scene: the device is gone")

    clock, out = FastClock(10), tmp_path / "r.jsonl"
    request = replace(REQUEST, out=(str(out),))
    with (
        troubled(bundles.mono_logmel(tmp_path), trouble) as classifier,
        pytest.raises(BackendError, match="the device is gone"),
    ):
        run(classifier, SyntheticLive([ENDLESS], clock), request, clock)
    records = told(out)
    assert (records[-1]["type"], records[-1]["error"]) == ("summary", "scene: the device is gone")
    assert [record["reason"] for record in records if record["type"] == "prediction"][-9:] == ["engine"] * 9
    # nine sentences are one line and a count
    assert capsys.readouterr().err.count("engine_error: an inference failed: scene: the device is gone") <= 4
