"""The sinks of live streams: what each format writes, and how it goes on after a restart."""

import csv
import io
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.health import HandClock, lost, make_camera, make_health, make_live_info, make_microphone
from support.predictions import LABELS, make_prediction

from ascstream.errors import OutputError, UsageError
from ascstream.records import Prediction, StreamEvent
from ascstream.sinks import Sink, SinkGroup, open_sink
from ascstream.sinks.console import describe_degraded, to_line
from ascstream.sinks.selection import Selection
from ascstream.stats import StreamStats


def run(sink: Sink, predictions: list[Prediction], clock: HandClock | None = None) -> None:
    clock = HandClock() if clock is None else clock
    stats = StreamStats("mic 0", clock=clock.monotonic)
    sink.begin(make_live_info(), stats)
    for prediction in predictions:
        stats.add(prediction)
        sink.emit(prediction)
        clock.go_on(prediction.step_seconds)
        sink.tick(make_health())
    sink.end(stats.summary(), None)
    sink.close()


def live_prediction(end: float, label: str = "park", **changes: object) -> Prediction:
    return make_prediction(end, label, **{"time": f"2026-11-21T15:59:{int(end) % 60:02d}.250Z", **changes})


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


def test_json_lines_are_there_at_once_and_are_continued(tmp_path):
    path = tmp_path / "live.jsonl"
    for _ in range(2):
        sink = open_sink(str(path), live=True, clock=HandClock())
        sink.begin(make_live_info(), StreamStats("mic 0"))
        n_lines = len(read(path))
        sink.emit(live_prediction(1.0))
        assert len(read(path)) == n_lines + 1
        sink.close()
    assert [record["end"] for record in read(path)] == [1.0, 1.0]


def test_a_live_prediction_says_which_device_is_lost(tmp_path):
    path = tmp_path / "live.jsonl"
    run(open_sink(str(path), live=True), [live_prediction(1.0), live_prediction(2.0, lost={"camera": 12.3456789})])
    whole, degraded = read(path)[:2]
    assert "lost" not in whole
    assert degraded["lost"] == {"camera": 12.345679}
    assert list(degraded)[-2:] == ["lost", "latency_seconds"]
    assert degraded["time"] == "2026-11-21T15:59:02.250Z"


def test_a_live_event_has_its_time(tmp_path):
    path = tmp_path / "live.jsonl"
    sink = open_sink(str(path), live=True, clock=HandClock())
    sink.begin(make_live_info(), StreamStats("mic 0"))
    sink.event(StreamEvent(12.0, "device_lost", "camera lost: no picture for 2 s"))
    sink.close()
    (event,) = read(path)
    assert list(event) == ["schema", "type", "source", "time", "start", "kind", "message", "seconds"]
    assert event["time"] == "2026-11-21T15:59:58.000Z"


def test_health_is_told_every_minute_and_at_the_end(tmp_path):
    path = tmp_path / "live.jsonl"
    clock = HandClock()
    sink = open_sink(str(path), live=True, clock=clock)
    run(sink, [live_prediction(float(end)) for end in range(1, 131)], clock)
    records = read(path)
    healths = [record for record in records if record["type"] == "health"]
    assert [record["time"] for record in healths] == [
        "2026-11-21T16:00:58.000Z", "2026-11-21T16:01:58.000Z", "2026-11-21T16:02:08.000Z",
    ]  # fmt: skip
    assert [record["type"] for record in records[-2:]] == ["health", "summary"]
    assert list(healths[0]) == [
        "schema", "type", "source", "time", "devices", "n_dropped_windows", "n_waiting_windows", "engine_problem",
        "offset_seconds", "latency_seconds",
    ]  # fmt: skip
    assert healths[0]["latency_seconds"] == {"p50": 0.004, "p95": 0.004, "p99": 0.004, "n": 60}
    assert healths[0]["devices"][0] == {
        "device": "microphone",
        "name": "USB Microphone",
        "state": "running",
        "seconds": 70.0,
        "lost_seconds": None,
        "problem": None,
        "n_losses": 0,
        "details": "44.1 kHz · 1 channel",
        "drift_ppm": 12.4,
        "level_dbfs": -31.6,
        "frame_rate": None,
        "delay_seconds": 0.021,
    }


