"""`trainer evaluate` as a user types it: tables in a pipe, JSON, the challenge's table, other corpora, and mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.answers import clip_entries, write_run
from support.corpus import scene_samples, write_wav

from trainer.clip_run import answers_path
from trainer.evaluate.submission import read_submission


def evaluate(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainer", "evaluate", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.slow
def test_a_pipe_gets_plain_tables_and_the_run_its_files(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs/invented")
    done = evaluate("runs/invented", "--submission", "system.csv", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "written: runs/invented/figures.md, system.csv\n")
    lines = done.stdout.splitlines()
    assert lines[0] == "Segments of 1 s"
    assert lines[1].split()[-5:] == ["Brier", "score", "uncalibrated", "log", "loss"]
    assert lines[2].startswith("everything there  ")
    report = json.loads((run.folder / "report.json").read_text(encoding="utf-8"))
    assert f"{100 * report['conditions']['whole']['calibrated']['accuracy']:.1f} % (" in lines[2]
    assert "Whole clips" in lines
    assert "By scene" in lines
    assert "\x1b" not in done.stdout
    table = read_submission(tmp_path / "system.csv")
    assert len(table.names) == report["n_segments"]
    assert all(name.endswith("_3.wav") for name in table.names[3::4])
    answers = run.answers("evaluation")
    targets = np.array(run.labels)[run.targets[answers.clips]]
    right = np.mean(np.array(table.answers) == targets)
    assert right == pytest.approx(report["conditions"]["whole"]["calibrated"]["accuracy"], rel=1e-12)


@pytest.mark.slow
def test_the_newest_run_is_taken_and_out_leaves_it_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs/invented")
    assert evaluate(cwd=tmp_path).returncode == 3  # none is finished
    assert evaluate(run.folder, cwd=tmp_path).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in run.folder.iterdir()}
    done = evaluate("--out", "elsewhere", "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout) == json.loads((tmp_path / "elsewhere/report.json").read_text(encoding="utf-8"))
    assert {path: path.stat().st_mtime_ns for path in run.folder.iterdir()} == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["nowhere"],
            3,
            "trainer: nowhere: expected a run, got: No such file or directory; make one with: trainer fit",
        ),
        (["--bundle", "b"], 2, "trainer: --bundle: expected --on PREPARED and no RUN; a bundle is evaluated on"),
        (["r", "--bundle", "b", "--on", "p"], 2, "trainer: --bundle: expected --on PREPARED and no RUN"),
        (["r", "--precision", "int8"], 2, "trainer: --precision: expected --bundle or --data with it"),
        (["--bundle", "b", "--on", "p"], 4, "trainer: b: "),
        (["run", "--on", "nowhere"], 3, "trainer: nowhere"),
        (["run", "--out", "run/config.json"], 2, "trainer: --out: expected a folder to write into, got a file at run/"),
        (["run", "--submission", "run"], 1, "trainer: "),
    ],
)
def test_mistakes_end_in_one_line(tmp_path: Path, words: list[str], code: int, message: str) -> None:
    write_run(tmp_path / "run")
    done = evaluate(*words, cwd=tmp_path)
    assert done.returncode == code
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_an_unknown_precision_is_a_mistake_of_usage(tmp_path: Path) -> None:
    done = evaluate("slim-audio", "--data", ".", "--precision", "int4", cwd=tmp_path)
    assert done.returncode == 2
    assert "'int4' is not one of 'float32', 'float16', 'int8'" in done.stderr


def test_a_run_that_is_not_finished_says_how_to_go_on(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", entries=clip_entries())
    answers_path(run.folder, "evaluation").unlink()
    done = evaluate("run", cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith("trainer: run/network/evaluation.npz: expected the answers of a network, got none")
    assert done.stderr.count("\n") == 1
    assert not (run.folder / "report.json").exists()


@pytest.mark.slow
def test_a_bundle_is_streamed_over_labelled_clips(tmp_path: Path) -> None:
    for name, scene in (("a", "park"), ("b", "street_traffic")):
        (tmp_path / "clips" / scene).mkdir(parents=True)
        write_wav(tmp_path / "clips" / scene / f"{name}.wav", scene_samples("hiss", 3.0, 1))
    done = evaluate("slim-audio", "--data", "clips", "--out", "report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "written: report/figures.md" in done.stderr
    assert "everything there" in done.stdout
    assert "Decided\n" in done.stdout
    report = json.loads((tmp_path / "report/report.json").read_text(encoding="utf-8"))
    assert (report["n_clips"], report["decided"]["scenes"]["n_windows"]) == (2, 6)
    assert "## Decided" in (tmp_path / "report/figures.md").read_text(encoding="utf-8")
    write_wav(tmp_path / "clips/park/b.wav", 0 * scene_samples("hiss", 3.0, 1))
    told = evaluate("slim-audio", "--data", "clips/park", cwd=tmp_path)  # one scene, and half of it is silence
    assert told.stderr == "everything there: 3 of 6 windows had nothing to go by, and count as guesses\n"
    refused = evaluate("slim-audio", "--data", "clips", "--bundle", "b", cwd=tmp_path)
    assert (refused.returncode, refused.stderr[:42]) == (2, "trainer: --data: expected a bundle as RUN,")
