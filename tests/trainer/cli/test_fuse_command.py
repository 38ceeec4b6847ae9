"""`trainer fuse` as a user types it: on bundles alone, on labelled clips, on recordings and pictures."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import bundles
from support.answers import write_run
from support.media import write_wav

from ascstream.classifier import Classifier
from ascstream.pipeline import stream
from ascstream.sources.media import open_media
from engines.bundle import open_bundle
from trainer.cli.exits import main

SEEN = ("bus", "metro_station", "park")
"""Labels that have a colour; two of them are heard as well."""
RATE = 24_000
_SECONDS = 2


@pytest.fixture
def halves(tmp_path: Path) -> tuple[str, str]:
    """A bundle that hears and one that sees, both of every label."""
    return str(bundles.mono_logmel(tmp_path)), str(bundles.frames_only(tmp_path))


def sound(path: Path, label: str, seed: int) -> Path:
    """A tone of a label's, of another loudness each."""
    rng = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * bundles.tone_hz(label) * np.arange(_SECONDS * RATE) / RATE)
    samples = (wave * 2000 * rng.uniform(0.5, 2) + 30 * rng.standard_normal(len(wave))).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_wav(path, samples, RATE)


def picture(path: Path, label: str, seed: int) -> Path:
    """A picture of a label's colour, more or less bright."""
    path.parent.mkdir(parents=True, exist_ok=True)
    share = np.random.default_rng(seed).uniform(0.2, 1.0)
    Image.new("RGB", (64, 48), tuple(round(value * share) for value in bundles.COLOURS[label])).save(path)
    return path


