"""A clip played into a microphone and a camera is answered as its file is: the same scenes, at the same moments."""

from __future__ import annotations

import json
import time
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.bundles import COLOURS, audio_visual, tone_hz
from support.cameras import MjpegCamera
from support.commands import ascstream
from support.live_runs import LiveRun, Record, is_prediction
from support.pulse import PulseServer, needs_pulse
from support.waiting import until

RATE, FRAME_RATE, SIZE = 48_000, 25, (320, 240)
SCENES = ("park", "bus", "metro_station", "park", "bus")
SECONDS = 5
"""Of each scene."""
STEP = 0.5
EDGE_SECONDS = 0.6
"""Around a change of scene a window's answer depends on where exactly it begins."""


def sound() -> np.ndarray:
    """A tone a scene, over noise: without, what 16 bits leave of silence would decide: [n_samples]."""
    time_ = np.arange(SECONDS * RATE) / RATE
    tones = np.concatenate([0.3 * np.sin(2 * np.pi * tone_hz(scene) * time_) for scene in SCENES])
    return (tones + 0.01 * np.random.default_rng(1).standard_normal(tones.size)).astype(np.float32)


def colour(seconds: float) -> tuple[int, int, int]:
    """What is seen at a moment of the clip; the first scene's before it and the last one's after."""
    return COLOURS[SCENES[min(max(int(seconds // SECONDS), 0), len(SCENES) - 1)]]


def write_clip(path: Path) -> Path:
    """The clip as a file."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mjpeg", rate=FRAME_RATE, options={"q": "2"})
        video.width, video.height, video.pix_fmt = *SIZE, "yuvj420p"
        audio = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        samples, each = (32767 * sound()).astype(np.int16), RATE // FRAME_RATE
        for index in range(len(SCENES) * SECONDS * FRAME_RATE):
            image = np.broadcast_to(np.array(colour(index / FRAME_RATE), np.uint8), (SIZE[1], SIZE[0], 3))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE)
            container.mux(video.encode(frame))
            piece = av.AudioFrame.from_ndarray(samples[None, index * each : (index + 1) * each], "s16", "mono")
            piece.sample_rate, piece.pts, piece.time_base = RATE, index * each, Fraction(1, RATE)
            container.mux(audio.encode(piece))
        container.mux([*video.encode(None), *audio.encode(None)])
    return path


def scenes_of(records: list[Record]) -> list[str]:
    """The scenes in order, each once; what is unknown at a change left out."""
    named = [record["label"] for record in records if record["level"] == "scene"]
    return [label for index, label in enumerate(named) if not index or named[index - 1] != label]


@needs_pulse
@pytest.mark.slow
def test_a_clip_played_to_devices_is_answered_as_its_file_is(tmp_path: Path) -> None:
    bundle = audio_visual(tmp_path)
    clip = write_clip(tmp_path / "clip.mkv")
    words = ["--bundle", bundle, "--step", STEP, "--smoothing", 0]
    done = ascstream("file", clip, *words, "--format", "jsonl", "--quiet")
    of_file = [record for record in map(json.loads, done.stdout.splitlines()) if is_prediction(record)]
    assert scenes_of(of_file) == list(SCENES)
    begun = [time.time() + 1e6]  # not yet

    def draw(_moment: float, width: int, height: int) -> np.ndarray:
        return np.broadcast_to(np.array(colour(time.time() - begun[0]), np.uint8), (height, width, 3)).copy()

    with PulseServer(RATE) as server, MjpegCamera(draw, width=SIZE[0], height=SIZE[1]) as camera:
        live = ["--mic", "default", "--camera", camera.url, *words]
        with LiveRun(*live, env=server.environment()) as run:
            run.wait_for("prediction", lambda record: record["modalities"] == ["video"], since=0.0)
            server.play(sound(), RATE)
            run.wait_for("prediction", lambda record: record["modalities"] == ["audio", "video"], since=0.0)
            begun[0] = first_sound(run)
            end = begun[0] + len(SCENES) * SECONDS
            until(lambda: time.time() > end + 1, 60)
            told = [record for _, record in run.records if is_prediction(record)]
    heard = [record for record in told if begun[0] + 1 <= end_of(record) <= end]
    assert scenes_of(heard) == list(SCENES)
    differences = [np.abs(np.subtract(*pair)).max() for pair in matched(heard, of_file, begun[0])]
    print(f"{len(differences)} windows away from changes: scores differ by at most {max(differences):.4f}")
    assert len(differences) > 20
    assert max(differences) < 0.02
    assert not any(record["degraded"] for record in heard)


def end_of(record: Record) -> float:
    """Wall time of a window's end."""
    return datetime.fromisoformat(record["time"].replace("Z", "+00:00")).timestamp()


def first_sound(run: LiveRun) -> float:
    """Wall time at which the clip was first heard, within a step: silence is no sound at all before."""
    told = [record for _, record in run.records if is_prediction(record) and "audio" in record["modalities"]]
    return end_of(told[0]) - STEP / 2


def matched(live: list[Record], of_file: list[Record], begun: float) -> list[tuple[list[float], list[float]]]:
    """The scores of each live window and of the file's that ends nearest, where no scene changes around."""
    pairs = []
    for record in live:
        at = end_of(record) - begun
        if min(at % SECONDS, SECONDS - at % SECONDS) > EDGE_SECONDS and (at - 1) // SECONDS == at // SECONDS:
            twin = min(of_file, key=lambda other: abs(other["end"] - at))
            labels = sorted(record["raw_scores"])
            pairs.append(tuple([each["raw_scores"][label] for label in labels] for each in (record, twin)))
    return pairs
