"""Captions: WebVTT, SRT and Audacity labels, read back by FFmpeg, by two packages and by the grammars themselves."""

import re
import subprocess
from itertools import pairwise
from pathlib import Path

import av
import pytest
import srt
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st
from support.predictions import feed, make_info, make_prediction

from ascstream.errors import UsageError
from ascstream.intervals import Interval
from ascstream.records import Prediction
from ascstream.sinks import open_sink
from ascstream.sinks.captions import srt_cue, vtt_cue
from ascstream.stats import StreamStats

CUE = re.compile(
    r"(?P<start>\d{2,}:[0-5]\d:[0-5]\d\.\d{3}) --> (?P<end>\d{2,}:[0-5]\d:[0-5]\d\.\d{3})\n"
    r"(?P<text>(?:[^<&\r\n]|&amp;|&lt;|&gt;)+)\n"
)
STREET_TO_PARK = [make_prediction(end, "street_traffic" if end <= 10 else "park", 0.87) for end in range(1, 21)]


def seconds(stamp: str) -> float:
    hours, minutes, rest = stamp.replace(",", ".").split(":")
    return round(int(hours) * 3600 + int(minutes) * 60 + float(rest), 3)


def parse_strictly(text: str) -> list[tuple[float, float, str]]:
    """The grammar of WebVTT as far as we use it, with nothing left over."""
    head, _, body = text.partition("\n\n")
    assert head == "WEBVTT"
    blocks = body.split("\n\n")
    assert blocks.pop() == ""
    found = []
    for block in blocks:
        match = CUE.fullmatch(block + "\n")
        assert match is not None, block
        found.append((seconds(match["start"]), seconds(match["end"]), match["text"]))
    for start, end, _text in found:
        assert start < end
    for (_, end, _), (start, _, _) in pairwise(found):
        assert end <= start
    return found


def write(tmp_path: Path, name: str, predictions: list[Prediction]) -> Path:
    path = tmp_path / name
    sink = open_sink(str(path))
    feed(sink, predictions)
    sink.close()
    return path


def test_webvtt_holds_the_merged_intervals(tmp_path):
    path = write(tmp_path, "scenes.vtt", STREET_TO_PARK)
    expected = [(0.0, 10.0, "street_traffic 0.87"), (10.0, 20.0, "park 0.87")]
    assert parse_strictly(path.read_text()) == expected
    captions = webvtt.read(str(path))
    assert [(seconds(cue.start), seconds(cue.end), cue.text) for cue in captions.captions] == expected


def test_srt_holds_the_merged_intervals(tmp_path):
    path = write(tmp_path, "scenes.srt", STREET_TO_PARK)
    cues = list(srt.parse(path.read_text(), ignore_errors=False))
    assert [(cue.index, cue.start.total_seconds(), cue.end.total_seconds(), cue.content) for cue in cues] == [
        (1, 0.0, 10.0, "street_traffic 0.87"),
        (2, 10.0, 20.0, "park 0.87"),
    ]


def test_audacity_labels_are_three_columns_of_tabs(tmp_path):
    path = write(tmp_path, "labels.txt", STREET_TO_PARK)
    assert path.read_text() == "0.000000\t10.000000\tstreet_traffic 0.87\n10.000000\t20.000000\tpark 0.87\n"


@pytest.mark.parametrize("extension", ["vtt", "srt"])
def test_ffmpeg_reads_the_captions_without_a_complaint(tmp_path, extension):
    path = write(tmp_path, f"scenes.{extension}", STREET_TO_PARK)
    command = ["ffmpeg", "-v", "warning", "-xerror", "-i", path, "-map", "0:s", "-f", "webvtt", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall("[a-z].*", done.stdout) == ["street_traffic 0.87", "park 0.87"]
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux() if packet.pts is not None]
    times = [(float(packet.pts * packet.time_base), float(packet.duration * packet.time_base)) for packet in packets]
    assert times == [(0.0, 10.0), (10.0, 10.0)]


def test_time_without_an_answer_is_a_cue_without_a_number(tmp_path):
    predictions = [make_prediction(1.0), make_prediction(2.0, "unknown", 0.4, level="unknown"), make_prediction(3.0)]
    path = write(tmp_path, "scenes.vtt", predictions)
    assert [text for _, _, text in parse_strictly(path.read_text())] == ["park 0.80", "unknown", "park 0.80"]


def test_groups_and_letters_that_mean_something_in_webvtt(tmp_path):
    labels = ("a<b>&c", "park")
    path = write(tmp_path, "scenes.vtt", [make_prediction(1.0, "a<b>&c", 0.9, labels=labels)])
    assert parse_strictly(path.read_text()) == [(0.0, 1.0, "a&lt;b&gt;&amp;c 0.90")]


