"""A run on a prepared corpus: divided, trained, answered, reported; gone on with after a stop, or refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.corpus import SCENES
from support.prepared import prepare_listed, quick_config

from trainer.clip_run import ClipRun, is_clip_run, open_clip_run, start_clip_run
from trainer.config import Config
from trainer.errors import ConfigError, DataError, RunError
from trainer.evaluate.answers import save_answers
from trainer.fit.clips import fit_clips, plan_clips
from trainer.run import newest_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    prepare_listed(folder, quick_config(folder / "toy.toml"))
    return folder


@pytest.fixture(scope="module")
def config(root: Path) -> Config:
    return quick_config(root / "toy.toml", "train.select=best")


@pytest.fixture(scope="module")
def run(root: Path, config: Config) -> ClipRun:
    done = fit_clips(root / "runs/toy", config, root)
    assert done is not None
    return done


def test_every_clip_has_its_use(run: ClipRun) -> None:
    assert is_clip_run(run.folder)
    assert newest_run(run.folder.parent) == run.folder
    assert run.labels == SCENES
    assert Counter(clip.split for clip in run.clips) == {"train": 15, "validation": 3, "calibration": 6, "evaluate": 12}
    assert (run.corpus, run.config.name) == ("labels.csv", "toy")
    assert run.groups == {"lively": ("whistle",), "steady": ("hiss", "hum")}
    entries = json.loads((run.folder / "clips.json").read_text())["clips"]
    assert set(entries[0]) == {"key", "label", "city", "location", "device", "split", "seconds"}


def test_answers_are_two_seconds_of_every_clip_of_a_set(run: ClipRun) -> None:
    for which, split in (("validation", "validation"), ("calibration", "calibration"), ("evaluation", "evaluate")):
        answers = run.answers(which)
        assert answers.clips.tolist() == np.repeat(run.numbers(split), 2).tolist()
        assert set(answers.logits) == {"whole"}
        assert answers.logits["whole"].shape == (len(answers.clips), 3)


def test_the_network_knows_scenes_it_never_heard(run: ClipRun) -> None:
    answers = run.answers("evaluation")
    right = answers.logits["whole"].argmax(axis=1) == run.targets[answers.clips]
    report = json.loads((run.folder / "report.json").read_text())
    assert report["conditions"]["whole"]["calibrated"]["accuracy"] == pytest.approx(float(right.mean()))
    assert right.mean() >= 0.8
    log = (run.network / "log.csv").read_text().splitlines()
    assert len(log) == 3
    for name in ("figures.md", "confusion.png", "reliability.png", "network/curves.png", "network/checkpoint.pt"):
        assert (run.folder / name).stat().st_size > 0


def test_a_finished_run_trains_no_more_and_answers_what_is_missing(root: Path, run: ClipRun) -> None:
    before = run.answers("calibration")
    (run.network / "calibration.npz").unlink()
    (run.folder / "report.json").unlink()

    def refuse(*_: object) -> None:
        raise AssertionError

    again = fit_clips(run.folder, run.config, root, on_epoch=refuse)
    assert again is not None
    np.testing.assert_array_equal(again.answers("calibration").logits["whole"], before.logits["whole"])
    assert (run.folder / "report.json").exists()


def test_answers_of_another_training_are_made_anew(root: Path, run: ClipRun, tmp_path: Path) -> None:
    copy = tmp_path / run.folder.name
    shutil.copytree(run.folder, copy)
    (copy / "network/checkpoint.pt").unlink()
    answers = run.answers("evaluation")
    save_answers(copy / "network/evaluation.npz", replace(answers, logits={"whole": answers.logits["whole"] + 1}))
    again = fit_clips(copy, run.config, root)
    assert again is not None
    np.testing.assert_array_equal(again.answers("evaluation").logits["whole"], answers.logits["whole"])


def test_a_run_goes_on_with_other_threads(root: Path, run: ClipRun) -> None:
    other = replace(run.config, train=replace(run.config.train, workers=3, threads=2, device="cpu"))
    again = fit_clips(run.folder, other, root)
    assert again is not None
    assert again.config == run.config


class StoppedError(Exception):
    """Stands for a power cut."""


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(root: Path, run: ClipRun, tmp_path: Path) -> None:
    def stop(epoch: int, _loss: float, _validation: float) -> None:
        if epoch == 1:
            raise StoppedError

    with pytest.raises(StoppedError):
        fit_clips(tmp_path / "toy", run.config, root, on_epoch=stop)
    with pytest.raises(RunError, match=r"expected the answers of a network, got none"):
        open_clip_run(tmp_path / "toy").answers("evaluation")
    resumed = fit_clips(tmp_path / "toy", run.config, root)
    assert resumed is not None
    for which in ("validation", "evaluation"):
        np.testing.assert_array_equal(resumed.answers(which).logits["whole"], run.answers(which).logits["whole"])


def test_another_configuration_or_corpus_says_what_differs(root: Path, run: ClipRun) -> None:
    other = replace(run.config, seed=7, train=replace(run.config.train, learning_rate=0.5))
    with pytest.raises(RunError, match=r"seed is 1 there, 7 now, train\.learning_rate is 0\.005 there, 0\.5 now"):
        fit_clips(run.folder, other, root)
    with pytest.raises(RunError, match=r"36 clips there, 35 now; choose a new folder with --out"):
        start_clip_run(run.folder, run.config, run.labels, run.clips[1:], run.corpus, run.licence)
    moved = (replace(run.clips[0], split="validation"), *run.clips[1:])
    with pytest.raises(RunError, match=r'clips\[0\]\.split is "\w+" there, "validation" now'):
        start_clip_run(run.folder, run.config, run.labels, moved, run.corpus, run.licence)


def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    root: Path, config: Config, tmp_path: Path
) -> None:
    def refused(error: type[Exception], message: str, *settings: str, data: Path = root) -> None:
        asked = quick_config(tmp_path / "toy.toml", *settings)
        with pytest.raises(error, match=message):
            fit_clips(tmp_path / "run", asked, data)
        assert not (tmp_path / "run").exists()

    refused(DataError, r"nowhere: expected a prepared corpus, got no index\.json", "data.prepared=nowhere")
    refused(
        DataError,
        r"expected sound at 16000 Hz, got one prepared at 24000 Hz",
        "audio.sample_rate=16000",
        "audio.feature.f_max=8000",
    )
    refused(ConfigError, r"data\.fold: expected none for .*official split, got 'fold1'", "data.fold=fold1")
    refused(ConfigError, r"model\.name: expected one of slim_audio", "model.name=slim_radio")
    refused(ConfigError, r"se_audio takes features of", "model.name=se_audio")


def test_a_shard_that_is_cut_short_or_unreadable_is_named(root: Path, config: Config, tmp_path: Path) -> None:
    shutil.copytree(root / "prepared", tmp_path / "prepared")
    shard = sorted((tmp_path / "prepared").glob("*.tar"))[0]
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=shard.name):
        plan_clips(config, tmp_path)
    shard.unlink()
    with pytest.raises(DataError, match=shard.name):
        plan_clips(config, tmp_path)


def test_a_checkpoint_of_another_run_is_refused(root: Path, config: Config, run: ClipRun, tmp_path: Path) -> None:
    other = replace(config, seed=9)
    (tmp_path / "run/network").mkdir(parents=True)
    (tmp_path / "run/network/checkpoint.pt").write_bytes((run.network / "checkpoint.pt").read_bytes())
    with pytest.raises(RunError, match=r"checkpoint\.pt: expected .*seed"):
        fit_clips(tmp_path / "run", other, root)


def test_two_processes_make_one_run(root: Path, config: Config, tmp_path: Path) -> None:
    words = ["--data", str(root), "--out", str(tmp_path / "run"), "--set", "train.epochs=1"]
    words += ["--set", "train.windows_per_epoch=48", "--set", "train.device=cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29533",
         "-m", "trainer", "fit", str(root / "toy.toml"), *words],
        cwd=Path(__file__).parents[3], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("Segments of 1 s") == 1
    assert "epoch 1 of 1" in done.stderr
    assert len(open_clip_run(tmp_path / "run").answers("evaluation").clips) == 24


def test_a_disk_that_takes_no_more_is_one_message(root: Path, tmp_path: Path) -> None:
    words = f"exec {sys.executable} -m trainer fit {root / 'toy.toml'} --data {root} --out {tmp_path / 'run'}"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 1; {words}"],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "File too large" in done.stderr
    assert list((tmp_path / "run").iterdir()) == []
