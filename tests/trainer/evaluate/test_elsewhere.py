"""A trained network, and the bundle made of it, on prepared corpora: its own and another, seen and unseen places."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.bundles import LABELS, mono_logmel, tone_hz
from support.corpus import CONFIG, RATE, SCENES, scene_samples, write_wav

from engines.bundle import open_bundle
from trainer.clip_run import ClipRun
from trainer.config import load_config
from trainer.data.clips import Clip, Corpus
from trainer.data.prepare import prepare_corpus
from trainer.data.prepared import Prepared
from trainer.data.settings import Settings, SoundSettings
from trainer.errors import DataError
from trainer.evaluate.elsewhere import evaluate_bundle_on, evaluate_run_on
from trainer.evaluate.report import read_segments
from trainer.evaluate.submission import submission_of
from trainer.fit.clips import fit_clips


def prepare(
    root: Path, name: str, splits: tuple[str, ...], scenes: tuple[str, ...] = SCENES, seed: int = 0
) -> Prepared:
    """A clip of 3 s of each scene at a place of its own, a split each; decoded."""
    clips = []
    for number, split in enumerate(splits):
        for scene in scenes:
            path = root / f"{name}/{scene}-{number}.wav"
            write_wav(path, scene_samples(scene, 3.0, seed + number))
            clips.append(Clip(path, None, scene, "", f"{scene}{number}", str(number), split))
    corpus = Corpus(name, root / name, tuple(sorted(scenes)), tuple(clips), "CC0-1.0")
    return prepare_corpus(corpus, root / f"{name}-prepared", Settings(SoundSettings(RATE, 1), None), n_workers=1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def run(root: Path) -> ClipRun:
    prepare(root, "own", ("train",) * 4 + ("validation",) + ("evaluate",) * 2)
    text = CONFIG.replace('labels = "labels.csv"', 'prepared = "own-prepared"')
    (root / "toy.toml").write_text(text, encoding="utf-8")
    done = fit_clips(root / "run", load_config(root / "toy.toml"), root)
    assert done is not None
    return done


@pytest.mark.slow
def test_on_its_own_corpus_it_says_what_it_said(root: Path, run: ClipRun) -> None:
    report, segments = evaluate_run_on(run, root / "own-prepared")
    before = read_segments(run, "evaluation")
    assert segments.clips.tolist() == before.clips.tolist()
    np.testing.assert_allclose(segments.logits["whole"], before.logits["whole"], atol=1e-5)
    assert report["n_clips"] == 6
    assert report["conditions"]["whole"]["calibrated"]["accuracy"] > 0.6  # chance is a third


@pytest.mark.slow
def test_another_corpus_without_an_evaluation_split_is_judged_whole(root: Path, run: ClipRun) -> None:
    prepare(root, "other", ("",) * 3, seed=50)
    report, _ = evaluate_run_on(run, root / "other-prepared")
    assert (report["corpus"], report["n_clips"], report["n_segments"]) == ("other", 9, 27)
    own, _ = evaluate_run_on(run, root / "own-prepared")
    assert report["temperatures"] == own["temperatures"]
    assert report["thresholds"] == own["thresholds"]


@pytest.mark.slow
def test_places_it_was_made_from_are_left_out(root: Path, run: ClipRun) -> None:
    entries = tuple(replace(clip, split="train") if clip.location == "hum5" else clip for clip in run.clips)
    report, segments = evaluate_run_on(replace(run, clips=entries, folder=run.folder), root / "own-prepared")
    assert report["n_clips"] == 5
    assert "hum5" not in {segments.entries[index].location for index in segments.clips}
    nowhere = replace(run, clips=tuple(replace(clip, split="train") for clip in run.clips))
    with pytest.raises(DataError, match="expected clips of places that the run was not made from, got none"):
        evaluate_run_on(nowhere, root / "own-prepared")


@pytest.mark.slow
def test_other_scenes_are_refused(root: Path, run: ClipRun) -> None:
    prepare(root, "fewer", ("train", "evaluate"), SCENES[:2])
    with pytest.raises(DataError, match="fewer-prepared: expected the scenes hiss, hum, whistle, got hiss, hum"):
        evaluate_run_on(run, root / "fewer-prepared")


@pytest.mark.slow
def test_a_folder_that_is_no_corpus_is_refused(root: Path, run: ClipRun) -> None:
    with pytest.raises(DataError, match="run: expected"):
        evaluate_run_on(run, run.folder)


def test_a_bundle_on_a_corpus_of_tones(root: Path) -> None:
    rng = np.random.default_rng(0)
    clips = []
    for label in LABELS:
        time = np.arange(2 * RATE) / RATE
        path = root / f"tones/{label}.wav"
        write_wav(path, 0.2 * np.sin(2 * np.pi * tone_hz(label) * time) + 1e-3 * rng.standard_normal(time.size))
        clips.append(Clip(path, None, label, "", f"{label}-place", "1", ""))
    corpus = Corpus("tones", root / "tones", LABELS, tuple(clips), "CC0-1.0")
    prepare_corpus(corpus, root / "tones-prepared", Settings(SoundSettings(RATE, 1), None), n_workers=1)
    bundle = open_bundle(mono_logmel(root))
    report, segments = evaluate_bundle_on(bundle, root / "tones-prepared")
    assert report["corpus"] == "tones"
    assert report["model"] == "mono_logmel 1.0.0, float32"
    assert report["conditions"]["whole"]["calibrated"]["accuracy"] == 1.0
    assert np.diag(report["confusion"]).tolist() == [2] * 10
    assert submission_of(segments, LABELS, report["temperatures"], ".wav").names[1] == "airport_1.wav"
    prepare(root, "three", ("",))
    with pytest.raises(DataError, match="three-prepared: expected the scenes airport, bus"):
        evaluate_bundle_on(bundle, root / "three-prepared")
