"""`ascstream bench`: its stages add up, and its report says what was run."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from support.bad_files import every, tone, write_clip
from support.commands import ascstream

from ascstream.cli.timing import Stopwatch

Bundle = Callable[[str], Path]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    times = every(Fraction(1, 10), Fraction(4))
    return write_clip(tmp_path / "a.mp4", samples=tone(4), picture=(64, 48), frame_times=times)


def test_stages_add_up_to_the_whole(clip: Path, bundle: Bundle) -> None:
    done = ascstream("bench", clip, "--bundle", bundle("audio_visual"), "--step", "0.5", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["clip"] == str(clip)
    assert report["bundle"] == "audio_visual 1.0.0"
    assert (report["step_seconds"], report["n_windows"], report["stream_seconds"]) == (0.5, 7, 4.0)
    stages = report["stages"]
    assert list(stages) == ["decode", "features", "inference", "rest", "whole"]
    parts = sum(stages[name]["sum_seconds"] for name in list(stages)[:-1])
    assert parts == pytest.approx(stages["whole"]["sum_seconds"], abs=1e-5)
    for stage in stages.values():
        assert 0 < stage["p50_ms"] <= stage["p95_ms"] <= stage["p99_ms"]
    assert stages["whole"]["sum_seconds"] <= report["wall_seconds"]
    assert report["realtime_factor"] == pytest.approx(report["wall_seconds"] / 4.0, abs=1e-6)
    assert report["cpu_seconds"] > 0
    assert 30e6 < report["peak_memory_bytes"] < 1e9


def test_the_table_has_a_row_for_every_stage(clip: Path, bundle: Bundle) -> None:
    done = ascstream("bench", clip, "--bundle", bundle("mono_logmel"))
    assert done.returncode == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows if len(row) == 6 and row[-1].endswith("%")] == [
        "decode",
        "features",
        "inference",
        "rest",
        "whole",
    ]
    assert "real-time factor" in done.stdout


@pytest.mark.slow
def test_without_a_clip_one_is_made(bundle: Bundle) -> None:
    done = ascstream("bench", "--bundle", bundle("image_only"), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["clip"] == "synthetic, 30 s"
    assert report["n_windows"] in (29, 30)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--step", "5"], 2, "step: expected 0.001 s to the window's 1 s, got 5; try --step 1"),
        (["absent.wav"], 3, "no such file: absent.wav; check the path"),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], code: int, message: str, bundle: Bundle) -> None:
    done = ascstream("bench", *words, "--bundle", bundle("mono_logmel"))
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"ascstream: {message}\n")


def test_a_lap_takes_inference_off_the_scoring_around_it() -> None:
    moments = iter([10.0, 11.0])
    watch = Stopwatch(lambda: next(moments))
    assert watch.start() == 10.0
    watch.add("decode", 0.25)
    watch.add("inference", 0.125)
    watch.add("features", 0.5)
    watch.lap()
    assert watch.laps == {"decode": [0.25], "features": [0.375], "inference": [0.125], "rest": [0.25], "whole": [1.0]}
