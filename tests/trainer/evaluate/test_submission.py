"""The challenge's table: what it looks like byte by byte, the way back, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.answers import LABELS, clip_entries, invent_answers

from trainer.errors import DataError
from trainer.evaluate.answers import Answers
from trainer.evaluate.metrics import softmax
from trainer.evaluate.protocol import gather_segments
from trainer.evaluate.submission import Submission, read_submission, submission_of, write_submission

ENTRIES = clip_entries()


def test_a_table_comes_back_as_it_was(tmp_path: Path) -> None:
    answers = invent_answers(ENTRIES, "evaluate")
    segments = gather_segments(answers, ENTRIES, LABELS, "here")
    written = submission_of(segments, LABELS, {"fused": 1.7}, ".wav.mp4")
    write_submission(tmp_path / "out/system.csv", written)
    read = read_submission(tmp_path / "out/system.csv")
    assert read.labels == LABELS
    assert read.names == written.names
    assert read.answers == written.answers
    np.testing.assert_array_equal(read.probabilities, written.probabilities)  # to the last bit
    np.testing.assert_array_equal(read.probabilities, softmax(answers.logits["whole"], 1.7))


def test_segments_are_named_by_clip_and_number(tmp_path: Path) -> None:
    clips = np.array([130, 130, 125, 130, 125])
    logits = np.log(np.tile([[0.5, 0.25, 0.25, *[1e-9] * 7]], (5, 1))).astype(np.float32)
    segments = gather_segments(Answers(clips, {"whole": logits}), ENTRIES, LABELS, "here")
    write_submission(tmp_path / "a.csv", submission_of(segments, LABELS, {"fused": 1.0}, ".wav"))
    lines = (tmp_path / "a.csv").read_bytes().split(b"\n")
    assert lines[0] == b"filename\tscene_label\t" + b"\t".join(label.encode() for label in LABELS)
    keys = [ENTRIES[130].key.encode(), ENTRIES[125].key.encode()]
    wanted = [keys[0] + b"_0.wav", keys[0] + b"_1.wav", keys[1] + b"_0.wav", keys[0] + b"_2.wav", keys[1] + b"_1.wav"]
    assert [line.split(b"\t")[0] for line in lines[1:-1]] == wanted
    assert all(line.split(b"\t")[1] == b"airport" for line in lines[1:-1])
    assert lines[-1] == b""


HEAD = "filename\tscene_label\tbus\ttram\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected filename, scene_label and two scenes or more in alphabetical order, tab-separated, got nothing"),
        ("filename,scene_label,bus,tram\n", "tab-separated, got filename,scene_label,bus,tram"),
        (
            "filename\tscene_label\ttram\tbus\n",
            "alphabetical order, tab-separated, got filename, scene_label, tram, bus",
        ),
        (HEAD + "a.wav\tbus\t0.5\n", ":2: expected 4 columns, got 3"),
        (
            HEAD + "a.wav\tbus\t0.6\t0.4\na.wav\tbus\t0.6\t0.4\n",
            ":3: expected each segment once, got a.wav as in line 2",
        ),
        (HEAD + "a.wav\tbus\thigh\tlow\n", ":2: expected probabilities, got something else"),
        (HEAD + "a.wav\tbus\tnan\t0.4\n", ":2: expected probabilities that sum to 1, got a sum of nan"),
        (HEAD + "a.wav\tbus\t0.6\t0.6\n", ":2: expected probabilities that sum to 1, got a sum of 1.2"),
        (HEAD + "a.wav\tpark\t0.6\t0.4\n", ":2: expected one of bus, tram, got 'park'"),
        (HEAD + "a.wav\ttram\t0.6\t0.4\n", ":2: expected bus, the likeliest, as its scene, got tram"),
        ("\x00\xff", "expected"),
    ],
)
def test_what_the_challenge_would_not_take_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match="a.csv.*" + message):
        read_submission(tmp_path / "a.csv")


def test_a_missing_table_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a submission, got: No such file"):
        read_submission(tmp_path / "a.csv")


def test_an_empty_set_of_segments_is_a_table_of_none(tmp_path: Path) -> None:
    write_submission(tmp_path / "a.csv", Submission(("bus", "tram"), (), (), np.zeros((0, 2))))
    assert read_submission(tmp_path / "a.csv").names == ()