def test_stamps_beyond_an_hour_and_beyond_a_hundred():
    late = Interval(3599.9996, 100 * 3600.0, "park", "scene", 0.5)
    assert vtt_cue(late, 1) == "01:00:00.000 --> 100:00:00.000\npark 0.50\n\n"
    assert srt_cue(late, 7) == "7\n01:00:00,000 --> 100:00:00,000\npark 0.50\n\n"


def test_what_is_shorter_than_a_millisecond_has_no_cue():
    assert vtt_cue(Interval(1.0, 1.0004, "park", "scene", 0.5), 1) == ""
    assert srt_cue(Interval(1.0, 1.0004, "park", "scene", 0.5), 1) == ""


@pytest.mark.parametrize("extension", ["vtt", "srt", "txt"])
def test_the_open_interval_is_kept_after_an_interrupt(tmp_path, extension):
    path = tmp_path / f"scenes.{extension}"
    sink = open_sink(str(path))
    sink.begin(make_info(), StreamStats("clip.mp4"))
    sink.emit(make_prediction(1.0))
    sink.emit(make_prediction(2.0))
    assert not path.exists()
    sink.close()
    sink.close()
    assert "park 0.80" in path.read_text()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_second_input_needs_a_stem(tmp_path):
    sink = open_sink(str(tmp_path / "scenes.vtt"))
    feed(sink, [make_prediction(1.0)])
    with pytest.raises(UsageError, match=r"captions belong to one input.*\{stem\}\.vtt"):
        feed(sink, [make_prediction(1.0)], make_info("b.wav"))
    sink.close()
    assert len(parse_strictly((tmp_path / "scenes.vtt").read_text())) == 1


def test_a_stem_gives_a_file_an_input_numbered_from_one(tmp_path):
    sink = open_sink(str(tmp_path / "{stem}.srt"), inputs=["x/a.wav", "b.wav"])
    for name in ("x/a.wav", "b.wav"):
        feed(sink, [make_prediction(1.0), make_prediction(2.0, "bus")], make_info(name))
    sink.close()
    for stem in "ab":
        assert [cue.index for cue in srt.parse((tmp_path / f"{stem}.srt").read_text())] == [1, 2]


@st.composite
def sequences(draw: st.DrawFn) -> list[Prediction]:
    """Predictions with any step and window, label flips, changes of level, and holes in time."""
    step = draw(st.sampled_from([0.04, 0.1, 0.25, 1 / 3, 1.0, 10.0]))
    window = draw(st.sampled_from([1.0, 10.0]))
    end, predictions = draw(st.floats(0, 10_000)) + window, []
    for index in range(draw(st.integers(1, 40))):
        added = step if index else window
        if index:
            end += step + draw(st.sampled_from([0.0, 0.0, 0.0, 0.5, 7.0]))
        label = draw(st.sampled_from(["park", "bus", "unknown"]))
        level = "unknown" if label == "unknown" else "scene"
        score = draw(st.floats(0, 1))
        predictions.append(make_prediction(end, label, score, step=added, window=window, level=level))
    return predictions


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(predictions=sequences())
def test_intervals_never_overlap_and_cover_what_was_decided(tmp_path_factory, predictions):
    folder = tmp_path_factory.mktemp("captions")
    decided = sum(
        prediction.end - max(prediction.end - prediction.step_seconds, before)
        for prediction, before in zip(predictions, [0.0, *(p.end for p in predictions)], strict=False)
    )
    cues = parse_strictly(write(folder, "a.vtt", predictions).read_text())
    assert abs(sum(end - start for start, end, _ in cues) - decided) <= 0.001 * (len(cues) + 1)
    for (_, end, text), (start, _, following) in pairwise(cues):
        assert end < start or text.split()[0] != following.split()[0], "neighbours with one answer are merged"
    parsed = list(srt.parse(write(folder, "a.srt", predictions).read_text(), ignore_errors=False))
    assert [(cue.start.total_seconds(), cue.end.total_seconds(), cue.content) for cue in parsed] == cues
    labels = [line.split("\t") for line in write(folder, "a.txt", predictions).read_text().splitlines()]
    assert len(labels) == len(cues)
    assert abs(sum(float(end) - float(start) for start, end, _ in labels) - decided) <= 1e-5 * len(labels)
    for (_, end, _), (start, _, _) in pairwise(labels):
        assert float(end) <= float(start)