def film(path: Path, heard: str, seen: str, seed: int) -> Path:
    """Both in one file."""
    tone, still = sound(path.with_suffix(".wav"), heard, seed), picture(path.with_suffix(".png"), seen, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["ffmpeg", "-v", "error", "-y", "-loop", "1", "-framerate", "10", "-i", still, "-i", tone]
    subprocess.run([*command, "-t", str(_SECONDS), "-c:v", "mpeg4", "-q:v", "2", "-c:a", "pcm_s16le", path], check=True)
    tone.unlink()
    still.unlink()
    return path


def test_two_bundles_become_one_that_runs(
    halves: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "av"
    (tmp_path / "notes.md").write_text("## Pictures\n\nDrawn.\n")
    words = ["--name", "both", "--version", "1.2.0", "--notes", str(tmp_path / "notes.md")]
    assert main(["fuse", *halves, "--out", str(out), *words]) == 0
    assert (out / "CARD.md").read_text().endswith("\n\n## Pictures\n\nDrawn.\n")
    told = capsys.readouterr()
    assert told.out == f"{out}\n"
    assert "10 scenes, float32, " in told.err
    assert f"sound counts 1.00, pictures 1.00; next: ascstream file CLIP --bundle {out}\n" in told.err
    assert (open_bundle(out).manifest.name, open_bundle(out).manifest.version) == ("both", "1.2.0")
    clip = film(tmp_path / "clip.mkv", "park", "park", 1)
    with Classifier.load(out, backend="onnxruntime") as classifier, open_media(str(clip)) as source:
        predictions = list(stream(classifier, source))
    assert [prediction.modalities for prediction in predictions] == [("audio", "video")] * _SECONDS
    assert {max(one.raw_scores, key=one.raw_scores.__getitem__) for one in predictions} == {"park"}


def test_it_needs_no_torch(halves: tuple[str, str], tmp_path: Path) -> None:
    code = (
        "import sys\nfrom trainer.cli.exits import main\n"
        f"code = main(['fuse', {halves[0]!r}, {halves[1]!r}, '--out', {str(tmp_path / 'av')!r}])\n"
        "print(code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr


@pytest.mark.slow
def test_weights_are_fitted_on_clips_and_judged_place_by_place(
    halves: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of the pictures lie: pictures count less than sound."""
    data = tmp_path / "data"
    rows = []
    for number in range(24):
        label = SEEN[number % 3]
        seen = label if number % 2 else SEEN[(number + 1) % 3]
        clip = film(data / f"{number}.mkv", label, seen, number)
        rows.append({"file": clip.name, "scene_label": label, "recording": f"{label} {number // 6}"})
    with (data / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    out = tmp_path / "av"
    assert main(["fuse", *halves, "--out", str(out), "--fit", str(data)]) == 0
    told = capsys.readouterr().err
    figures = {line[:20].strip(): line[20:].split() for line in told.splitlines() if line.startswith(("sound", "both"))}
    assert float(figures["both, fitted"][3]) < float(figures["both, weights of 1"][3]), told
    assert "48 windows of 24 clips." in told
    assert "without each of 12 folds" in told
    card = (out / "CARD.md").read_text()
    weights = card.partition("Sound counts ")[2].partition(", by maximum likelihood on ")[0]
    audio, video = (float(word) for word in weights.split(", pictures "))
    assert 0 <= video < audio
    assert "labelled clips with sound and picture, each fold a place" in card
    assert "* A scene is named from a smoothed score of " in card


@pytest.mark.slow
def test_weights_are_fitted_on_pairs_of_recordings_and_pictures(
    halves: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index, label in enumerate(SEEN):
        for number in range(6):
            sound(tmp_path / "sounds" / label / f"{number}.wav", label, 10 * index + number)
            picture(tmp_path / "pictures" / label / f"{number}.{'png' if number % 2 else 'jpg'}", label, number)
    words = ["fuse", *halves, "--out", str(tmp_path / "av")]
    words += ["--pairs", str(tmp_path / "sounds"), str(tmp_path / "pictures"), "--n-pairs", "200", "--seed", "7"]
    assert main(words) == 0
    told = capsys.readouterr().err
    assert "400 windows of 200 pairs." in told
    assert "without each of 5 folds" in told
    card = (tmp_path / "av" / "CARD.md").read_text()
    assert "random pairs (seed 7) of recordings and pictures. Both parts of a pair are of one scene, except in " in card
    assert "by construction, which those of one moment are not: weights and figures are optimistic" in card
    assert "Pairs of two scenes score " in card
    first = open_bundle(tmp_path / "av").manifest
    assert main([*words, "--overwrite"]) == 0
    assert open_bundle(tmp_path / "av").manifest == first  # the same seed, the same bundle


def test_weights_are_fitted_on_what_two_runs_said_of_what_was_held_out(
    halves: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, poor = {"whole": 4.0}, {"whole": 0.7}
    write_run(tmp_path / "ear", skill=poor, overconfidence=1.0)
    write_run(tmp_path / "eye", skill=good, overconfidence=1.0)
    words = ["fuse", *halves, "--out", str(tmp_path / "av"), "--description", "Both at once.", "--n-pairs", "300"]
    assert main([*words, "--runs", str(tmp_path / "ear"), str(tmp_path / "eye")]) == 0
    told = capsys.readouterr().err
    assert "1,200 windows of 300 pairs." in told  # clips of four seconds
    counts = re.search(r"sound counts ([0-9.]+), pictures ([0-9.]+);", told)
    assert counts is not None
    assert float(counts[1]) < float(counts[2])
    card = (tmp_path / "av" / "CARD.md").read_text()
    assert "recordings and pictures that the networks which answered had not seen" in card
    assert open_bundle(tmp_path / "av").manifest.description == "Both at once."
    write_run(tmp_path / "other", ("bus", "park"))
    assert main([*words, "--overwrite", "--runs", str(tmp_path / "ear"), str(tmp_path / "other")]) == 2
    assert "expected a run of the bundle's scenes, airport, bus" in capsys.readouterr().err


def test_too_few_clips_are_no_ground_for_weights(
    halves: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in ("bus", "park"):
        film(tmp_path / "data" / label / "one.mkv", label, label, 1)
        sound(tmp_path / "data" / label / "two.wav", label, 2)
    assert main(["fuse", *halves, "--out", str(tmp_path / "av"), "--fit", str(tmp_path / "data")]) == 3
    told = capsys.readouterr().err
    assert "two.wav: expected sound and picture at the same time, got no window with both" in told
    assert told.endswith(
        "trainer: --fit: expected at least 20 clips with sound and picture, of two scenes and two places, to fit "
        "weights on, got 2 of 2 scenes and 2 places; leave --fit out for weights of 1\n"
    )
    assert not (tmp_path / "av").exists()


WRONG: list[tuple[list[str], int, str]] = [
    (
        ["--fit", "a", "--pairs", "b", "c"],
        2,
        "--pairs: expected one of --fit, --pairs and --runs, got --fit and --pairs",
    ),
    (["--seed", "3"], 2, "--seed: expected --pairs or --runs with it, got neither"),
    (["--sure", "0.9"], 2, "--sure: expected --fit, --pairs or --runs with it, got none of them"),
    (["--sure-group", "0.9"], 2, "--sure-group: expected --fit, --pairs or --runs with it, got none of them"),
    (["--prior", "pub=2"], 2, "--prior: expected one of the labels airport, bus, "),
    (["--prior", "park"], 2, "--prior: expected LABEL=ODDS, as in park=2, got 'park'"),
    (["--fit", "nowhere"], 3, "--fit: expected recordings at nowhere, got nothing there; check the path"),
    (["--runs", "nowhere", "nowhere"], 3, "nowhere: "),
    (["--notes", "nowhere"], 3, "--notes: expected Markdown at nowhere, got: No such file or directory"),
    (["--notes", sys.executable], 3, "--notes: expected Markdown in UTF-8 at "),
    (["--name", "a/b"], 4, "name: expected letters, digits"),
]


@pytest.mark.parametrize(("words", "code", "message"), WRONG, ids=[" ".join(entry[0]) for entry in WRONG])
def test_what_cannot_be_is_said_at_once(
    words: list[str],
    code: int,
    message: str,
    halves: tuple[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["fuse", *halves, "--out", str(tmp_path / "av"), *words]) == code
    assert capsys.readouterr().err.startswith(f"trainer: {message}")
    assert not (tmp_path / "av").exists()
