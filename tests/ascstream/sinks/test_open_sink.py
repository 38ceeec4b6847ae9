"""`open_sink` and `check_targets`: formats by name, and what is refused before anything is decoded."""

import os
import re

import pytest
from support.predictions import feed, make_info, make_prediction

from ascstream.errors import OutputError, UsageError
from ascstream.sinks import check_targets, format_of, formats, open_sink
from ascstream.sinks.captions import CaptionSink
from ascstream.sinks.console import LinesSink
from ascstream.sinks.csvfile import CsvSink
from ascstream.sinks.jsonl import JsonlSink
from ascstream.sinks.output import stem_of


def test_the_formats_there_are():
    assert formats() == ("audacity", "csv", "jsonl", "lines", "srt", "view", "vtt")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl", JsonlSink),
        ("a.csv", CsvSink),
        ("a.VTT", CaptionSink),
        ("a.srt", CaptionSink),
        ("a.txt", CaptionSink),
    ],
)
def test_the_extension_names_the_format(tmp_path, name, kind):
    assert isinstance(open_sink(str(tmp_path / name)), kind)
    assert list(tmp_path.iterdir()) == []


def test_a_format_may_be_asked_for(tmp_path):
    assert isinstance(open_sink(str(tmp_path / "results"), "jsonl"), JsonlSink)
    assert isinstance(open_sink(str(tmp_path / "results.vtt"), "lines"), LinesSink)


def test_standard_output_gets_lines_where_it_is_no_terminal(capsys):
    assert format_of("-") == "lines"
    assert isinstance(open_sink("-"), LinesSink)


@pytest.mark.parametrize(
    ("target", "format", "message"),
    [
        ("a.json", None, "expected a name that ends in one of .csv, .jsonl, .srt, .txt, .vtt, got .json; try a.jsonl"),
        ("results", None, "results: expected a name that ends in one of .csv, .jsonl, .srt, .txt, .vtt, got none"),
        ("a.csv", "xml", "format: expected one of audacity, csv, jsonl, lines, srt, view, vtt, got 'xml'"),
        ("a.csv", "view", "a.csv: the view is drawn on a terminal, not into a file; try --format lines"),
    ],
)
def test_a_format_that_cannot_be_is_refused(target, format, message):  # noqa: A002
    with pytest.raises(UsageError, match=re.escape(message)):
        open_sink(target, format)


def test_captions_of_several_inputs_need_a_stem(tmp_path):
    with pytest.raises(UsageError, match=r"captions belong to one input, got several; expected \{stem\} in the path"):
        open_sink(str(tmp_path / "all.vtt"), inputs=["a.wav", "b.wav"])
    with pytest.raises(UsageError, match="captions belong to one input"):
        open_sink("-", "srt", inputs=["a.wav", "b.wav"])
    open_sink(str(tmp_path / "all.jsonl"), inputs=["a.wav", "b.wav"])
    open_sink(str(tmp_path / "{stem}.vtt"), inputs=["a.wav", "b.wav"])


def test_two_inputs_with_one_stem_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"clip\.vtt: the results of both a/clip\.wav and b/clip\.mp4 would go into"):
        open_sink(str(tmp_path / "{stem}.vtt"), inputs=["a/clip.wav", "b/clip.mp4"])


def test_two_inputs_with_one_stem_are_refused_where_they_show_late(tmp_path):
    sink = open_sink(str(tmp_path / "{stem}.csv"))
    feed(sink, [make_prediction(1.0)], make_info("a/clip.wav"))
    with pytest.raises(UsageError, match="the results of both"):
        feed(sink, [make_prediction(2.0)], make_info("b/clip.wav"))
    sink.close()
    assert (tmp_path / "clip.csv").read_text().count("\n") == 2


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("-", "stdin"),
        ("dir.d/park.walk.mp4", "park.walk"),
        ("rtsp://user:word@cam.local:554/live/main.sdp?x=1", "main"),
        ("http://cam.local", "cam.local"),
        ("/", "stream"),
    ],
)
def test_what_replaces_the_stem(source, stem):
    assert stem_of(source) == stem


def test_other_braces_stay(tmp_path):
    sink = open_sink(str(tmp_path / "{0}{stem}{x}.csv"), inputs=["a.wav"])
    feed(sink, [make_prediction(1.0)], make_info("a.wav"))
    sink.close()
    assert (tmp_path / "{0}a{x}.csv").exists()


def test_a_missing_folder_is_named_with_what_to_type(tmp_path):
    folder = tmp_path / "not" / "there"
    with pytest.raises(OutputError, match=rf"a\.csv: there is no folder {folder}; try: mkdir -p {folder}$"):
        open_sink(str(folder / "a.csv"))
    with pytest.raises(OutputError, match=r"a\.csv: there is no folder .*; try: mkdir -p "):
        open_sink(str(tmp_path / "{stem}" / "a.csv"), inputs=["x.wav"])


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "results.csv").mkdir()
    with pytest.raises(OutputError, match="expected a file for the results, got a folder"):
        open_sink(str(tmp_path / "results.csv"))


def test_a_folder_without_permission_is_refused(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match=r"Permission denied: the folder .* is not writable"):
        open_sink(str(tmp_path / "a.csv"))


def test_a_folder_of_the_kernel_is_not_writable():
    with pytest.raises(OutputError, match=r"^/proc/self/fdinfo/results\.csv: "):
        feed(open_sink("/proc/self/fdinfo/results.csv"), [make_prediction(1.0)])


def test_an_output_named_twice_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    with pytest.raises(UsageError, match=r"expected every output once, got .*a\.csv twice"):
        check_targets([str(path), "b.csv", f"{tmp_path}/./a.csv"], ["x.wav"])
    with pytest.raises(UsageError, match="expected every output once, got - twice"):
        check_targets(["-", "-"], ["x.wav"])
    with pytest.raises(UsageError, match="expected every output once"):
        check_targets([str(tmp_path / "{stem}.csv"), str(tmp_path / "x.csv")], ["x.wav"])
    check_targets(["-", str(path), str(tmp_path / "{stem}.csv")], ["x.wav"])


def test_an_output_that_is_an_input_is_refused(tmp_path):
    clip = tmp_path / "talk.txt"
    clip.write_text("…")
    link = tmp_path / "other.txt"
    link.symlink_to(clip)
    for target in (clip, link, tmp_path / "{stem}.txt"):
        with pytest.raises(UsageError, match="is an input as well, and would be overwritten"):
            check_targets([str(target)], [str(clip)])
    check_targets([str(tmp_path / "new.txt")], [str(clip), "-", "rtsp://cam/x"])
