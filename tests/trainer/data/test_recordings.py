"""The list of recordings is checked row by row; scenes with too few recordings are left out."""

from __future__ import annotations

import tracemalloc
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.bad_files import tone, write_clip
from support.corpus import SCENES, scene_samples, write_corpus, write_list, write_wav

from trainer.config import DataConfig
from trainer.data.audio import decode, load_responses
from trainer.data.recordings import Recording, load_corpus
from trainer.errors import DataError


def test_a_list_becomes_a_corpus(tmp_path: Path) -> None:
    write_corpus(tmp_path, n_recordings=2, seconds=1.0)
    corpus = load_corpus(tmp_path, DataConfig(labels="labels.csv"))
    assert corpus.labels == SCENES
    assert corpus.targets() == [0, 0, 1, 1, 2, 2]
    assert [(item.file, item.source) for item in corpus.recordings[:2]] == [
        ("south/hiss-0.wav", "south"),
        ("north/hiss-1.wav", "north"),
    ]
    assert [item.file for item in corpus.none] == ["south/white.wav"]
    assert corpus.left_out == ()


def test_a_scene_of_one_recording_is_left_out(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d", "e", "f"):
        write_wav(tmp_path / f"{name}.wav", np.zeros(100))
    rows = [("a.wav", "park"), ("b.wav", "park"), ("c.wav", "tram"), ("d.wav", "bus"), ("e.wav", "bus")]
    write_list(tmp_path / "labels.csv", rows, ("file", "scene_label"))
    corpus = load_corpus(tmp_path, DataConfig(labels="labels.csv"))
    assert corpus.labels == ("bus", "park")
    assert [item.file for item in corpus.left_out] == ["c.wav"]


def test_files_of_one_recording_count_once(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        write_wav(tmp_path / f"{name}.wav", np.zeros(100))
    rows = [("a.wav", "park", "p1"), ("b.wav", "park", "p1"), ("c.wav", "bus", "b1"), ("d.wav", "bus", "b2")]
    write_list(tmp_path / "labels.csv", rows, ("file", "scene_label", "recording"))
    with pytest.raises(DataError, match=r"expected at least two scenes with 2 recordings each, got bus 2, park 1"):
        load_corpus(tmp_path, DataConfig(labels="labels.csv"))


def test_a_folder_of_classes_becomes_a_corpus(tmp_path: Path) -> None:
    for scene in ("bus", "park"):
        for index in range(2):
            write_wav(tmp_path / "scenes" / scene / f"{index}.wav", np.zeros(100))
    corpus = load_corpus(tmp_path, DataConfig(labels="scenes"))
    assert [(item.file, item.label, item.source) for item in corpus.recordings] == [
        ("bus/0.wav", "bus", "scenes"),
        ("bus/1.wav", "bus", "scenes"),
        ("park/0.wav", "park", "scenes"),
        ("park/1.wav", "park", "scenes"),
    ]
    (tmp_path / "scenes" / "tram").mkdir()
    with pytest.raises(DataError, match="expected recordings of the scene 'tram', got an empty folder"):
        load_corpus(tmp_path, DataConfig(labels="scenes"))


@pytest.mark.parametrize(
    ("head", "rows", "message"),
    [
        (
            ("file", "scene_label"),
            [("../a.wav", "park")],
            "line 2: expected a path below the list's folder, got '../a.wav'",
        ),
        (
            ("file", "scene_label"),
            [("/a.wav", "park")],
            "line 2: expected a path below the list's folder, got '/a.wav'",
        ),
        (
            ("file", "scene_label", "video"),
            [("a.wav", "park", "b/../../a.mp4")],
            "expected a path below the list's folder, got 'b/../../a.mp4'; move the list up",
        ),
        (("path", "scene_label"), [("a.wav", "park")], "expected a column 'file', got path, scene_label"),
        (("file",), [("a.wav",)], "expected a column 'scene_label', got file"),
        ((), [], "expected at least two scenes with 2 recordings each, got no recordings"),
        (("file", "scene_label"), [("a.wav", "park"), ("x.wav", "park")], "line 3: expected a file at "),
        (
            ("file", "scene_label"),
            [("a.wav", "park"), ("a.wav", "park")],
            "line 3: expected each file once, got 'a.wav'",
        ),
        (("file", "scene_label"), [("a.wav", "")], "line 2: expected a file and its scene, got 'a.wav' and ''"),
        (
            ("file", "scene_label", "recording"),
            [("a.wav", "park", "one"), ("b.wav", "bus", "one")],
            "line 3: expected one scene for recording 'one', got 'bus' and 'park'",
        ),
    ],
)
def test_a_broken_list_is_named(
    tmp_path: Path, head: tuple[str, ...], rows: list[tuple[str, ...]], message: str
) -> None:
    for name in ("a.wav", "b.wav"):
        write_wav(tmp_path / name, np.zeros(10))
    write_list(tmp_path / "labels.csv", rows, head)
    with pytest.raises(DataError) as caught:
        load_corpus(tmp_path, DataConfig(labels="labels.csv"))
    assert message in str(caught.value)


@pytest.mark.parametrize("label", ["unknown", "pa\x1b[31mrk"])
def test_a_scene_that_no_bundle_may_have_is_refused_at_once(tmp_path: Path, label: str) -> None:
    for name in ("a", "b", "c", "d"):
        write_wav(tmp_path / f"{name}.wav", np.zeros(100))
    rows = [("a.wav", "bus"), ("b.wav", "bus"), ("c.wav", label), ("d.wav", label)]
    write_list(tmp_path / "labels.csv", rows, ("file", "scene_label"))
    with pytest.raises(DataError, match='expected scenes\' names of one line, and not "unknown", got '):
        load_corpus(tmp_path, DataConfig(labels="labels.csv"))


def test_a_long_recording_is_hashed_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    tracemalloc.start()
    found = Recording("long.wav", path, "park", "long.wav", "").sha256()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == "3b6a07d0d404fab4e23b6d34bc6696a6a312dd92821332385e5af7c01c421351"
    assert peak < 8 << 20


def test_a_missing_list_says_how_to_name_the_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a list of recordings, got: No such file.*--data FOLDER"):
        load_corpus(tmp_path, DataConfig(labels="labels.csv"))


def test_decoding_gives_the_samples_of_the_file(tmp_path: Path) -> None:
    samples = scene_samples("whistle", 1.5, 3)
    write_wav(tmp_path / "a.wav", samples)
    decoded = decode(tmp_path / "a.wav", 24_000)
    assert decoded.dtype == np.float32
    assert decoded.shape == samples.shape
    np.testing.assert_allclose(decoded, samples, atol=2 / 32767)


def test_a_recording_with_a_broken_part_is_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.m4a", samples=tone(8.0) * np.sin(np.arange(8 * 44_100) / 3e4).astype(np.float32))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\x55" * 3000 + data[len(data) // 2 + 3000 :])
    with pytest.raises(DataError, match=r"a\.m4a: expected a whole recording, got: .*sound"):
        decode(path, 44_100)


def test_sound_that_never_came_is_zeros_as_in_a_stream(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=24_000, layout="mono")
        for second in (0, 2):
            frame = av.AudioFrame.from_ndarray(np.full((1, 24_000), 8192, np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 24_000, second * 24_000, Fraction(1, 24_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    decoded = decode(tmp_path / "a.mkv", 24_000)
    assert decoded.size == pytest.approx(72_000, abs=48)
    assert [decoded[at] for at in (12_000, 36_000, 60_000)] == [0.25, 0.0, 0.25]


def test_what_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(DataError, match=r"text\.wav: expected a recording"):
        decode(tmp_path / "text.wav", 24_000)


def test_impulse_responses_have_unit_energy(tmp_path: Path) -> None:
    response = np.zeros(500)
    response[[0, 40]] = 0.5, -0.25
    write_wav(tmp_path / "mic.wav", response)
    with wave.open(str(tmp_path / "mic.wav")) as file:
        assert file.getframerate() == 24_000
    (loaded,) = load_responses(tmp_path, 24_000)
    assert np.square(loaded).sum() == pytest.approx(1.0, abs=1e-5)
    assert loaded[40] / loaded[0] == pytest.approx(-0.5, abs=1e-3)
    assert load_responses(None, 24_000) == []
    with pytest.raises(DataError, match=r"expected impulse responses as \.wav files, got none"):
        load_responses(tmp_path / "nowhere", 24_000)
