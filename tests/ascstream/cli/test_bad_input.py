"""Every kind of input that is broken or odd: one message, its exit code, nothing half-written."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support.bad_files import GREEN, cut, every, float_wav, rotated, tone, with_cover, write_clip
from support.commands import ascstream

Bundle = Callable[[str], Path]
TENTHS = every(Fraction(1, 10), Fraction(3))
SMALL = (64, 48)


@dataclass(frozen=True)
class Refused:
    """An input that gives nothing."""

    name: str
    make: Callable[[Path], object]
    """Makes it, in a folder."""
    message: str
    """All of stderr, a regular expression; INPUT stands for the path."""
    bundle: str = "mono_logmel"


REFUSED = {
    "missing": Refused("absent.wav", lambda _: None, r"no such file or folder: INPUT; check the path"),
    "folder without media": Refused(
        "notes",
        lambda folder: ((folder / "notes").mkdir(), (folder / "notes/readme.txt").touch()),
        r"no media files in the folder INPUT; expected \.wav, \.mp4, \.mkv, \.mp3 or the like",
    ),
    "glob without a match": Refused("*.flac", lambda _: None, r"no file matches INPUT; check the pattern"),
    "empty file": Refused(
        "empty.wav",
        lambda folder: (folder / "empty.wav").touch(),
        r"INPUT is empty \(0 bytes\); record or copy it again",
    ),
    "text renamed to mp4": Refused(
        "text.mp4",
        lambda folder: (folder / "text.mp4").write_text("Dear diary,\n" * 40),
        r"INPUT is not media that FFmpeg can read; expected sound or video such as \.wav or \.mp4",
    ),
    "mp4 without its moov": Refused(
        "cut.mp4",
        lambda folder: cut(write_clip(folder / "cut.mp4", samples=tone(3)), 0.6),
        r"INPUT is an incomplete MP4: its index \(moov\) is missing, as when a recording or a copy was broken off; "
        r"record or copy it again",
    ),
    "no sound, and the bundle only listens": Refused(
        "silent.mp4",
        lambda folder: write_clip(folder / "silent.mp4", picture=SMALL, frame_times=TENTHS),
        r"INPUT: expected a sound track, which is all that bundle 'mono_logmel' perceives, got a picture; "
        r"try another file, or another bundle with --bundle",
    ),
    "no picture, and the bundle only sees: a cover is none": Refused(
        "song.mp3",
        lambda folder: with_cover(write_clip(folder / "song.mp3", samples=tone(2), audio_codec="libmp3lame")),
        r"INPUT: expected a picture, which is all that bundle 'image_only' perceives, got a sound track; .*",
        "image_only",
    ),
    "0 s": Refused(
        "nothing.wav",
        lambda folder: float_wav(folder / "nothing.wav", tone(0)),
        r"INPUT holds 0 s that can be decoded; record or copy it again",
    ),
}


@pytest.mark.parametrize("row", REFUSED.values(), ids=REFUSED.keys())
def test_an_input_that_gives_nothing_is_refused(row: Refused, tmp_path: Path, bundle: Bundle) -> None:
    row.make(tmp_path)
    path = tmp_path / row.name
    results = tmp_path / "results"
    results.mkdir()
    outs = [word for name in ("r.jsonl", "r.srt", "r.csv") for word in ("--out", results / name)]
    done = ascstream("file", path, "--bundle", bundle(row.bundle), "--quiet", *outs)
    assert done.returncode == 3
    assert re.fullmatch(f"ascstream: {row.message}\n".replace("INPUT", re.escape(str(path))), done.stderr)
    assert done.stdout == ""
    assert list(results.iterdir()) == []


@dataclass(frozen=True)
class Odd:
    """An input that is unusual, and classified."""

    make: Callable[[Path], Path]
    """Makes it, in a folder."""
    ends: tuple[float, ...]
    """Ends of the windows."""
    bundle: str = "mono_logmel"
    labels: frozenset[str] = frozenset({"bus"})
    """What is found: the tone means a bus, and so does red; green means a park."""
    modalities: frozenset[str] = frozenset({"audio"})
    degraded: bool = False


BOTH = frozenset({"audio", "video"})
VFR = [Fraction(ms, 1000) for ms in (0, 33, 100, 400, 433, 900, 1000, 1300, 1400, 1950)]
ODD = {
    "no picture, and the bundle would see": Odd(
        lambda folder: write_clip(folder / "a.m4a", samples=tone(2)), (1, 2), "audio_visual", degraded=True
    ),
    "no sound, and the bundle would listen": Odd(
        lambda folder: write_clip(folder / "v.mp4", picture=SMALL, frame_times=TENTHS[:20]),
        (1, 2),
        "audio_visual",
        modalities=frozenset({"video"}),
        degraded=True,
    ),
    "8 kHz mono": Odd(lambda folder: float_wav(folder / "a.wav", tone(2, sample_rate=8000), 8000), (1, 2)),
    "96 kHz 5.1": Odd(
        lambda folder: write_clip(
            folder / "a.wav",
            samples=tone(2, sample_rate=96_000),
            sample_rate=96_000,
            layout="5.1",
            audio_codec="pcm_s24le",
        ),
        (1, 2),
    ),
    "32-bit float": Odd(lambda folder: float_wav(folder / "a.wav", tone(2)), (1, 2)),
    "mp3 with a cover": Odd(
        lambda folder: with_cover(write_clip(folder / "a.mp3", samples=tone(2), audio_codec="libmp3lame"), GREEN),
        (1, 2),
        "audio_visual",
        degraded=True,
    ),
    "variable frame rate": Odd(
        lambda folder: write_clip(folder / "a.mp4", samples=tone(2), picture=SMALL, frame_times=VFR),
        (1, 2),
        "audio_visual",
        modalities=BOTH,
    ),
    "rotated": Odd(
        lambda folder: rotated(
            write_clip(folder / "a.mp4", picture=SMALL, frame_times=TENTHS[:21], colour=GREEN), height=SMALL[1]
        ),
        (1, 2),
        "image_only",
        labels=frozenset({"park"}),
        modalities=frozenset({"video"}),
    ),
    "4K": Odd(
        lambda folder: write_clip(folder / "a.mp4", samples=tone(2), picture=(3840, 2160), frame_times=TENTHS[:20:2]),
        (1, 2),
        "audio_visual",
        modalities=BOTH,
    ),
    "1 × 1": Odd(
        lambda folder: write_clip(
            folder / "a.mov", samples=tone(2), picture=(1, 1), frame_times=TENTHS[:20], video_codec="png"
        ),
        (1, 2),
        "audio_visual",
        modalities=BOTH,
    ),
}


def predictions(text: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if line["type"] == "prediction"]


@pytest.mark.slow
@pytest.mark.parametrize("row", ODD.values(), ids=ODD.keys())
def test_an_odd_input_is_classified(row: Odd, tmp_path: Path, bundle: Bundle) -> None:
    words = ("--bundle", bundle(row.bundle), "--format", "jsonl", "--quiet", "--smoothing", 0)
    done = ascstream("file", row.make(tmp_path), *words)
    assert (done.returncode, done.stderr) == (0, "")
    found = predictions(done.stdout)
    assert tuple(line["end"] for line in found) == row.ends
    assert {line["label"] for line in found} == row.labels
    assert {name for line in found for name in line["modalities"]} == row.modalities  # type: ignore[attr-defined]
    assert {line["degraded"] for line in found} == {row.degraded}


def test_an_input_shorter_than_a_window_gives_one_padded_and_marked(tmp_path: Path, bundle: Bundle) -> None:
    path = float_wav(tmp_path / "short.wav", tone(0.3))
    done = ascstream("file", path, "--bundle", bundle("mono_logmel"), "--format", "jsonl", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    (only,) = predictions(done.stdout)
    assert (only["start"], only["end"], only["degraded"]) == (0.0, 1.0, True)
    assert only["padded_seconds"] == pytest.approx(0.7, abs=1e-3)


def test_samples_that_are_no_numbers_are_lost_and_never_reach_a_score(tmp_path: Path, bundle: Bundle) -> None:
    samples = tone(3)
    samples[50_000:52_000] = np.nan
    samples[100_000] = np.inf
    path = float_wav(tmp_path / "nan.wav", samples)
    done = ascstream("file", path, "--bundle", bundle("mono_logmel"), "--format", "jsonl", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert "NaN" not in done.stdout
    first, second, third = predictions(done.stdout)
    assert (first["lost_seconds"], first["degraded"]) == (0, False)
    assert second["degraded"] is True
    assert third["degraded"] is True
    assert second["lost_seconds"] >= 2000 / 44_100 - 1e-6  # type: ignore[operator]
    assert {line["label"] for line in (first, second, third)} == {"bus"}


CUT = {
    "wav": {"audio_codec": "pcm_s16le"},
    "mp4": {"options": {"movflags": "faststart"}},
    "mkv": {},
    "flac": {"audio_codec": "flac"},
}


@pytest.mark.slow
@pytest.mark.parametrize("suffix", CUT)
def test_what_decodes_of_a_cut_file_is_classified_and_the_rest_is_said(
    suffix: str, tmp_path: Path, bundle: Bundle
) -> None:
    path = cut(write_clip(tmp_path / f"cut.{suffix}", samples=tone(8), **CUT[suffix]), 0.6)  # type: ignore[arg-type]
    out = tmp_path / "cut.jsonl"
    done = ascstream("file", path, "--bundle", bundle("mono_logmel"), "--quiet", "--out", out)
    assert done.returncode == 3
    assert done.stderr.startswith(f"ascstream: {path}")
    found = predictions(out.read_text())
    assert [line["end"] for line in found][:4] == [1, 2, 3, 4]
    assert {line["label"] for line in found} == {"bus"}
    assert len(done.stdout.splitlines()) == len(found)


def test_one_broken_file_in_a_folder_does_not_cost_the_others(tmp_path: Path, bundle: Bundle) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in ("a.wav", "c.wav"):
        float_wav(folder / name, tone(2))
    (folder / "b.wav").write_bytes(b"RIFF, they said")
    out = tmp_path / "all.jsonl"
    done = ascstream("file", folder, tmp_path / "gone.wav", "--bundle", bundle("mono_logmel"), "--quiet", "--out", out)
    assert done.returncode == 3
    sentences = done.stderr.splitlines()
    assert sentences[0] == "ascstream: 2 of 4 inputs failed, the others are done:"
    assert sentences[1] == f"  no such file or folder: {tmp_path}/gone.wav; check the path"
    assert sentences[2].startswith(f"  {folder}/b.wav is not media that FFmpeg can read")
    assert len(sentences) == 3
    found = predictions(out.read_text())
    assert [(line["source"], line["end"]) for line in found] == [
        (str(folder / name), end) for name in ("a.wav", "c.wav") for end in (1, 2)
    ]


def rewrite(manifest: Path, change: Callable[[dict[str, object]], object]) -> None:
    data = json.loads(manifest.read_text())
    change(data)
    manifest.write_text(json.dumps(data))


def flip_a_bit(folder: Path) -> None:
    path = folder / "scene.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def take_anothergraph(folder: Path, graph: Path) -> None:
    data = graph.read_bytes()
    (folder / "scene.onnx").write_bytes(data)
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    rewrite(folder / "manifest.json", lambda manifest: manifest["files"].update({"scene.onnx": entry}))  # type: ignore[attr-defined]


BROKEN: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "wrong hash": (
        lambda folder, _: flip_a_bit(folder),
        r"FOLDER/scene\.onnx: expected sha256 [0-9a-f]{64}, got [0-9a-f]{64}: the file was altered; "
        r"get a fresh copy of the bundle, or name another one with --bundle FOLDER",
    ),
    "unknown schema": (
        lambda folder, _: rewrite(folder / "manifest.json", lambda manifest: manifest.update(schema=99)),
        r"FOLDER/manifest\.json: schema: expected 1, the only one this version reads, got 99; .*",
    ),
    "missing graph": (
        lambda folder, _: (folder / "scene.onnx").unlink(),
        r"FOLDER/scene\.onnx: .*",
    ),
    "a path that leaves the bundle": (
        lambda folder, _: rewrite(
            folder / "manifest.json",
            lambda manifest: manifest["graphs"][0]["files"].update(float32="../../etc/passwd"),  # type: ignore[index]
        ),
        r"FOLDER/manifest\.json: graphs\[0\]\.files\.float32: expected a file name inside the bundle, "
        r'got "\.\./\.\./etc/passwd"',
    ),
    "inputs that do not fit": (
        lambda folder, other: take_anothergraph(folder, other / "scene.onnx"),
        r"FOLDER: graph 'scene': the manifest says input logmel float32 \[n, 1, 64, 48\], the graph has .*",
    ),
    "not JSON": (
        lambda folder, _: (folder / "manifest.json").write_text("{"),
        r"FOLDER/manifest\.json: manifest: expected JSON, got something else .*",
    ),
    "no manifest": (
        lambda folder, _: (folder / "manifest.json").unlink(),
        r"FOLDER.*manifest\.json.*",
    ),
    "not there": (
        lambda folder, _: shutil.rmtree(folder),
        r"FOLDER: expected a folder with a manifest\.json, or a shipped bundle \(.*\), got neither",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_bundle_is_refused(name: str, tmp_path: Path, bundle: Bundle) -> None:
    break_it, message = BROKEN[name]
    folder = tmp_path / "broken"
    shutil.copytree(bundle("mono_logmel"), folder)
    break_it(folder, bundle("two_inputs"))
    clip = float_wav(tmp_path / "clip.wav", tone(2))
    out = tmp_path / "r.jsonl"
    done = ascstream("file", clip, "--bundle", folder, "--out", out)
    assert done.returncode == 4
    assert re.fullmatch(f"ascstream: {message}\n".replace("FOLDER", re.escape(str(folder)), 1), done.stderr)
    assert done.stdout == ""
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--step", "0"], "Invalid value for '--step': expected a duration in seconds, above 0, got '0'"),
        (["--step", "-1"], "Invalid value for '--step': expected a duration in seconds, above 0, got '-1'"),
        (["--step", "nan"], "Invalid value for '--step': expected a duration in seconds, above 0, got 'nan'"),
        (["--step", "2"], "step: expected 0.001 s to the window's 1 s, got 2; try --step 1"),
        (["--smoothing", "inf"], "Invalid value for '--smoothing': expected a duration in seconds, 0 (off) or more"),
        (["--scene-threshold", "2"], "Invalid value for '--scene-threshold': expected a probability, 0 to 1, got '2'"),
        (["--threads", "0"], "Invalid value for '--threads': expected a whole number of threads, 1 to 256, got '0'"),
        (["--start", "1:75"], "Invalid value for '--start': expected seconds or hh:mm:ss, got '1:75'"),
        (["--duration", "0"], "Invalid value for '--duration': expected seconds or hh:mm:ss, above 0, got '0'"),
        (["--out", "r.json"], "r.json: expected a name that ends in one of .csv, .jsonl, .srt, .txt, .vtt, got .json"),
        (["--out", "a.csv", "--out", "./a.csv"], "a.csv and ./a.csv: expected every output once, got "),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_is_decoded(
    words: list[str], message: str, tmp_path: Path, bundle: Bundle
) -> None:
    clip = float_wav(tmp_path / "clip.wav", tone(2))
    done = ascstream("file", clip, "--bundle", bundle("mono_logmel"), *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"ascstream: {message}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.wav"]


def test_captions_of_several_inputs_need_a_stem(tmp_path: Path, bundle: Bundle) -> None:
    clips = [float_wav(tmp_path / name, tone(2)) for name in ("a.wav", "b.wav")]
    done = ascstream("file", *clips, "--bundle", bundle("mono_logmel"), "--out", tmp_path / "s.srt")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"ascstream: {tmp_path}/s.srt: captions belong to one input, got several; "
        f'expected {{stem}} in the path, replaced for each; try "{tmp_path}/{{stem}}.srt"\n'
    )


def test_an_input_is_never_overwritten(tmp_path: Path, bundle: Bundle) -> None:
    clip = float_wav(tmp_path / "clip.csv", tone(2))
    before = clip.read_bytes()
    done = ascstream("file", clip, "--bundle", bundle("mono_logmel"), "--out", clip)
    assert done.returncode == 2
    assert done.stderr == f"ascstream: {clip}: is an input as well, and would be overwritten; choose another name\n"
    assert clip.read_bytes() == before


def test_a_folder_that_is_not_there_is_said_before_anything_is_decoded(tmp_path: Path, bundle: Bundle) -> None:
    clip = float_wav(tmp_path / "clip.wav", tone(2))
    done = ascstream("file", clip, "--bundle", bundle("mono_logmel"), "--out", tmp_path / "no/r.jsonl")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"ascstream: {tmp_path}/no/r.jsonl: there is no folder {tmp_path}/no; try: mkdir -p {tmp_path}/no\n"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_said_before_anything_is_decoded(tmp_path: Path, bundle: Bundle) -> None:
    clip = float_wav(tmp_path / "clip.wav", tone(2))
    (tmp_path / "locked").mkdir(mode=0o500)
    done = ascstream("file", clip, "--bundle", bundle("mono_logmel"), "--out", tmp_path / "locked/r.jsonl")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Permission denied" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_with_1_and_keeps_the_otheroutputs(tmp_path: Path, bundle: Bundle) -> None:
    clip = float_wav(tmp_path / "clip.wav", tone(3))
    (tmp_path / "full.jsonl").symlink_to("/dev/full")
    words = (
        "--bundle",
        bundle("mono_logmel"),
        "--quiet",
        "--out",
        tmp_path / "full.jsonl",
        "--out",
        tmp_path / "r.csv",
    )
    done = ascstream("file", clip, *words)
    assert done.returncode == 1
    assert done.stderr == f"ascstream: {tmp_path}/full.jsonl: No space left on device\n"
    assert len((tmp_path / "r.csv").read_text().splitlines()) >= 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.wav", "full.jsonl", "r.csv"]
