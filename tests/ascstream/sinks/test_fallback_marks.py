"""Where ONNX Runtime judged a window because TensorRT had failed, every output for people and programs says so."""

from __future__ import annotations

import io

from rich.console import Console
from support.predictions import make_info, make_prediction

from ascstream.sinks.console import to_line
from ascstream.sinks.drawing import Legend
from ascstream.sinks.jsonl import prediction_record
from ascstream.sinks.live_picture import LivePicture
from ascstream.sinks.parts import Canvas
from ascstream.sinks.picture import Picture
from ascstream.stats import StreamStats

WHY = "scene: the GPU failed (CUDA error 700)"


def test_json_lines_have_the_reason_where_there_is_one() -> None:
    assert prediction_record(make_prediction(1.0, fallback=WHY))["fallback"] == WHY
    assert "fallback" not in prediction_record(make_prediction(1.0))


def test_a_line_says_it_at_its_end() -> None:
    assert to_line(make_prediction(1.0, fallback=WHY)).endswith(" %  fallback (ONNX Runtime)\n")
    assert "fallback" not in to_line(make_prediction(1.0))


def drawn(picture: Picture | LivePicture) -> str:
    console = Console(file=io.StringIO(), width=100, height=30)
    canvas = Canvas(100, 30, many_colours=True)
    if isinstance(picture, LivePicture):
        return "\n".join(row.plain for row in picture.draw(canvas, 1.0))
    console.print(picture.draw(canvas, 1.0))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_view_of_a_file_says_it_while_it_lasts() -> None:
    picture = Picture(make_info(), StreamStats("clip.mp4"), Legend())
    picture.add(make_prediction(1.0))
    assert "ONNX" not in drawn(picture)
    picture.add(make_prediction(2.0, fallback=WHY))
    assert "fallback: ONNX Runtime" in drawn(picture)


def test_the_live_view_says_it_and_why() -> None:
    picture = LivePicture(make_info(), StreamStats("live"), Legend())
    picture.add(make_prediction(1.0), 0.5)
    assert "ONNX" not in drawn(picture)
    picture.add(make_prediction(2.0, fallback=f"{WHY}\x1b[2J"), 0.6)
    assert f"! fallback to ONNX Runtime: {WHY}\N{REPLACEMENT CHARACTER}[2J" in drawn(picture)