def test_the_summary_of_a_live_stream_has_the_losses(tmp_path):
    path = tmp_path / "live.jsonl"
    clock = HandClock()
    stats = StreamStats("mic 0", clock=clock.monotonic)
    sink = open_sink(str(path), live=True, clock=clock)
    sink.begin(make_live_info(), stats)
    gone = lost(make_camera(), clock.now, problem="no picture for 2 s")
    stats.health(make_health(devices=(make_microphone(), gone)))
    stats.dropped(3)
    clock.go_on(4.5)
    sink.end(stats.summary(), None)
    sink.close()
    (summary,) = read(path)
    assert (summary["n_dropped_windows"], summary["n_losses"]) == (3, 1)
    assert summary["device_lost_seconds"] == {"camera": 4.5}
    assert [device["lost_seconds"] for device in summary["devices"]] == [None, 4.5]
    assert summary["devices"][1]["problem"] == "no picture for 2 s"


def test_a_table_is_continued_without_a_second_header(tmp_path):
    path = tmp_path / "live.csv"
    for end in (1.0, 2.0):
        run(open_sink(str(path), live=True), [live_prediction(end)])
    rows = table(path)
    assert [row["end"] for row in rows] == ["1.000000", "2.000000"]


def test_a_table_of_another_bundle_is_not_continued(tmp_path):
    path = tmp_path / "live.csv"
    run(open_sink(str(path), live=True), [live_prediction(1.0)])
    before = path.read_text()
    with pytest.raises(OutputError, match=r"live\.csv: expected a file to continue that begins with 'source,time,"):
        run(open_sink(str(path), live=True), [live_prediction(1.0, "harbour", labels=("harbour", "quay"))])
    assert path.read_text() == before


def test_every_rotated_table_has_its_header(tmp_path):
    clock = HandClock()
    sink = open_sink(str(tmp_path / "live.csv"), live=True, rotate_seconds=60.0, clock=clock)
    run(sink, [live_prediction(float(end)) for end in range(1, 70)], clock)
    tables = {path.name: table(path) for path in tmp_path.iterdir()}
    assert {name: len(rows) for name, rows in tables.items()} == {
        "live.2026-11-21T15-59-00Z.csv": 2, "live.2026-11-21T16-00-00Z.csv": 60, "live.csv": 7,
    }  # fmt: skip
    assert all(row["label"] == "park" for rows in tables.values() for row in rows)


@pytest.mark.parametrize("name", ["live.vtt", "live.srt", "live.txt"])
def test_a_caption_is_written_when_its_interval_has_ended(tmp_path, name):
    path = tmp_path / name
    sink = open_sink(str(path), live=True, clock=HandClock())
    sink.begin(make_live_info(), StreamStats("mic 0"))
    begin = path.read_text()
    assert begin == ("WEBVTT\n\n" if name == "live.vtt" else "")
    sink.emit(live_prediction(1.0, "bus"))
    sink.emit(live_prediction(2.0, "bus"))
    assert path.read_text() == begin
    sink.emit(live_prediction(3.0, "park"))
    assert path.read_text().count("bus 0.80") == 1
    assert "park" not in path.read_text()
    sink.close()
    assert "park 0.80" in path.read_text()


def test_captions_of_an_earlier_run_are_set_aside(tmp_path):
    path = tmp_path / "live.srt"
    path.write_text("1\n00:00:00,000 --> 00:00:01,000\nbus 0.80\n\n")
    os.utime(path, (0, 0))
    run(open_sink(str(path), live=True, clock=HandClock()), [live_prediction(1.0)])
    assert "bus" in (tmp_path / "live.1970-01-01T00-00-00Z.srt").read_text()
    assert path.read_text().startswith("1\n00:00:00,000 --> 00:00:01,000\npark")


def test_rotated_captions_are_numbered_anew(tmp_path):
    clock = HandClock()
    sink = open_sink(str(tmp_path / "live.srt"), live=True, rotate_seconds=3600.0, clock=clock)
    run(sink, [live_prediction(float(end), LABELS[end % 2]) for end in range(1, 7)], clock)
    first = (tmp_path / "live.2026-11-21T15-00-00Z.srt").read_text()
    assert [first.split("\n\n")[0][0], first.count("-->")] == ["1", 1]
    assert (tmp_path / "live.srt").read_text().startswith("1\n00:00:01,000 --> 00:00:02,000\n")


