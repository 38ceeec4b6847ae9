"""TensorRT that fails in the middle of a stream: every window is judged, by one or the other, and marked; once told."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from support import bundles
from support.stand_in import DEAD, StandIn, build, fails_from

from ascstream.classifier import Classifier
from ascstream.cli.classify import Outcome, classify_all, require_whole
from ascstream.errors import DegradedError
from ascstream.pipeline import StreamSettings, stream
from ascstream.records import Prediction, StreamEvent
from ascstream.sinks.base import Sink
from ascstream.sources.synthetic import Segment, SyntheticSource
from ascstream.stats import StreamStats, StreamSummary
from engines.bundle import open_bundle
from engines.errors import BackendError

PARK = Segment(6.0, tones=((bundles.tone_hz("park"),),), colour=bundles.COLOURS["park"])
HALF = StreamSettings(step_seconds=0.5)
FRAME_DEAD = DEAD.replace("scene", "frame")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that hears and sees, and its plans beside it."""
    path = bundles.audio_visual(tmp_path_factory.mktemp("bundle"))
    build(open_bundle(path), path.parent / "plans")
    return path


def load(folder: Path, tensorrt: StandIn) -> Classifier:
    return Classifier.load(folder, plans=folder.parent / "plans", tensorrt=tensorrt)


def classify(classifier: Classifier, events: list[StreamEvent]) -> list[Prediction]:
    return list(stream(classifier, SyntheticSource([PARK], has_video=True), HALF, on_event=events.append))


@pytest.fixture(scope="module")
def reference(folder: Path) -> list[Prediction]:
    with Classifier.load(folder, backend="onnxruntime") as classifier:
        return classify(classifier, [])


def agree(left: list[Prediction], right: list[Prediction]) -> bool:
    return [(p.end, p.label, p.modalities, p.degraded) for p in left] == [
        (p.end, p.label, p.modalities, p.degraded) for p in right
    ] and all(
        list(a.raw_scores.values()) == pytest.approx(list(b.raw_scores.values()), abs=1e-5)
        for a, b in zip(left, right, strict=True)
    )


def test_a_plan_gives_the_labels_of_onnx_runtime_and_marks_nothing(folder: Path, reference: list[Prediction]) -> None:
    events: list[StreamEvent] = []
    with load(folder, StandIn()) as classifier:
        assert classifier.backend == "TensorRT 10.3.0, Invented, float32"
        predictions = classify(classifier, events)
    assert agree(predictions, reference)
    assert {prediction.fallback for prediction in predictions} == {None}
    assert events == []


@pytest.mark.parametrize(
    ("graph", "number", "first"),
    [("scene", 3, 3), ("frame", 0, 0), ("frame", 2, 2)],
)
def test_no_window_is_lost_and_the_rest_is_marked(
    graph: str, number: int, first: int, folder: Path, reference: list[Prediction]
) -> None:
    events: list[StreamEvent] = []
    why = DEAD.replace("scene", graph)
    with load(folder, StandIn(trouble=fails_from(number, graph))) as classifier:
        predictions = classify(classifier, events)
        assert classifier.fell_back == why
        assert classifier.backend.startswith("onnxruntime ")
    assert agree(predictions, reference)
    assert [prediction.fallback for prediction in predictions] == [None] * first + [why] * (len(reference) - first)
    assert [(event.kind, event.message) for event in events] == [
        ("engine_fallback", f"TensorRT failed, and ONNX Runtime goes on: {why}")
    ]
    assert events[0].time == predictions[first].end


def test_no_window_is_judged_by_the_embeddings_of_both(folder: Path, reference: list[Prediction]) -> None:
    with load(folder, StandIn(trouble=fails_from(4, "scene"), bias={"frame": 5.0})) as classifier:
        predictions = classify(classifier, [])
    assert not agree(predictions[:4], reference[:4])
    assert agree(predictions[4:], reference[4:])


def test_a_second_stream_begins_with_onnx_runtime_and_is_marked_without_another_event(folder: Path) -> None:
    with load(folder, StandIn(trouble=fails_from(0))) as classifier:
        events: list[StreamEvent] = []
        classify(classifier, events)
        assert len(events) == 1
        again = classify(classifier, events)
        assert len(events) == 1
    assert {prediction.fallback for prediction in again} == {FRAME_DEAD}


def test_a_failure_of_both_is_an_error_that_names_both(folder: Path, tmp_path: Path) -> None:
    path = bundles.mono_logmel(tmp_path)
    build(open_bundle(path), tmp_path / "plans")
    tensorrt = StandIn(trouble=fails_from(0))
    with Classifier.load(path, plans=tmp_path / "plans", tensorrt=tensorrt) as classifier:
        (path / "scene.onnx").write_bytes(b"altered")
        with pytest.raises(BackendError) as caught:
            list(stream(classifier, SyntheticSource([PARK]), HALF))
    assert str(caught.value).startswith(f"{DEAD}; and ONNX Runtime cannot stand in: {path / 'scene.onnx'}: expected ")


class Ignores(Sink):
    """Takes everything."""

    def begin(self, info: object, stats: StreamStats) -> None: ...

    def emit(self, prediction: Prediction) -> None: ...

    def event(self, event: StreamEvent) -> None: ...

    def end(self, summary: StreamSummary, error: str | None) -> None: ...

    def close(self) -> None: ...


def test_strict_refuses_what_onnx_runtime_took_over(folder: Path) -> None:
    outcome = Outcome()
    with load(folder, StandIn(trouble=fails_from(3, "scene"))) as classifier:
        classify_all(
            classifier,
            ["a"],
            lambda _name: SyntheticSource([PARK], has_video=True),
            HALF,
            Ignores(),
            outcome,
            lambda _summary, _error: None,
        )
    assert (outcome.n_windows, outcome.n_degraded, outcome.n_fallback) == (11, 0, 8)
    with pytest.raises(DegradedError) as caught:
        require_whole(outcome)
    assert caught.value.exit_code == 5
    assert str(caught.value) == (
        "expected TensorRT for every window, since --strict was given; got 8 of 11 from ONNX Runtime, after it "
        "failed; the results are kept"
    )


def test_a_window_that_no_graph_was_asked_about_is_not_marked(folder: Path) -> None:
    with load(folder, StandIn(trouble=fails_from(0))) as classifier:
        events: list[StreamEvent] = []
        classify(classifier, events)
        silent = SyntheticSource([Segment(2.0, tones=((),), colour=(0, 0, 0))], has_video=True)
        marked = {prediction.fallback for prediction in stream(classifier, silent, HALF)}
        assert classifier.wants(Fraction(1)).video is not None
    assert marked == {None}
