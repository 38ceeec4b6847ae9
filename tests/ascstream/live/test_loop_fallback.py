"""TensorRT that fails, or hangs, under a live stream: ONNX Runtime goes on, and the stream never stops ticking."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support import bundles
from support.live_streams import FastClock, SyntheticLive
from support.stand_in import DEAD, StandIn, build, fails_from

from ascstream.classifier import Classifier
from ascstream.cli.listen import Request, follow, open_sinks
from ascstream.errors import DegradedError
from ascstream.live.loop import stream_live
from ascstream.pipeline import StreamSettings
from ascstream.records import Prediction, StreamEvent
from ascstream.sources.synthetic import Segment
from engines.bundle import open_bundle

PARK = Segment(6.0, tones=((bundles.tone_hz("park"),),))
ENDLESS = replace(PARK, seconds=1e6)
HALF = StreamSettings(step_seconds=0.5)
REQUEST = Request("lines", (), None, None, None, None, strict=False, wait=False, level="info", camera_delay=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = bundles.mono_logmel(tmp_path_factory.mktemp("bundle"))
    build(open_bundle(path), path.parent / "plans")
    return path


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 5
    while [thread for thread in threading.enumerate() if thread.name.startswith("ascstream")]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def load(folder: Path, tensorrt: StandIn) -> Classifier:
    return Classifier.load(folder, plans=folder.parent / "plans", tensorrt=tensorrt)


@pytest.mark.slow
def test_a_plan_that_fails_costs_no_window_and_is_told_once(folder: Path) -> None:
    clock, events = FastClock(5), list[StreamEvent]()
    with load(folder, StandIn(trouble=fails_from(3))) as classifier, SyntheticLive([PARK], clock) as source:
        live = stream_live(
            classifier,
            source,
            HALF,
            on_event=events.append,
            clock=clock,
            deadline_seconds=60.0,
            give_up_seconds=120.0,
        )
        predictions = list(live)
    assert [prediction.fallback for prediction in predictions] == [None] * 3 + [DEAD] * (len(predictions) - 3)
    assert {prediction.label for prediction in predictions} == {"park"}
    assert [(event.kind, event.message) for event in events if event.kind.startswith("engine")] == [
        ("engine_fallback", f"TensorRT failed, and ONNX Runtime goes on: {DEAD}")
    ]


@pytest.mark.slow
def test_a_plan_that_hangs_costs_the_window_it_hangs_in(folder: Path) -> None:
    released = threading.Event()

    def hang(_graph: str, n: int) -> None:
        if n == 3:
            released.wait(60)

    clock, events, seen = FastClock(5), list[StreamEvent](), list[Prediction]()
    tensorrt = StandIn(trouble=hang)
    with load(folder, tensorrt) as classifier, SyntheticLive([ENDLESS], clock) as source:
        live = stream_live(
            classifier,
            source,
            HALF,
            on_event=events.append,
            clock=clock,
            deadline_seconds=6.0,
            give_up_seconds=120.0,
        )
        for prediction in live:
            seen.append(prediction)
            if [answer.fallback for answer in seen].count(None) < len(seen) - 5:
                live.close()
    assert [engine.closed for engine in tensorrt.engines] == [False]  # what hangs is left alone
    released.set()
    assert [prediction.reason for prediction in seen[:4]] == [None, None, None, "engine"]
    assert {(prediction.label, prediction.reason) for prediction in seen[4:]} == {("park", None)}
    told = [event for event in events if event.kind.startswith("engine")]
    assert [event.kind for event in told] == ["engine_fallback"]
    assert told[0].message.startswith("TensorRT failed, and ONNX Runtime goes on: no answer for 6.")
    assert {prediction.fallback for prediction in seen[4:]} == {told[0].message.rpartition(": ")[2]}


def test_strict_ends_a_stream_that_falls_back(folder: Path, tmp_path: Path) -> None:
    clock = FastClock(5)
    out = tmp_path / "r.jsonl"
    request = replace(REQUEST, strict=True, out=(str(out),))
    with load(folder, StandIn(trouble=fails_from(3))) as classifier:
        sinks = open_sinks(request, "")
        try:
            with pytest.raises(DegradedError) as caught:
                follow(classifier, SyntheticLive([ENDLESS], clock), HALF, sinks, request, clock)
        finally:
            sinks.close()
    assert caught.value.exit_code == 5
    assert str(caught.value).endswith(f" s from ONNX Runtime: {DEAD}; the results are kept")
    lines = out.read_text()
    assert '"kind": "engine_fallback"' in lines
    assert lines.count(f'"fallback": "{DEAD}"') == 1


def test_the_first_line_says_why_it_is_not_tensorrt(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = FastClock(10)
    with Classifier.load(folder, plans=tmp_path / "none", tensorrt=StandIn()) as classifier:
        sinks = open_sinks(REQUEST, "")
        follow(classifier, SyntheticLive([PARK], clock), HALF, sinks, REQUEST, clock)
        sinks.close()
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("bundle mono_logmel 1.0.0, onnxruntime ")
    assert "; not TensorRT: no plan for mono_logmel on Invented with TensorRT 10.3.0; type: trainer " in first