def test_all_files_are_reopened_together(tmp_path):
    targets = [tmp_path / name for name in ("a.jsonl", "a.csv", "a.vtt", "a.log")]
    sinks = [open_sink(str(path), "lines" if path.suffix == ".log" else None, live=True) for path in targets]
    group = SinkGroup(sinks)
    group.begin(make_live_info(), StreamStats("mic 0"))
    group.emit(live_prediction(1.0, "bus"))
    for path in targets:
        path.rename(path.with_name(path.name + ".1"))
    group.reopen()
    group.emit(live_prediction(2.0, "park"))
    group.tick(make_health(), None)
    group.close()
    assert all("bus,scene" not in path.read_text() and "bus  " not in path.read_text() for path in targets)
    assert [record["label"] for record in read(targets[0])] == ["park"]
    assert all("park" in path.read_text() for path in targets)
    assert (tmp_path / "a.vtt").read_text().startswith("WEBVTT\n\n")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 2


def test_a_live_line_begins_with_the_time_of_day(capsys, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        sink = open_sink("-", "lines", live=True, clock=HandClock())
        sink.begin(make_live_info(), StreamStats("mic 0"))
        sink.emit(live_prediction(5.0))
        sink.emit(live_prediction(5.2, step=0.2, degraded=True, lost={"camera": 12.4}))
        sink.event(StreamEvent(5.0, "device_lost", "camera lost: no picture for 2 s"))
        sink.close()
    finally:
        monkeypatch.undo()
        time.tzset()
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "21:29:05.2  park              80 %",
        "21:29:05.2  park              80 %  degraded (camera lost 12 s)",
    ]
    assert printed.err == "21:29:58: camera lost: no picture for 2 s\n"


@pytest.mark.parametrize(
    ("lost_devices", "lost_seconds", "text"),
    [
        ({"camera": 0.4}, 0.0, "camera lost 0 s"),
        ({"camera": 59.4}, 0.25, "camera lost 59 s, 0.25 s lost"),
        ({"microphone": 125.0}, 1.0, "microphone lost 2:05"),
        ({"microphone": 3723.0, "camera": 60.0}, 1.0, "microphone lost 1:02:03, camera lost 1:00"),
        ({"source": 59.6}, 1.0, "source lost 1:00"),
        ({}, 0.25, "0.25 s lost"),
    ],
)
def test_what_a_live_window_lacked(lost_devices, lost_seconds, text):
    prediction = make_prediction(1.0, degraded=True, lost=lost_devices, lost_seconds=lost_seconds)
    assert describe_degraded(prediction) == text


SCORES = {"bus": 0.7, "metro": 0.05, "park": 0.05, "tram": 0.2}


@pytest.mark.parametrize(
    ("top", "min_score", "told"),
    [
        (None, None, ["bus", "metro", "park", "tram"]),
        (1, None, ["bus"]),
        (2, None, ["bus", "tram"]),
        (3, None, ["bus", "metro", "tram"]),
        (9, 0.05, ["bus", "metro", "park", "tram"]),
        (None, 0.2, ["bus", "tram"]),
        (1, 0.9, []),
    ],
)
def test_which_scenes_are_told(tmp_path, top, min_score, told):
    prediction = replace(make_prediction(1.0, "bus"), scores=SCORES, raw_scores=SCORES)
    assert list(Selection(top, min_score).scores(prediction)) == told
    for name in ("a.jsonl", "a.csv"):
        run(open_sink(str(tmp_path / name), live=True, top=top, min_score=min_score), [prediction])
    record = read(tmp_path / "a.jsonl")[0]
    assert (list(record["scores"]), list(record["raw_scores"])) == (told, told)
    assert record["label"] == "bus"
    (row,) = table(tmp_path / "a.csv")
    assert {name[6:]: value != "" for name, value in row.items() if name.startswith("score_")} == {
        label: label in told for label in SCORES
    }


@pytest.mark.parametrize(("top", "min_score"), [(0, None), (-1, None), (None, -0.1), (None, 1.1), (None, float("nan"))])
def test_a_selection_that_cannot_be(top, min_score):
    with pytest.raises(UsageError, match="expected"):
        open_sink("-", "jsonl", top=top, min_score=min_score)


def test_a_line_tells_the_best_where_that_is_asked():
    prediction = replace(make_prediction(1.0, "bus", 0.7), scores=SCORES)
    assert to_line(prediction, 1, Selection(3).scores(prediction)) == (
        "     1.0 s  bus               70 %  tram 20 %, metro 5 %\n"
    )


def test_a_sink_that_does_not_care_takes_ticks():
    sink = open_sink("-", "lines")
    sink.tick(make_health())
    sink.reopen()
    sink.close()
