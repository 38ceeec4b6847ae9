"""Lines for people: what they say, and where events go."""

import io

from support.predictions import feed, make_info, make_prediction

from ascstream.records import StreamEvent
from ascstream.sinks.console import LinesSink, to_line
from ascstream.stats import StreamStats


def test_a_line_says_when_what_and_how_sure():
    assert to_line(make_prediction(12.0, "street_traffic", 0.87)) == "    12.0 s  street_traffic    87 %\n"


def test_a_line_says_what_was_missing():
    line = to_line(make_prediction(2.0, degraded=True, lost_seconds=0.25, padded_seconds=0.5))
    assert line == "     2.0 s  park              80 %  degraded (0.25 s lost, 0.50 s padded)\n"
    assert to_line(make_prediction(2.0, degraded=True)).endswith("degraded (no picture)\n")
    assert to_line(make_prediction(2.0, degraded=True, modalities=("video",))).endswith("degraded (no sound)\n")
    nothing = make_prediction(2.0, "unknown", level="unknown", degraded=True, modalities=(), reason="camera_lost")
    assert to_line(nothing).endswith("unknown                 camera lost  degraded (nothing heard or seen)\n")


def test_an_unknown_line_says_why_and_what_came_closest():
    labels = ("bus", "park", "tram")
    prediction = make_prediction(3.0, "park", 0.41, labels=labels)
    unknown = make_prediction(3.0, "unknown", 0.41, level="unknown", labels=labels, scores=prediction.scores)
    assert to_line(unknown).endswith("low confidence, best: park 41 %\n")


def test_decimals_follow_the_step_and_stay(capsys):
    sink = LinesSink()
    feed(sink, [make_prediction(1.0), make_prediction(1.25, step=0.25), make_prediction(1.5, step=0.25)])
    starts = [line.split(" s ")[0] for line in capsys.readouterr().out.splitlines()]
    assert starts == ["     1.0", "     1.25", "     1.50"]


def test_several_inputs_get_headings(capsys):
    sink = LinesSink(headings=True)
    for name in ("a.wav", "b\x1b[31m.wav"):
        feed(sink, [make_prediction(1.0)], make_info(name))
    sink.close()
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("==>")] == ["==> a.wav <==", "==> b\ufffd[31m.wav <=="]


def test_events_go_to_the_notes(capsys):
    notes = io.StringIO()
    sink = LinesSink(notes=notes)
    sink.begin(make_info(), StreamStats("clip.mp4"))
    sink.event(StreamEvent(12.34, "gap", "0.35 s of sound never came", 0.35))
    assert notes.getvalue() == "clip.mp4: 12.3 s: 0.35 s of sound never came\n"
    assert capsys.readouterr().out == ""


def test_lines_are_ascii_and_may_go_to_a_file(tmp_path):
    path = tmp_path / "lines.log"
    sink = LinesSink(str(path))
    feed(sink, [make_prediction(1.0), make_prediction(2.0, "unknown", level="unknown", degraded=True)])
    sink.close()
    assert path.read_bytes().isascii()
    assert len(path.read_text().splitlines()) == 2


def test_what_lasts_is_said_where_it_begins_and_where_it_ends(capsys):
    deaf, blind = {"degraded": True, "modalities": ("video",)}, {"degraded": True, "modalities": ("audio",)}
    sink = LinesSink()
    feed(
        sink,
        [
            make_prediction(1.0, **blind),
            make_prediction(2.0, **blind),
            make_prediction(3.0, **blind, lost_seconds=0.25),
            make_prediction(4.0, **blind, lost_seconds=0.25),
            make_prediction(5.0, **blind),
            make_prediction(6.0, **deaf),
            make_prediction(7.0, modalities=("audio", "video")),
            make_prediction(8.0, modalities=("audio", "video")),
        ],
    )
    feed(sink, [make_prediction(1.0, **blind)], make_info("next.mp4"))
    remarks = [line.partition(" %")[2].strip() for line in capsys.readouterr().out.splitlines()]
    assert remarks == [
        "degraded (no picture)",
        "",
        "degraded (0.25 s lost)",
        "degraded (0.25 s lost)",
        "",
        "degraded (no sound)",
        "whole again",
        "",
        "degraded (no picture)",
    ]
