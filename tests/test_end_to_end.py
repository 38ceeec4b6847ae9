"""One recording by four ways (file, replay in real time, pipe into the command, Python): the same answers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import bundles

from ascstream import Classifier, Prediction, StreamSettings, open_media, stream
from ascstream.sources.synthetic import ReplaySource

RATE = 24_000
STEP = 0.25
ASCSTREAM = str(Path(sys.executable).with_name("ascstream"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundles.mono_logmel(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    """[1, n]: park, tram, then noise; whole 16-bit values, so that a WAV holds them exactly."""
    rng = np.random.default_rng(11)
    n = int(1.7 * RATE)
    at = np.arange(n) / RATE
    park, tram = (0.3 * np.sin(2 * np.pi * bundles.tone_hz(label) * at) for label in ("park", "tram"))
    signal = np.concatenate([park, tram, 0.05 * rng.standard_normal(n // 2)])
    return (np.round(signal * 32768) / 32768).astype(np.float32)[None]


@pytest.fixture(scope="module")
def recording(samples: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "recording.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples[0] * 32768).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def by_file(bundle: Path, recording: Path) -> list[Prediction]:
    with Classifier.load(bundle) as classifier, open_media(recording) as source:
        return list(stream(classifier, source, StreamSettings(step_seconds=STEP)))


def as_row(prediction: Prediction) -> dict[str, Any]:
    return {name: getattr(prediction, name) for name in ("start", "end", "label", "level", "reason", "scores")}


def assert_same(rows: list[dict[str, Any]], expected: list[Prediction]) -> None:
    assert len(rows) == len(expected) == 14
    for row, prediction in zip(rows, expected, strict=True):
        for name in ("start", "end", "label", "level", "reason"):
            assert row[name] == getattr(prediction, name)
        assert row["scores"] == pytest.approx(dict(prediction.scores), abs=1e-5)


def test_a_file_hears_both_scenes(by_file: list[Prediction]) -> None:
    assert by_file[0].label == "park"
    raw = [max(p.raw_scores, key=p.raw_scores.__getitem__) for p in by_file]
    assert raw[0] == "park"
    assert raw[8] == "tram"


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(1,), (441,), (480, 7, 1024), (100_000,)], ids=str)
def test_a_replay_in_any_blocks_is_the_file(
    sizes: tuple[int, ...], bundle: Path, samples: np.ndarray, by_file: list[Prediction]
) -> None:
    settings = StreamSettings(step_seconds=STEP)
    with Classifier.load(bundle) as classifier, ReplaySource(samples, RATE, block_sizes=sizes) as source:
        assert_same([as_row(p) for p in stream(classifier, source, settings)], by_file)


@pytest.mark.slow
def test_a_replay_in_real_time_is_the_file(bundle: Path, samples: np.ndarray, by_file: list[Prediction]) -> None:
    settings = StreamSettings(step_seconds=STEP)
    begun = time.monotonic()
    arrivals: list[float] = []

    def timed(predictions: Iterator[Prediction]) -> Iterator[Prediction]:
        for prediction in predictions:
            arrivals.append(time.monotonic() - begun)
            yield prediction

    with Classifier.load(bundle) as classifier:
        begun = time.monotonic()
        with ReplaySource(samples, RATE, block_sizes=(480,), sleep=time.sleep) as source:
            rows = [as_row(p) for p in timed(stream(classifier, source, settings))]
    assert_same(rows, by_file)
    # a prediction never comes before its last sample (the very last window is padded)
    ends = [row["end"] for row in rows]
    assert all(arrival >= min(end, 4.25) - 0.02 for arrival, end in zip(arrivals, ends, strict=True))


def test_a_pipe_into_the_command_is_the_file(bundle: Path, recording: Path, by_file: list[Prediction]) -> None:
    command = [ASCSTREAM, "file", "-", "--bundle", str(bundle), "--step", str(STEP), "--format", "jsonl"]
    with recording.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert_same([row for row in rows if row["type"] == "prediction"], by_file)


def test_the_command_on_the_file_writes_the_same(
    bundle: Path, recording: Path, tmp_path: Path, by_file: list[Prediction]
) -> None:
    out = tmp_path / "results.jsonl"
    command = [ASCSTREAM, "file", str(recording), "--bundle", str(bundle), "--step", str(STEP), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert_same([row for row in rows if row["type"] == "prediction"], by_file)


def test_another_lossless_container_is_the_file(
    bundle: Path, recording: Path, tmp_path: Path, by_file: list[Prediction]
) -> None:
    flac = tmp_path / "recording.flac"
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(recording), str(flac)], check=True)
    with Classifier.load(bundle) as classifier, open_media(flac) as source:
        assert_same([as_row(p) for p in stream(classifier, source, StreamSettings(step_seconds=STEP))], by_file)
