"""The loop: predictions in order and in time, causal, the same for any blocks; failures after what was decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import bundles

from ascstream.classifier import Classifier
from ascstream.errors import DecodeError, SourceError, UsageError
from ascstream.pipeline import StreamSettings, stream
from ascstream.records import AudioBlock, EndOfVideo, Prediction, StreamEvent, StreamItem, VideoFrame
from ascstream.sources.base import SourceInfo, Wants
from ascstream.stats import StreamStats

RATE = 24_000
PARK, TRAM = bundles.tone_hz("park"), bundles.tone_hz("tram")


class ListSource:
    """A source that yields what it was given, and then fails if it was told to."""

    def __init__(
        self, items: Sequence[StreamItem], *, failure: SourceError | None = None, offset_seconds: float = 0.0
    ) -> None:
        self._items = items
        self._failure = failure
        has_video = any(isinstance(item, VideoFrame) for item in items)
        has_audio = any(isinstance(item, AudioBlock) for item in items)
        self.info = SourceInfo("list", has_audio, has_video, None, offset_seconds)
        self.n_given = 0

    def items(self, wants: Wants) -> Iterator[StreamItem]:
        for item in self._items:
            self.n_given += 1
            yield item
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Nothing to give back."""

    def __enter__(self) -> ListSource:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def tones(*parts: tuple[float, float]) -> np.ndarray:
    """[1, n] of tones: (seconds, Hz) each, phase-continuous enough for a mel band."""
    pieces = [0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE) for seconds, hz in parts]
    return np.concatenate(pieces).astype(np.float32)[None]


def blocks(samples: np.ndarray, sizes: Sequence[int] = (480,)) -> list[StreamItem]:
    out: list[StreamItem] = []
    at = turn = 0
    while at < samples.shape[1]:
        stop = min(at + sizes[turn % len(sizes)], samples.shape[1])
        out.append(AudioBlock(at / RATE, samples[:, at:stop], RATE))
        at, turn = stop, turn + 1
    return out


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Classifier]:
    with Classifier.load(bundles.mono_logmel(tmp_path_factory.mktemp("bundle"))) as classifier:
        yield classifier


def classify(classifier: Classifier, items: Sequence[StreamItem], **fields: float) -> list[Prediction]:
    return list(stream(classifier, ListSource(items), StreamSettings(**fields)))


def close_enough(left: Sequence[Prediction], right: Sequence[Prediction]) -> bool:
    return len(left) == len(right) and all(
        (a.start, a.end, a.label, a.level, a.reason, a.modalities, a.degraded, a.lost_seconds)
        == (b.start, b.end, b.label, b.level, b.reason, b.modalities, b.degraded, b.lost_seconds)
        and list(a.scores.values()) == pytest.approx(list(b.scores.values()), abs=1e-5)
        and list(a.raw_scores.values()) == pytest.approx(list(b.raw_scores.values()), abs=1e-5)
        for a, b in zip(left, right, strict=True)
    )


def test_predictions_name_the_scene_and_follow_a_change(listener: Classifier) -> None:
    predictions = classify(listener, blocks(tones((6, PARK), (6, TRAM))), step_seconds=0.5)
    assert [p.end for p in predictions] == [1.0 + 0.5 * k for k in range(23)]
    assert all(p.end - p.start == 1.0 for p in predictions)
    assert predictions[0].step_seconds == 1.0
    assert {p.step_seconds for p in predictions[1:]} == {0.5}
    by_end = {p.end: p for p in predictions}
    assert (by_end[6.0].label, by_end[12.0].label) == ("park", "tram")
    assert list(by_end[6.0].scores) == list(bundles.LABELS)
    assert sum(by_end[6.0].scores.values()) == pytest.approx(1.0)
    assert max(by_end[6.0].raw_scores, key=by_end[6.0].raw_scores.__getitem__) == "park"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 50_000), min_size=1, max_size=4),
    seconds=st.floats(0.2, 6.0),
    step=st.sampled_from([0.1, 0.3, 0.5, 1.0]),
)
def test_any_block_size_gives_the_same_predictions(
    listener: Classifier, sizes: list[int], seconds: float, step: float
) -> None:
    rng = np.random.default_rng(7)
    samples = (0.1 * rng.standard_normal((1, round(seconds * RATE)))).astype(np.float32)
    whole = classify(listener, blocks(samples, [samples.shape[1]]), step_seconds=step)
    assert close_enough(whole, classify(listener, blocks(samples, sizes), step_seconds=step))


