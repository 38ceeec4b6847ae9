"""`ascstream bundle`: what is listed, shown, verified and compared, on known-answer bundles and the one that ships."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support import bundles
from support.commands import ascstream
from support.media import write_wav
from support.terminal import shown_on_terminal

from ascstream.bundles import DEFAULT, shipped
from engines.bundle import open_bundle
from engines.manifest import OutputSpec

Get = Callable[[str], Path]


def copy(place: Path, source: Path) -> Path:
    return Path(shutil.copytree(source, place / source.name))


def with_card(folder: Path, text: str) -> Path:
    """A known-answer bundle with a model card."""
    path = bundles.mono_logmel(folder)
    (path / "CARD.md").write_text(text, encoding="utf-8")
    manifest = json.loads((path / "manifest.json").read_text())
    data = text.encode()
    manifest["card"] = "CARD.md"
    manifest["files"]["CARD.md"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def test_the_list_has_what_ships_and_what_is_in_a_folder(bundle: Get) -> None:
    folder = bundle("audio_visual").parent
    bundle("frames_only")
    done = ascstream("bundle", "list", "--in", folder)
    assert (done.returncode, done.stderr) == (0, "")
    rows = {" ".join(line.split()) for line in done.stdout.splitlines()}
    assert "bundle version perceives scenes size precisions" in rows
    assert any(row.startswith(f"{DEFAULT} ") and row.endswith("(default)") for row in rows)
    found = open_bundle(bundle("audio_visual")).manifest.files.values()
    assert f"audio_visual 1.0.0 audio+video 10 {sum(entry.size for entry in found) / 1024:,.0f} KiB float32" in rows
    assert str(folder / "frames_only") in rows
    report = json.loads(ascstream("bundle", "list", "--in", folder, "--json").stdout)
    entries = {entry["name"]: entry for entry in report["bundles"]}
    assert entries["frames_only"]["modalities"] == ["video"]
    assert [name for name, entry in entries.items() if entry["default"]] == [DEFAULT]
    assert report["broken"] == []


def test_a_broken_bundle_is_named_beside_the_others(tmp_path: Path, bundle: Get) -> None:
    broken = copy(tmp_path, bundle("mono_logmel"))
    (broken / "manifest.json").write_text("{}")
    done = ascstream("bundle", "list", "--in", tmp_path)
    assert done.returncode == 4
    assert DEFAULT in done.stdout
    assert done.stderr.startswith(f"ascstream: {broken}/manifest.json: schema: expected 1")


def test_info_says_everything_the_manifest_says(bundle: Get) -> None:
    path = bundle("audio_visual")
    manifest = open_bundle(path).manifest
    done = ascstream("bundle", "info", path)
    assert (done.returncode, done.stderr) == (0, "")
    words = " ".join(done.stdout.split())
    assert words.startswith("audio_visual 1.0.0: A known-answer bundle for tests folder ")
    for expected in (
        "licence Apache-2.0",
        "perceives audio and video",
        f"scenes 10: {', '.join(bundles.LABELS)}",
        "group transportation: bus, metro, tram",
        "window seconds 1 · default step seconds 1",
        "smoothing time constant seconds 2 · dwell seconds 30",
        "thresholds scene 0.5 · group 0.6 · hysteresis 0.1",
        "input logmel [n, 1, 64, 48]",
        "audio sample rate 24000 · channels mono",
        "feature kind logmel · n fft 1024 · window length 1024 · hop length 480 · n mels 64",
        "input frames [n, 5, 8]",
        "frame times seconds 0.1, 0.3, 0.5, 0.7, 0.9",
        "presence 1 where it is there: audio, video",
        "output video, temperature 1",
        "scene float32 scene.onnx",
        "frame float32 frame.onnx",
        *(entry.sha256 for entry in manifest.files.values()),
    ):
        assert expected in words, expected
    report = json.loads(ascstream("bundle", "info", path, "--json").stdout)
    assert report["path"] == str(path)
    assert report["manifest"] == json.loads((path / "manifest.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 120])
def test_info_fits_the_terminal(width: int, bundle: Get) -> None:
    for path in (bundle("audio_visual"), bundle("stereo_difference"), shipped()[DEFAULT]):
        lines = ascstream("bundle", "info", path, env={"COLUMNS": str(width)}).stdout.splitlines()
        own = [line for line in lines if str(path) not in line]  # a folder's name is not broken
        assert max(map(len, own)) <= width
        assert all(line == line.rstrip() for line in lines)
        assert max(map(len, own)) > width - 12  # the room is used


@pytest.mark.slow
def test_the_default_bundle_is_shown_where_none_is_named_with_its_card() -> None:
    done = ascstream("bundle", "info")
    assert done.stdout.startswith(f"{DEFAULT} ")
    card = (shipped()[DEFAULT] / "CARD.md").read_text(encoding="utf-8")
    heading = next(line[3:] for line in card.splitlines() if line.startswith("## "))
    assert heading in done.stdout
    assert f"## {heading}" not in done.stdout
    assert ascstream("bundle", "info", "--card").stdout == card


def test_a_card_is_drawn_on_a_terminal_and_cannot_command_it(tmp_path: Path) -> None:
    path = with_card(tmp_path, "# A *good* one\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n\x1b]0;owned\x07\x1b[2Jend\n")
    code = f"from ascstream.cli import main; main(['bundle', 'info', {str(path)!r}])"
    shown = shown_on_terminal(code, {"COLUMNS": "80"})
    assert "\x1b[2J" not in shown
    assert "\x1b]0;" not in shown
    assert "# A" not in shown
    assert "good" in shown
    assert "\N{REPLACEMENT CHARACTER}[2Jend" in shown


def test_without_a_card_there_is_none_to_print(bundle: Get) -> None:
    done = ascstream("bundle", "info", bundle("mono_logmel"), "--card")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.endswith("expected a bundle with a model card, got one without\n")
    both = ascstream("bundle", "info", "--card", "--json")
    assert both.returncode == 2
    assert both.stderr.startswith("ascstream: expected --card or --json, got both; leave one of them out")


@pytest.mark.slow
def test_verify_runs_the_golden_cases_of_every_bundle(bundle: Get) -> None:
    path = bundle("audio_visual")
    done = ascstream("bundle", "verify", path, DEFAULT)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"ok      {path}  files: 3, ")
    assert lines[1].startswith(f"ok      {path}  float32: 8 golden cases, at most ")
    assert any(line.startswith(f"ok      {DEFAULT}  float32: ") for line in lines)
    assert ascstream("bundle", "verify").returncode == 0  # what ships


def test_verify_finds_what_was_altered_and_what_answers_wrongly(tmp_path: Path, bundle: Get) -> None:
    altered = copy(tmp_path, bundle("audio_visual"))
    data = bytearray((altered / "scene.onnx").read_bytes())
    data[100] ^= 1
    (altered / "scene.onnx").write_bytes(data)
    inputs = open_bundle(bundle("mono_logmel")).manifest.inputs
    window = open_bundle(bundle("mono_logmel")).manifest.window
    graph = bundles.scene_graph(inputs, (OutputSpec("fused"),), window, bias=0.5)
    wrong = bundles.mono_logmel(tmp_path, scene=graph)
    done = ascstream("bundle", "verify", altered, wrong, bundle("mono_logmel"))
    assert done.returncode == 4
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"failed  {altered}  files: {altered}/scene.onnx: expected sha256 ")
    assert lines[1].startswith(f"ok      {wrong}  files: ")
    assert "expected answers within 0.0001 of the golden ones, got 0.5 in scene/fused" in lines[2]
    assert [line[:2] for line in lines[3:]] == ["ok", "ok"]
    report = json.loads(ascstream("bundle", "verify", altered, "--json").stdout)
    assert (report["ok"], report["bundles"][0]["ok"]) == (False, False)
    assert [check["check"] for check in report["bundles"][0]["checks"]] == ["files"]


def test_two_bundles_side_by_side(tmp_path: Path, bundle: Get) -> None:
    few = bundles.mono_logmel(tmp_path, labels=("bus", "park", "tram"), groups={"outdoor": ("park",)})
    report = json.loads(ascstream("bundle", "compare", few, bundle("audio_visual"), "--json").stdout)
    assert report["shared_labels"] == ["bus", "park", "tram"]
    assert report["only_first"] == []
    assert report["only_second"] == [label for label in bundles.LABELS if label not in ("bus", "park", "tram")]
    one, other = report["bundles"]
    assert one["inputs"] == ["logmel [1, 64, 48]"]
    assert other["perceives"] == ["audio", "video"]
    assert set(one["p50_ms"]) == {"scene"}
    assert set(other["p50_ms"]) == {"scene", "frame"}
    assert all(0 < ms < 1000 for entry in (one, other) for ms in entry["p50_ms"].values())
    assert "answers" not in report


@pytest.mark.parametrize("width", [80, 120])
def test_the_comparison_fits_the_terminal(width: int, bundle: Get) -> None:
    done = ascstream("bundle", "compare", "slim-audio", bundle("audio_visual"), env={"COLUMNS": str(width)})
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].split() == [
        "bundle",
        "slim-audio",
        open_bundle(shipped()["slim-audio"]).manifest.version,
        "audio_visual",
        "1.0.0",
    ]
    assert any(line.startswith("known to it alone   none") for line in lines)
    times = next(line.split() for line in lines if line.startswith("one frame call"))
    assert times[3] == "–"


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """Four seconds of a tone in the bands of the park."""
    wave = 8000 * np.sin(2 * np.pi * bundles.tone_hz("park") * np.arange(4 * 24_000) / 24_000)
    return write_wav(tmp_path / "tone.wav", wave.astype(np.int16), 24_000)


@pytest.mark.slow
def test_a_bundle_agrees_with_itself_and_differs_by_its_temperature(tmp_path: Path, tone: Path, bundle: Get) -> None:
    path = bundle("mono_logmel")
    (same,) = json.loads(ascstream("bundle", "compare", path, path, "--on", tone, "--json").stdout)["answers"]
    assert same == {
        "input": str(tone),
        "error": None,
        "exit_code": 0,
        "n_windows": 4,
        "n_scored_by_both": 4,
        "same_answer": 1.0,
        "same_best_scene": 1.0,
        "mean_abs_difference": 0.0,
        "largest_difference": 0.0,
    }
    softer = bundles.mono_logmel(tmp_path, outputs=(OutputSpec("fused", 50.0),))
    words = ("bundle", "compare", path, softer, "--on", tone)
    (other,) = json.loads(ascstream(*words, "--step", "0.5", "--json").stdout)["answers"]
    assert other["n_windows"] == 7
    assert other["same_best_scene"] == 1.0
    assert other["same_answer"] == 0.0  # one says park, the other is not sure
    assert 0.01 < other["mean_abs_difference"] < other["largest_difference"] < 1
    shown = ascstream(*words).stdout
    assert f"\n{tone}\n  4 windows: the same answer in 0.0 %, the same best scene in 100.0 %\n  mean |Δp| 0." in shown


@pytest.mark.slow
def test_an_input_that_one_of_both_cannot_judge_is_said_and_the_others_are_compared(tone: Path, bundle: Get) -> None:
    done = ascstream("bundle", "compare", bundle("mono_logmel"), bundle("frames_only"), "--on", tone)
    assert done.returncode == 3
    assert "  " + f"{tone}: expected a picture, which is all that bundle 'frames_only' perceives" in done.stdout
    words = ("bundle", "compare", DEFAULT, DEFAULT, "--on", tone.with_name("none.wav"), "--on", tone, "--json")
    done = ascstream(*words)
    assert done.returncode == 3
    first, second = json.loads(done.stdout)["answers"]
    assert "none.wav" in first["error"]
    assert second["same_answer"] == 1.0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["compare", DEFAULT], 2, "ascstream: Missing argument 'B'."),
        (["compare", DEFAULT, DEFAULT, "--step", "1"], 2, "ascstream: --step: expected --on FILE with it, got none"),
        (["info", "nothing"], 4, "ascstream: nothing: expected a folder with a manifest.json, or a shipped bundle"),
        (["lst"], 2, "ascstream: No such command 'lst': did you mean 'list'?"),
    ],
)
def test_what_cannot_be_is_said(words: list[str], code: int, message: str) -> None:
    done = ascstream("bundle", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(message)


def test_a_hash_in_a_card_is_whole_however_narrow_the_terminal_is(tmp_path: Path) -> None:
    digest = "0123456789abcdef" * 4
    path = with_card(tmp_path, f"# One\n\n| read from | SHA-256 |\n|---|---|\n| net.ckpt | `{digest}` |\n")
    printed = ascstream("bundle", "info", path, env={"COLUMNS": "40"}).stdout
    assert digest in "".join(printed.partition("read from")[2].replace("net.ckpt", "").split())
    assert "…" not in printed.partition("read from")[2]
