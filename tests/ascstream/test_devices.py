"""Listing devices: a real PortAudio on a made-up ALSA, camera nodes as the kernel describes them."""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import ascstream

from ascstream.devices import list_cameras
from ascstream.devices.v4l2 import parse_capability

ALSA = Path("/usr/share/alsa/alsa.conf")
CAPTURE, CAPTURE_MPLANE, META, OUTPUT, DEVICE_CAPS = 0x1, 0x1000, 0x0080_0000, 0x2, 0x8000_0000


def capability(capabilities: int, device_caps: int = 0) -> bytes:
    texts = [text.encode().ljust(size, b"\0") for text, size in (("uvcvideo", 16), ("Café Cam", 32), ("usb-1", 32))]
    return struct.pack("=16s32s32sIII12x", *texts, 0x060100, capabilities, device_caps)


@pytest.mark.parametrize(
    ("capabilities", "device_caps", "captures"),
    [
        (CAPTURE, 0, True),  # an old driver describes the node itself
        (CAPTURE | META | DEVICE_CAPS, CAPTURE, True),
        (CAPTURE | META | DEVICE_CAPS, META, False),  # the second node of every USB camera
        (CAPTURE_MPLANE | DEVICE_CAPS, CAPTURE_MPLANE, True),
        (OUTPUT | DEVICE_CAPS, OUTPUT, False),
    ],
)
def test_only_nodes_that_give_pictures_are_cameras(capabilities: int, device_caps: int, captures: bool) -> None:
    data = capability(capabilities, device_caps)
    assert len(data) == 104
    assert parse_capability(data) == ("uvcvideo", "Café Cam", "usb-1", captures)


def test_nodes_that_are_no_video_devices_are_left_out_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    (tmp_path / "videology").touch()
    (tmp_path / "video10").mkdir()
    found = list_cameras(tmp_path)
    assert found.cameras == ()
    assert found.advice == (f"{tmp_path}/video10: {os.strerror(errno.EISDIR)}",)


def test_no_node_at_all_says_what_to_check(tmp_path: Path) -> None:
    found = list_cameras(tmp_path)
    assert found.cameras == ()
    assert found.advice[0].startswith(f"no camera: {tmp_path}/video* has none that gives pictures; is one plugged in")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_node_without_permission_says_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "video0").touch(mode=0)
    assert list_cameras(tmp_path).advice == (
        f"{tmp_path}/video0: permission denied; type: sudo usermod -aG video $USER, then log in again",
    )


def has_portaudio() -> bool:
    probe = [sys.executable, "-c", "import sounddevice"]
    return ALSA.exists() and subprocess.run(probe, capture_output=True, check=False).returncode == 0


needs_portaudio = pytest.mark.skipif(not has_portaudio(), reason="needs PortAudio and ALSA's configuration")


@needs_portaudio
def test_a_microphone_is_listed_as_portaudio_knows_it(tmp_path: Path) -> None:
    config = tmp_path / "asound.conf"
    config.write_text(
        f'<{ALSA}>\npcm.deskmic {{ type file slave.pcm {{ type null }} file "/dev/null" infile "/dev/zero" }}\n'
    )
    done = ascstream("devices", "--json", env={"ALSA_CONFIG_PATH": str(config)})
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["schema"] == 1
    mics = [mic for mic in report["microphones"] if mic["name"] == "deskmic"]
    assert len(mics) == 1
    assert mics[0]["host_api"] == "ALSA"
    assert mics[0]["n_channels"] >= 1
    assert mics[0]["sample_rate"] >= 8000
    assert [mic["index"] for mic in report["microphones"]] == list(range(len(report["microphones"])))
    printed = ascstream("devices", env={"ALSA_CONFIG_PATH": str(config)})
    assert f"  {mics[0]['index']}  deskmic  [ALSA, " in printed.stdout
    assert "ALSA lib" not in printed.stderr


@needs_portaudio
def test_a_sound_system_that_kills_portaudio_costs_a_sentence(tmp_path: Path) -> None:
    config = tmp_path / "asound.conf"
    config.write_text("pcm.broken { type null }\n")
    done = ascstream("devices", env={"ALSA_CONFIG_PATH": str(config)})
    assert done.returncode == 0
    assert done.stdout.startswith("Microphones\n  none\n")
    assert "no microphone" in done.stderr
    assert "Traceback" not in done.stderr