def test_later_input_never_changes_an_earlier_answer(listener: Classifier) -> None:
    rng = np.random.default_rng(3)
    past = tones((4.3, PARK))
    futures = [tones((3, TRAM)), (0.2 * rng.standard_normal((1, 3 * RATE))).astype(np.float32), past[:, :0]]
    answers = [
        [p for p in classify(listener, blocks(np.concatenate([past, f], axis=1)), step_seconds=0.1) if p.end <= 4.3]
        for f in futures
    ]
    assert len(answers[0]) == 34
    assert close_enough(answers[0], answers[1])
    assert close_enough(answers[0], answers[2])


def test_a_prediction_comes_as_soon_as_its_window_is_complete(listener: Classifier) -> None:
    source = ListSource(blocks(tones((5, PARK)), [480]))
    predictions = stream(listener, source, StreamSettings(step_seconds=1.0))
    for seconds in (1, 2, 3):
        next(predictions)
        assert source.n_given == seconds * RATE // 480


def test_one_classifier_serves_stream_after_stream(listener: Classifier) -> None:
    first = classify(listener, blocks(tones((3, PARK))))
    classify(listener, blocks(tones((3, TRAM))))
    assert close_enough(first, classify(listener, blocks(tones((3, PARK)))))


def test_a_gap_is_marked_and_never_taken_for_silence(listener: Classifier) -> None:
    samples = tones((6, PARK))
    items = blocks(samples, [12_000])
    items[4] = replace(items[4], samples=np.zeros_like(items[4].samples), lost=True)
    items[5] = replace(items[5], samples=np.zeros_like(items[5].samples), lost=True)
    stats = StreamStats("list")
    predictions = list(stream(listener, ListSource(items), StreamSettings(step_seconds=0.5), stats=stats))
    marks = {p.end: (p.lost_seconds, p.reason, p.degraded) for p in predictions}
    assert marks[2.5] == (0.5, None, True)
    assert marks[3.0] == (1.0, "no_audio", True)
    assert marks[4.0] == (0.0, None, False)
    assert predictions[-1].label == "park"
    assert stats.summary().lost_seconds == 1.0


def test_a_source_that_breaks_off_is_classified_to_where_it_broke_and_then_raises(listener: Classifier) -> None:
    source = ListSource(blocks(tones((2.6, PARK))), failure=DecodeError("clip.mp4 ends early"))
    predictions: list[Prediction] = []
    stats = StreamStats("list")
    with pytest.raises(DecodeError, match=r"clip\.mp4 ends early"):
        predictions.extend(stream(listener, source, StreamSettings(step_seconds=1.0), stats=stats))
    assert [(p.end, p.padded_seconds) for p in predictions] == [(1.0, 0.0), (2.0, 0.0), (3.0, pytest.approx(0.4))]
    assert not stats.summary().complete


def test_a_short_stream_is_one_padded_marked_window(listener: Classifier) -> None:
    (prediction,) = classify(listener, blocks(tones((0.4, PARK))))
    assert (prediction.start, prediction.end, prediction.degraded) == (0.0, 1.0, True)
    assert prediction.padded_seconds == pytest.approx(0.6)


