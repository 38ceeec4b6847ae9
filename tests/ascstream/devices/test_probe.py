"""Recording from devices for a moment: a real PulseAudio, a real camera, and what does not work."""

from __future__ import annotations

import time

import numpy as np
import pytest
from support.cameras import MjpegCamera, free_port
from support.pulse import PulseServer, needs_pulse

from ascstream.capture.requests import MediaRequest, MicrophoneRequest
from ascstream.devices import Camera, DeviceList, Microphone
from ascstream.devices.cameras import RAW
from ascstream.devices.probe import Probe, describe, probe, probe_all, request_of
from ascstream.live.addresses import resolve_camera
from ascstream.records import Image


def test_a_device_becomes_the_request_of_its_very_entry() -> None:
    mic = Microphone(0, 4, "C525: USB Audio (hw:1,0)", "ALSA", 1, 48_000, default=False)
    assert request_of(mic) == MicrophoneRequest("C525: USB Audio (hw:1,0)", "ALSA", 4)
    camera = Camera(0, "/dev/video2", "Cam", "uvcvideo", "usb", "/dev/v4l/by-id/cam")
    assert request_of(camera) == MediaRequest("/dev/video2", "v4l2")


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (
            Probe(True, None, 0.4216, 48_000, 1, -42.31),
            "works: 48000 Hz, 1 channel, -42 dBFS, first after 0.42 s",
        ),
        (
            Probe(True, None, 1.0, 44_100, 2, -120.0),
            "works: 44100 Hz, 2 channels, silent: muted, or nothing plugged in?, first after 1.00 s",
        ),
        (
            Probe(True, None, 0.5, width=640, height=480, frame_rate=29.97, dark=True),
            "works: 640×480, 30.0 pictures a second, dark: is the lens covered?, first after 0.50 s",
        ),
        (Probe(True, "it stopped", 0.5, width=2, height=2), "works: 2×2, first after 0.50 s; then: it stopped"),
        (Probe(False, "it is busy"), "does not work: it is busy"),
    ],
)
def test_a_probe_is_told_in_a_line(found: Probe, line: str) -> None:
    assert describe(found) == line


@pytest.mark.slow
@needs_pulse
def test_a_tone_has_its_level() -> None:
    tone = np.sin(np.arange(48_000) * (2 * np.pi * 440 / 48_000)).astype(np.float32) * np.float32(0.1)
    with PulseServer() as server, server.applied():
        server.play(tone, loop=True)
        found = probe(MicrophoneRequest("pulse"), seconds=1.0, deadline_seconds=20.0)
    assert (found.delivers, found.problem, found.n_channels) == (True, None, 2)
    assert found.level_dbfs == pytest.approx(-23.0, abs=6.0)
    assert not found.silent


def test_a_device_that_is_not_there_says_why() -> None:
    found = probe(MicrophoneRequest("no such microphone"), deadline_seconds=20.0)
    assert not found.delivers
    assert found.problem is not None
    assert describe(found) == f"does not work: {found.problem}"


def show_black(moment: float, width: int, height: int) -> Image:
    return np.zeros((height, width, 3), np.uint8)


@pytest.mark.slow
def test_a_camera_has_its_size_and_rate() -> None:
    with MjpegCamera(width=320, height=240, frame_rate=20.0) as camera:
        request = resolve_camera(camera.url)
        assert request == MediaRequest(camera.url)
        found = probe(request, seconds=2.0, deadline_seconds=30.0)
    assert (found.delivers, found.problem, found.width, found.height) == (True, None, 320, 240)
    assert found.frame_rate is not None
    assert 2 < found.frame_rate < 40  # 20 on a machine that has time
    assert not found.dark


@pytest.mark.slow
def test_a_covered_lens_is_noticed() -> None:
    with MjpegCamera(show_black, width=320, height=240, frame_rate=20.0) as camera:
        found = probe(MediaRequest(camera.url), seconds=1.0, deadline_seconds=30.0)
    assert found.delivers
    assert found.dark


def test_a_camera_that_is_not_there_says_why() -> None:
    found = probe(MediaRequest(f"http://127.0.0.1:{free_port()}/"), deadline_seconds=20.0)
    assert not found.delivers
    assert found.problem is not None
    assert "refused" in found.problem


def test_all_devices_come_in_their_order_and_an_unreadable_camera_is_not_opened() -> None:
    port = free_port()
    found = DeviceList(
        cameras=(
            Camera(0, "/dev/video0", "vi-output, imx219", "tegra-video", "", None, unreadable=RAW),
            Camera(1, f"http://127.0.0.1:{port}/", "gone", "", "", None, format="mpjpeg"),
        )
    )
    with probe_all(found) as (mics, cameras):
        assert mics == []
        assert cameras[0].result() == Probe(False, RAW)
        assert not cameras[1].result().delivers


def test_leaving_early_waits_for_nothing() -> None:
    with MjpegCamera() as camera:
        camera.freeze()
        cameras = tuple(Camera(n, camera.url, "frozen", "", "", None, format="mpjpeg") for n in range(5))
        with probe_all(DeviceList(cameras=cameras)):
            time.sleep(0.3)
            start = time.monotonic()
        assert time.monotonic() - start < 5.0  # five deadlines are 35 s
