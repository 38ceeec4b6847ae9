"""From WAV files to a bundle that the runtime loads: every figure it was given, every promise it makes."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.corpus import RATE, SCENES, scene_samples, write_config, write_corpus, write_wav

from ascstream import Classifier, StreamSettings, open_media, stream
from ascstream.smoothing import Decider, SceneFilter
from engines.backends import load_engines
from engines.bundle import open_bundle, verify
from engines.check import check_parity
from engines.errors import BundleError
from engines.manifest import Thresholds
from trainer.config import load_config
from trainer.data.splits import Split
from trainer.errors import ConfigError, DataError, RunError
from trainer.evaluate.metrics import balanced_weights, fit_temperature, softmax
from trainer.evaluate.recordings import HeldOut, gather, smooth, write_report
from trainer.export.bundle import export_run
from trainer.fit.recordings import fit_run
from trainer.run import Run, newest_run, open_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_corpus(folder / "data")
    write_config(folder / "toy.toml")
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Run:
    return fit_run(place / "runs/toy", load_config(place / "toy.toml", ["seed=3"]), place / "data")


@pytest.fixture(scope="module")
def bundle(place: Path, run: Run) -> Path:
    export_run(run, place / "bundles/toy", place / "data")
    return place / "bundles/toy"


def test_a_run_holds_everyone_out_once(run: Run) -> None:
    names = [split.name for split in run.splits]
    assert names == ["fold-0", "fold-1", "source-north", "source-south", "final"]
    assert run.labels == SCENES
    assert run.groups == {"lively": ("whistle",), "steady": ("hiss", "hum")}
    assert [entry.file for entry in run.entries if entry.label == "none"] == ["south/white.wav"]
    assert len({entry.sha256 for entry in run.entries}) == len(run.entries) == 13
    for split in run.splits:
        predictions = run.predictions(split)
        assert set(predictions.recordings.tolist()) == set(split.test)
        assert predictions.logits.shape == (5 * len(split.test), 3)


def test_the_report_agrees_with_the_predictions(run: Run) -> None:
    report = write_report(run)
    folds = [split for split in run.splits if split.name.startswith("fold-")]
    held_out = gather(run, folds)
    weights = balanced_weights(held_out.targets, held_out.recordings)
    right = held_out.probabilities.argmax(axis=1) == held_out.targets
    assert report["folds"]["windows"]["accuracy"] == pytest.approx(float((right * weights).sum()))
    assert report["folds"]["windows"]["accuracy"] >= 0.9
    assert report["sources"]["windows"]["accuracy"] >= 0.9
    assert report["temperature"] == pytest.approx(fit_temperature(held_out.logits, held_out.targets, weights), abs=1e-4)
    assert report["folds"]["windows"]["n_recordings"] == dict.fromkeys(SCENES, 4)
    assert set(report["by_source"]) == {"north", "south"}
    assert [row["file"] for row in report["none"]] == ["south/white.wav"]
    assert len(report["recordings"]) == 12
    assert report["chance"] == {"accuracy": pytest.approx(1 / 3), "log_loss": pytest.approx(np.log(3))}
    assert json.loads((run.folder / "report.json").read_text()) == report


def test_sounds_of_none_of_the_scenes_are_answered_as_the_runtime_would(run: Run) -> None:
    report = write_report(run)
    final = run.predictions(run.splits[-1])
    probabilities = softmax(final.logits.astype(np.float64), report["temperature"])
    scene_filter = SceneFilter(3, run.config.smoothing, run.config.window.seconds)
    thresholds = Thresholds(scene=report["thresholds"]["scene"], group=report["thresholds"]["group"])
    decider = Decider(run.labels, run.groups, thresholds)
    seconds = [run.config.window.seconds] + [run.config.evaluate.step_seconds] * (len(probabilities) - 1)
    levels = [
        decider.decide(scene_filter.update(row[None], step)[0]).level
        for row, step in zip(probabilities, seconds, strict=True)
    ]
    (row,) = report["none"]
    assert (row["named"], row["named_group"]) == (levels.count("scene") / 5, levels.count("group") / 5)


def test_sounds_of_none_of_the_scenes_teach_it_to_be_unsure(place: Path, run: Run, tmp_path: Path) -> None:
    data = shutil.copytree(place / "data", tmp_path / "data")
    for seed in range(1, 5):
        white = 0.05 * np.random.default_rng(seed).standard_normal(3 * RATE)
        write_wav(data / f"others/deep/{seed}.wav", white)
    settings = ["seed=3", "train.epochs=10", "evaluate.hold_out_sources=false"]
    plain = fit_run(tmp_path / "plain", load_config(place / "toy.toml", settings), data)
    settings += ["data.outliers=others", "augment.none_share=0.3", "data.outliers_credit=Drawn."]
    taught = fit_run(tmp_path / "toy", load_config(place / "toy.toml", settings), data)
    assert [entry.file for entry in taught.entries] == [entry.file for entry in run.entries]  # and so never judged
    (before,), report = write_report(plain)["none"], write_report(taught)
    (after,) = report["none"]
    assert after["mean_confidence"] < before["mean_confidence"] - 0.2
    assert report["folds"]["windows"]["accuracy"] >= 0.9
    export_run(taught, tmp_path / "bundle", data)
    card = (tmp_path / "bundle/CARD.md").read_text(encoding="utf-8")
    assert "30 % of the windows are of recordings of none of the scenes, whose target is even odds." in card
    assert "Recordings of none of the scenes, in training: Drawn." in card
    with pytest.raises(DataError, match=r"data\.outliers: .*nowhere: expected a folder of recordings, got none"):
        fit_run(tmp_path / "no", load_config(place / "toy.toml", [*settings, "data.outliers=nowhere"]), data)
    with pytest.raises(DataError, match=r"expected recordings that are not in labels\.csv, got one that it lists"):
        fit_run(tmp_path / "no", load_config(place / "toy.toml", [*settings, "data.outliers=north"]), data)
    with pytest.raises(ConfigError, match=r"data\.outliers: expected a path inside the data folder"):
        fit_run(tmp_path / "no", load_config(place / "toy.toml", [*settings, "data.outliers=.."]), data)


def test_a_card_says_how_often_other_sounds_are_named_a_scene_or_a_group(place: Path, run: Run, bundle: Path) -> None:
    (row,) = write_report(run)["none"]
    named = f"{100 * row['named']:.0f} % | {100 * row['named_group']:.0f} % |"
    card = (bundle / "CARD.md").read_text(encoding="utf-8")
    assert "mean confidence | named a scene | named a group |" in card
    assert re.search(rf"\| south/white\.wav \| 5 \| \w+ \| 0\.\d\d \| {named}", card)


def test_an_export_measures_a_run_of_an_older_trainer_anew(place: Path, run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    report = json.loads((copy / "report.json").read_text(encoding="utf-8"))
    for row in report["none"]:
        del row["named_group"]
    (copy / "report.json").write_text(json.dumps(report), encoding="utf-8")
    export_run(open_run(copy), tmp_path / "bundle", place / "data", precisions=())
    assert "named a group" in (tmp_path / "bundle/CARD.md").read_text(encoding="utf-8")


def test_a_fold_is_calibrated_by_the_others(run: Run) -> None:
    folds = [split for split in run.splits if split.name.startswith("fold-")]
    held_out = gather(run, folds)
    other = run.predictions(folds[1])
    targets = run.targets[other.recordings]
    temperature = fit_temperature(other.logits, targets, balanced_weights(targets, other.recordings))
    mine = np.isin(held_out.recordings, folds[0].test)
    expected = softmax(run.predictions(folds[0]).logits, temperature)
    np.testing.assert_allclose(held_out.probabilities[mine], expected, rtol=1e-6)


def test_the_filter_starts_anew_with_every_recording(run: Run) -> None:
    probabilities = np.array([[0.8, 0.1, 0.1]] * 4)
    held_out = HeldOut(np.log(probabilities), probabilities, np.zeros(4, int), np.array([0, 0, 1, 1]), 1.0)
    smoothed = smooth(run, held_out, 2.0)
    np.testing.assert_allclose(smoothed[:2], smoothed[2:])
    assert smoothed[1, 0] > smoothed[0, 0] > 1 / 3


def test_the_bundle_is_whole_and_reproduces_its_golden_answers(bundle: Path) -> None:
    opened = open_bundle(bundle)
    verify(opened)
    assert sorted(opened.manifest.files) == [
        "CARD.md", "golden.npz", "scene.fp16.onnx", "scene.int8.onnx", "scene.onnx"
    ]  # fmt: skip
    assert sum(entry.size for entry in opened.manifest.files.values()) <= 1_100_000
    with load_engines(opened) as engines:
        report = check_parity(opened, engines)
    assert report.ok
    assert report.outputs[0].max_difference is not None
    assert report.outputs[0].max_difference < 1e-4


def test_the_runtime_hears_the_scenes_of_new_recordings(bundle: Path, tmp_path: Path) -> None:
    with Classifier.load(bundle) as classifier:
        for scene in SCENES:
            write_wav(tmp_path / f"{scene}.wav", scene_samples(scene, 4.0, 77))
            with open_media(tmp_path / f"{scene}.wav") as source:
                predictions = list(stream(classifier, source, StreamSettings()))
            assert [prediction.end for prediction in predictions] == [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]
            assert [max(p.raw_scores, key=lambda k: p.raw_scores[k]) for p in predictions] == [scene] * 7
            assert predictions[-1].label == scene


def test_the_card_says_what_it_was_made_of(run: Run, bundle: Path) -> None:
    card = (bundle / "CARD.md").read_text()
    for entry in run.entries:
        assert f"| {entry.file} | {entry.label} | sure | 3.0 | CC0 | `{entry.sha256}` |" in card
    assert "It knows no tram" in card
    assert "https://example.org/north. Licence: CC0. Recorded by nobody." in card
    assert "| south | 6 | 30 |" in card
    assert "chance" in card
    assert "None" not in card
    assert "nan" not in card


def test_a_finished_run_goes_on_to_nothing(place: Path, run: Run) -> None:
    def refuse(_epoch: int, _loss: float) -> None:
        pytest.fail("trained again")

    before = (run.folder / "final/checkpoint.pt").stat().st_mtime_ns
    again = fit_run(run.folder, run.config, place / "data", on_epoch=refuse)
    assert again == run
    assert (run.folder / "final/checkpoint.pt").stat().st_mtime_ns == before
    assert newest_run(place / "runs") == run.folder


def test_another_configuration_does_not_go_on_with_a_run(place: Path, run: Run) -> None:
    other = replace(run.config, seed=2)
    with pytest.raises(RunError, match=r"config\.json: expected the same as now to go on, got another"):
        fit_run(run.folder, other, place / "data")


def test_an_export_replaces_nothing_unasked(place: Path, run: Run, bundle: Path) -> None:
    before = (bundle / "manifest.json").read_bytes()
    with pytest.raises(BundleError, match="--overwrite"):
        export_run(run, bundle, place / "data")
    assert (bundle / "manifest.json").read_bytes() == before


def test_an_unfinished_run_is_not_exported(place: Path, run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    (copy / "report.json").unlink()
    with pytest.raises(
        RunError, match=r"expected a finished run, got no report; go on with: trainer fit CONFIG --resume"
    ):
        export_run(open_run(copy), tmp_path / "bundle", place / "data")
    assert not (tmp_path / "bundle").exists()
    with pytest.raises(RunError, match="expected held-out answers, got none"):
        open_run(copy).predictions(Split("fold-9", (), ()))
    (copy / "recordings.json").write_text("{}")
    with pytest.raises(RunError, match="expected a run, got a broken one"):
        open_run(copy)
    with pytest.raises(RunError, match="expected a run, got: No such file"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(RunError, match="expected a finished run, got none"):
        newest_run(tmp_path)
