"""JSON Lines: the keys and their order, numbers, several inputs; read back by `json`."""

import json
import math
from pathlib import Path

import pytest
from support.predictions import LABELS, feed, make_info, make_prediction

from ascstream.records import StreamEvent
from ascstream.sinks import open_sink
from ascstream.stats import StreamStats

PREDICTION_KEYS = [
    "schema", "type", "source", "start", "end", "label", "level", "reason", "score", "scores", "raw_scores",
    "modalities", "degraded", "lost_seconds", "padded_seconds", "latency_seconds",
]  # fmt: skip


def read_lines(path: Path) -> list[dict]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text("utf-8").splitlines()]


def test_a_prediction_is_one_object_with_the_keys_in_order(tmp_path):
    path = tmp_path / "results.jsonl"
    sink = open_sink(str(path))
    feed(sink, [make_prediction(1.0, "park", 0.8), make_prediction(1.1, "bus", 1 / 3, step=0.1)])
    sink.close()
    first, second, summary = read_lines(path)
    assert list(first) == PREDICTION_KEYS
    assert (first["schema"], first["type"], first["source"]) == (1, "prediction", "clip.mp4")
    assert (first["start"], first["end"], first["label"], first["level"]) == (0.0, 1.0, "park", "scene")
    assert first["reason"] is None
    assert list(first["scores"]) == list(LABELS)
    assert (second["start"], second["end"]) == (0.1, 1.1)
    assert second["score"] == 0.333333
    assert second["modalities"] == ["audio"]
    assert second["degraded"] is False
    assert second["latency_seconds"] == 0.004
    assert summary["type"] == "summary"


def test_time_stands_after_the_source_and_only_where_it_is_live(tmp_path):
    path = tmp_path / "live.jsonl"
    sink = open_sink(str(path))
    feed(sink, [make_prediction(1.0, time="2026-11-20T10:00:01.000000+00:00")])
    sink.close()
    keys = list(read_lines(path)[0])
    assert keys[2:5] == ["source", "time", "start"]


def test_numbers_that_are_none_become_null(tmp_path):
    path = tmp_path / "nan.jsonl"
    sink = open_sink(str(path))
    feed(sink, [make_prediction(1.0, score=math.nan, latency_seconds=math.inf)])
    sink.close()
    record = read_lines(path)[0]
    assert record["score"] is None
    assert record["scores"]["park"] is None
    assert record["latency_seconds"] is None


def test_events_and_summaries_have_another_type_and_no_end(tmp_path):
    path = tmp_path / "events.jsonl"
    sink = open_sink(str(path))
    stats = StreamStats("clip.mp4")
    sink.begin(make_info(), stats)
    prediction = make_prediction(1.0, "street_traffic", degraded=True, lost_seconds=0.25)
    stats.add(prediction)
    stats.add_lost(0.25)
    sink.emit(prediction)
    sink.event(StreamEvent(0.5, "gap", "0.25 s of sound never came", 0.25))
    sink.end(stats.summary(), "clip.mp4: broke off at 1.2 s")
    sink.close()
    _, event, summary = read_lines(path)
    assert event == {
        "schema": 1,
        "type": "event",
        "source": "clip.mp4",
        "start": 0.5,
        "kind": "gap",
        "message": "0.25 s of sound never came",
        "seconds": 0.25,
    }
    assert list(summary)[:4] == ["schema", "type", "source", "start"]
    assert "end" not in summary
    assert (summary["n_windows"], summary["n_degraded"], summary["lost_seconds"]) == (1, 1, 0.25)
    assert summary["seconds"] == 1.0
    assert summary["shares"] == {"street_traffic": 1.0}
    assert summary["unknown_reasons"] == {}
    assert summary["complete"] is False
    assert summary["error"] == "clip.mp4: broke off at 1.2 s"
    assert summary["latency_seconds"] == {"p50": 0.004, "p95": 0.004, "p99": 0.004, "n": 1}


def test_several_inputs_follow_each_other_in_one_file(tmp_path):
    path = tmp_path / "all.jsonl"
    sink = open_sink(str(path), inputs=["a.wav", "b.wav"])
    for name in ("a.wav", "b.wav"):
        feed(sink, [make_prediction(1.0, source=name)], make_info(name))
    sink.close()
    assert [(record["type"], record["source"]) for record in read_lines(path)] == [
        ("prediction", "a.wav"), ("summary", "a.wav"), ("prediction", "b.wav"), ("summary", "b.wav"),
    ]  # fmt: skip


def test_names_outside_ascii_and_outside_unicode_are_kept_as_far_as_they_go(tmp_path):
    path = tmp_path / "names.jsonl"
    sink = open_sink(str(path))
    for name in ("Straßenbahn 市.wav", "line\nbreak.wav", "bad\udcff.wav"):
        feed(sink, [make_prediction(1.0, source=name)], make_info(name))
    sink.close()
    sources = [record["source"] for record in read_lines(path)]
    assert sources[::2] == ["Straßenbahn 市.wav", "line\nbreak.wav", "bad?.wav"]


@pytest.mark.parametrize("error", [None, "cut in the middle"])
def test_a_file_appears_where_something_was_classified(tmp_path, error):
    path = tmp_path / "kept.jsonl"
    sink = open_sink(str(path))
    feed(sink, [make_prediction(1.0)], error=error)
    sink.close()
    assert [record["type"] for record in read_lines(path)] == ["prediction", "summary"]


def test_no_file_appears_where_nothing_was_classified(tmp_path):
    path = tmp_path / "nothing.jsonl"
    sink = open_sink(str(path))
    feed(sink, [], error="clip.mp4: not media")
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_the_summary_says_why_it_was_unknown(tmp_path):
    path = tmp_path / "unknown.jsonl"
    sink = open_sink(str(path))
    feed(sink, [make_prediction(1.0), make_prediction(2.0, "unknown", level="unknown", reason="silence")])
    sink.close()
    assert read_lines(path)[-1]["unknown_reasons"] == {"silence": 0.5}
