"""CSV: the columns, one header, several inputs; read back by `csv`."""

import csv
import math
from pathlib import Path

from support.predictions import LABELS, feed, make_info, make_prediction

from ascstream.sinks import open_sink

FIXED = [
    "source", "time", "start", "end", "label", "level", "reason", "score", "modalities", "degraded", "lost_seconds",
    "padded_seconds", "latency_seconds",
]  # fmt: skip


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def test_every_window_is_a_row_with_a_score_a_label(tmp_path):
    path = tmp_path / "scenes.csv"
    sink = open_sink(str(path))
    predictions = [
        make_prediction(1.0, "bus", 0.75, degraded=True, padded_seconds=0.4, modalities=("audio", "video")),
        make_prediction(1.25, "unknown", 0.4, level="unknown", step=0.25),
    ]
    feed(sink, predictions)
    sink.close()
    first, second = read_rows(path)
    assert list(first) == [*FIXED, *(f"score_{label}" for label in LABELS)]
    assert (first["source"], first["time"], first["start"], first["end"]) == ("clip.mp4", "", "0.000000", "1.000000")
    assert (first["label"], first["level"], first["reason"], first["score"]) == ("bus", "scene", "", "0.750000")
    assert (first["modalities"], first["degraded"], first["padded_seconds"]) == ("audio+video", "1", "0.400000")
    assert float(first["score_bus"]) == 0.75
    assert math.isclose(sum(float(first[f"score_{label}"]) for label in LABELS), 1.0, abs_tol=1e-5)
    assert (second["start"], second["end"], second["reason"]) == ("0.250000", "1.250000", "low_confidence")


def test_several_inputs_share_one_header(tmp_path):
    path = tmp_path / "all.csv"
    names = ["a,b.wav", 'say "hi".wav', "two\nlines.wav"]
    sink = open_sink(str(path), inputs=names)
    for name in names:
        feed(sink, [make_prediction(1.0, source=name), make_prediction(2.0, source=name)], make_info(name))
    sink.close()
    rows = read_rows(path)
    assert [row["source"] for row in rows] == [name for name in names for _ in range(2)]
    assert path.read_text().count("latency_seconds") == 1


def test_a_file_an_input_has_a_header_each(tmp_path):
    sink = open_sink(str(tmp_path / "{stem}.csv"), inputs=["a.wav", "b.wav"])
    for name in ("a.wav", "b.wav"):
        feed(sink, [make_prediction(1.0, source=name)], make_info(name))
        assert (tmp_path / name).with_suffix(".csv").exists(), "placed as soon as its input is over"
    sink.close()
    assert [len(read_rows(tmp_path / f"{stem}.csv")) for stem in "ab"] == [1, 1]


def test_what_is_not_finite_is_an_empty_cell(tmp_path):
    path = tmp_path / "nan.csv"
    sink = open_sink(str(path))
    feed(sink, [make_prediction(1.0, score=math.nan)])
    sink.close()
    assert read_rows(path)[0]["score"] == ""
