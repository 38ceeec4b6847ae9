"""One stream and everything that can happen to its devices: it notices, goes on with what is left, and recovers.

The parts are real: PulseAudio's microphone, a camera over HTTP, `ascstream live` in a process of its own. One process
goes through all of it, in this order; each test waits for it to be whole again.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from support.bundles import audio_visual, tone_hz
from support.cameras import MjpegCamera
from support.live_runs import LiveRun, Record
from support.pulse import PulseServer, needs_pulse

pytestmark = [needs_pulse, pytest.mark.slow]

STEP = 0.2
NOTICED_SECONDS, RECOVERY_SECONDS = 2.0, 4.0
BUSY_SECONDS = 6.0
"""What a machine with other work to do may take in addition."""
AWAY_SECONDS = 1.0


class Stage(NamedTuple):
    """The parts."""

    run: LiveRun
    server: PulseServer
    camera: MjpegCamera


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    bundle = audio_visual(tmp_path_factory.mktemp("bundles"))
    seconds = np.arange(48_000) / 48_000
    with PulseServer() as server, MjpegCamera(park) as camera:
        server.play((0.3 * np.sin(2 * np.pi * round(tone_hz("park")) * seconds)).astype(np.float32), loop=True)
        words = ["--mic", "default", "--camera", camera.url, "--bundle", bundle, "--step", STEP, "--smoothing", 0]
        with LiveRun(*words, env=server.environment()) as run:
            yield Stage(run, server, camera)


def park(_moment: float, width: int, height: int) -> np.ndarray:
    return np.broadcast_to(np.array([0, 255, 0], np.uint8), (height, width, 3)).copy()


def rests_on(*modalities: str) -> Callable[[Record], bool]:
    return lambda record: record["modalities"] == list(modalities)


def be_whole(stage: Stage) -> float:
    """Wait until it hears and sees; the moment."""
    whole = rests_on("audio", "video")
    now = time.monotonic()
    stage.run.wait_for("prediction", lambda r: whole(r) and not r["degraded"], since=now)
    return time.monotonic()


def assert_every_window(records: list[Record]) -> None:
    """There is an answer every step, whatever it says."""
    ends = [record["end"] for record in records]
    assert len(ends) > 2
    np.testing.assert_allclose(np.diff(ends), STEP, atol=1e-6)


def lose_and_find(stage: Stage, device: str, lose: Callable[[], None], find: Callable[[], None]) -> None:
    """Take a device away and give it back: what the stream says meanwhile, and how soon."""
    run, left = stage.run, {"microphone": "video", "camera": "audio"}[device]
    begun = be_whole(stage)
    lose()
    try:
        noticed = see_it_lost(run, device, left, begun)
    finally:
        returned = time.monotonic()
        find()
    back, _ = run.wait_for("event", lambda record: record["kind"] == "device_back", since=returned)
    run.wait_for("prediction", rests_on("audio", "video"), since=returned)
    print(f"{device}: noticed after {noticed:.2f} s, back after {back - returned:.2f} s")
    assert noticed <= NOTICED_SECONDS + BUSY_SECONDS
    assert back - returned <= RECOVERY_SECONDS + BUSY_SECONDS
    told = run.predictions(begun)
    assert_every_window(told)
    assert all(left in record["modalities"] for record in told)


def see_it_lost(run: LiveRun, device: str, left: str, begun: float) -> float:
    """What the stream says while a device is away; seconds until it was noticed."""
    lost, event = run.wait_for("event", lambda record: record["kind"] == "device_lost", since=begun)
    assert event["message"].startswith(f"{device} lost: ")
    _, alone = run.wait_for("prediction", lambda r: rests_on(left)(r) and device in r.get("lost", {}), since=begun)
    assert alone["degraded"]
    assert alone["lost"][device] >= 0
    assert alone["label"] == "park"  # by what is left
    time.sleep(AWAY_SECONDS)
    return lost - begun


def test_a_microphone_is_unplugged_and_back(stage: Stage) -> None:
    lose_and_find(stage, "microphone", stage.server.unplug, stage.server.plug)


def test_a_microphone_freezes(stage: Stage) -> None:
    lose_and_find(stage, "microphone", stage.server.freeze, stage.server.thaw)


def test_the_sound_server_is_killed_and_restarted(stage: Stage) -> None:
    lose_and_find(stage, "microphone", stage.server.kill, stage.server.restart)


def test_a_camera_is_killed_and_back(stage: Stage) -> None:
    lose_and_find(stage, "camera", stage.camera.kill, stage.camera.restart)


def test_a_camera_freezes_with_its_connection_open(stage: Stage) -> None:
    lose_and_find(stage, "camera", stage.camera.freeze, stage.camera.thaw)


def test_a_camera_sends_rubbish(stage: Stage) -> None:
    lose_and_find(stage, "camera", lambda: stage.camera.garbage(True), lambda: stage.camera.garbage(False))


def test_a_camera_changes_its_size(stage: Stage) -> None:
    begun = be_whole(stage)
    stage.camera.resize(320, 240)
    _, event = stage.run.wait_for("event", lambda record: record["kind"] == "device_changed", since=begun)
    assert "320×240" in event["message"]
    time.sleep(AWAY_SECONDS)
    be_whole(stage)
    told = stage.run.predictions(begun)
    assert_every_window(told)
    assert {record["label"] for record in told} == {"park"}


def test_both_are_gone_and_the_stream_still_ticks(stage: Stage) -> None:
    begun = be_whole(stage)
    stage.camera.kill()
    stage.server.kill()
    blind = lambda record: record["reason"] == "no_input" and set(record.get("lost", {})) == {"camera", "microphone"}  # noqa: E731
    moment, record = stage.run.wait_for("prediction", blind, since=begun)
    assert (record["label"], record["modalities"], record["raw_scores"]) == ("unknown", [], {})
    time.sleep(2.0)
    dark = stage.run.predictions(moment)
    assert len(dark) >= 5
    assert all(record["reason"] == "no_input" for record in dark)
    stage.camera.restart()
    stage.server.restart()
    be_whole(stage)
    assert_every_window(stage.run.predictions(begun))


def test_a_process_that_is_suspended_goes_on_at_the_present(stage: Stage) -> None:
    begun = be_whole(stage)
    time.sleep(AWAY_SECONDS)
    stage.run.process.send_signal(signal.SIGSTOP)
    time.sleep(8.0)
    resumed = time.monotonic()
    stage.run.process.send_signal(signal.SIGCONT)
    whole = lambda record: rests_on("audio", "video")(record) and not record["degraded"]  # noqa: E731
    moment, record = stage.run.wait_for("prediction", whole, since=resumed + 0.3)
    assert record["latency_seconds"] < 1 + BUSY_SECONDS / 2  # and not eight seconds late
    before = stage.run.predictions(begun, resumed)[-1]
    assert record["end"] - before["end"] == pytest.approx(moment - resumed + 8, abs=2 + BUSY_SECONDS)


def test_nothing_was_left_behind(stage: Stage) -> None:
    be_whole(stage)
    proc = Path(f"/proc/{stage.run.process.pid}")
    started = {child for task in (proc / "task").iterdir() for child in (task / "children").read_text().split()}
    alive = [child for child in started if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "Z"]
    assert len(alive) == 2  # a microphone and a camera, after all that
    assert len(started) - len(alive) <= 1
    assert len(list((proc / "fd").iterdir())) < 40
    code = stage.run.stop()
    assert code == 143
    summary = stage.run.records[-1][1]
    assert summary["type"] == "summary"
    losses = {device["device"]: device["n_losses"] for device in summary["devices"]}
    assert losses["microphone"] >= 4
    assert losses["camera"] >= 4