def test_a_tail_too_short_is_dropped_counted_and_said(listener: Classifier) -> None:
    events: list[StreamEvent] = []
    stats = StreamStats("list")
    source = ListSource(blocks(tones((2.3, PARK))))
    predictions = list(stream(listener, source, StreamSettings(step_seconds=1.0), stats=stats, on_event=events.append))
    assert len(predictions) == 2
    (event,) = events
    assert (event.kind, event.time) == ("tail_dropped", 2.0)
    assert event.message == "the last 0.30 s are too short for a window and were not classified"
    assert stats.summary().dropped_tail_seconds == pytest.approx(0.3)
    assert stats.summary().complete


def test_a_sample_too_many_is_counted_but_not_worth_a_word(listener: Classifier) -> None:
    events: list[StreamEvent] = []
    stats = StreamStats("list")
    source = ListSource(blocks(tones((2 + 1 / RATE, PARK))))
    assert (
        len(list(stream(listener, source, StreamSettings(step_seconds=1.0), stats=stats, on_event=events.append))) == 2
    )
    assert events == []
    assert stats.summary().dropped_tail_seconds == pytest.approx(1 / RATE)


def test_one_window_without_numbers_does_not_spoil_those_after_it(listener: Classifier) -> None:
    samples = tones((6, PARK))
    samples[0, 3 * RATE + 100] = np.nan
    predictions = classify(listener, blocks(samples), step_seconds=1.0)
    assert [(p.label, p.reason) for p in predictions[3:]] == [
        ("unknown", "invalid_scores"),
        ("park", None),
        ("park", None),
    ]
    assert predictions[-1].score > 0.5


@pytest.mark.parametrize(("live", "patience"), [(False, 20.0), (True, 0.5)])
def test_a_picture_that_stalls_holds_the_sound_up_for_so_long_only(live: bool, patience: float, tmp_path: Path) -> None:
    items = audio_visual_items(40, bundles.COLOURS["park"], video_until=3.0)
    items = [item for item in items if not isinstance(item, EndOfVideo)]
    source = ListSource(items)
    source.info = replace(source.info, live=live)
    events: list[StreamEvent] = []
    behind: list[float] = []
    with Classifier.load(bundles.audio_visual(tmp_path)) as classifier:
        for prediction in stream(classifier, source, StreamSettings(step_seconds=1.0), on_event=events.append):
            heard = max(item.end for item in items[: source.n_given] if isinstance(item, AudioBlock))
            behind.append(heard - prediction.end)
    assert len(behind) == 40
    assert max(behind) == pytest.approx(patience, abs=0.21)
    assert [(event.kind, event.time) for event in events] == [("picture_late", 4.0)]
    assert events[0].message == f"no picture came for {patience:g} s of sound: windows no longer wait for it"


def test_nothing_at_all_is_an_error(listener: Classifier) -> None:
    source = ListSource([])
    source.info = replace(source.info, has_audio=True)
    with pytest.raises(DecodeError, match="list: expected sound or pictures, got 0 s of them"):
        list(stream(listener, source))


def test_a_source_without_what_the_bundle_perceives_is_refused_at_once(listener: Classifier) -> None:
    source = ListSource([EndOfVideo(1.0)])
    source.info = replace(source.info, has_video=True)
    with pytest.raises(DecodeError, match="expected a sound track, which is all that bundle 'mono_logmel' perceives"):
        next(stream(listener, source))
    assert source.n_given == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"step_seconds": 0.0}, "step: expected 0.001 s to the window's 1 s, got 0; try --step 1"),
        ({"step_seconds": 1.5}, "step: expected 0.001 s to the window's 1 s, got 1.5; try --step 1"),
        ({"step_seconds": float("nan")}, "step: expected 0.001 s to the window's 1 s, got nan; try --step 1"),
        ({"smoothing_seconds": -1.0}, "smoothing: expected 0 or more seconds, got -1"),
        ({"scene_threshold": 1.5}, "scene-threshold: expected a probability, 0 to 1, got 1.5"),
        ({"group_threshold": float("nan")}, "group-threshold: expected a probability, 0 to 1, got nan"),
    ],
)
def test_a_setting_that_cannot_be_is_a_usage_error(
    listener: Classifier, fields: dict[str, float], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        next(stream(listener, ListSource(blocks(tones((2, PARK)))), StreamSettings(**fields)))
    assert str(caught.value) == message


def test_times_are_those_of_the_medium_where_a_stream_begins_inside_it(listener: Classifier) -> None:
    source = ListSource(blocks(tones((2, PARK))), offset_seconds=30.0)
    assert [(p.start, p.end) for p in stream(listener, source, StreamSettings(step_seconds=1.0))] == [
        (30.0, 31.0),
        (31.0, 32.0),
    ]


def test_smoothing_off_answers_for_each_window_alone(listener: Classifier) -> None:
    for prediction in classify(listener, blocks(tones((2, PARK), (2, TRAM))), smoothing_seconds=0.0):
        assert list(prediction.scores.values()) == pytest.approx(list(prediction.raw_scores.values()))


def test_latency_is_measured_by_the_clock_that_was_given(listener: Classifier) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 0.25
        return now[0]

    source = ListSource(blocks(tones((2, PARK))))
    assert {p.latency_seconds for p in stream(listener, source, clock=clock)} == {0.25}


def audio_visual_items(seconds: int, colour: tuple[int, int, int], *, video_until: float) -> list[StreamItem]:
    """A tone at 24 kHz and a picture every 0.2 s, interleaved; the picture ends at `video_until`."""
    items: list[StreamItem] = []
    image = np.empty((32, 48, 3), np.uint8)
    image[:] = colour
    ended = False
    for k, block in enumerate(blocks(tones((seconds, PARK)), [4_800])):
        if k * 0.2 < video_until:
            items.append(VideoFrame(k * 0.2, image, (k + 1) * 0.2, k))
        elif not ended:
            items.append(EndOfVideo(video_until))
            ended = True
        items.append(block)
    return items if ended else [*items, EndOfVideo(video_until)]


def test_when_the_picture_ends_the_sound_goes_on_and_says_so(tmp_path: Path) -> None:
    with Classifier.load(bundles.audio_visual(tmp_path)) as classifier:
        items = audio_visual_items(6, bundles.COLOURS["park"], video_until=3.0)
        predictions = classify(classifier, items, step_seconds=1.0)
    assert [(p.end, p.modalities, p.degraded) for p in predictions] == [
        (1.0, ("audio", "video"), False),
        (2.0, ("audio", "video"), False),
        (3.0, ("audio", "video"), False),
        (4.0, ("audio", "video"), False),  # the first slot's frame is 0.1 s old, young enough; the others take it
        (5.0, ("audio",), True),
        (6.0, ("audio",), True),
    ]
    assert {p.label for p in predictions[1:]} == {"park"}


def test_a_bundle_that_needs_the_lost_picture_says_unknown_and_why(tmp_path: Path) -> None:
    with Classifier.load(bundles.late_fusion_bare(tmp_path)) as classifier:
        predictions = classify(classifier, audio_visual_items(4, (0, 255, 0), video_until=1.0), step_seconds=1.0)
    assert [(p.label, p.reason) for p in predictions[-2:]] == [("unknown", "no_video")] * 2
    assert predictions[-1].raw_scores == {}


def test_pictures_alone_tick_by_their_own_time(tmp_path: Path) -> None:
    image = np.empty((32, 48, 3), np.uint8)
    image[:] = bundles.COLOURS["metro_station"]
    items: list[StreamItem] = [VideoFrame(k * 0.5, image, (k + 1) * 0.5, k) for k in range(8)]
    with Classifier.load(bundles.image_only(tmp_path)) as classifier:
        predictions = classify(classifier, [*items, EndOfVideo(4.0)], step_seconds=1.0)
    assert [(p.end, p.modalities) for p in predictions] == [(float(k), ("video",)) for k in (1, 2, 3, 4)]
    assert predictions[-1].label == "metro_station"
