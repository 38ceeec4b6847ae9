"""Listing cameras: nodes as the kernel describes them, links as udev makes them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from support.v4l2 import META, capability

from ascstream.devices import Camera, CameraMode, list_cameras
from ascstream.devices.cameras import RAW, describe, name_stably


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


def test_a_metadata_node_is_no_camera() -> None:
    assert describe(0, "/dev/video1", capability(META), ()) is None


def test_a_camera_is_described_by_what_its_node_answers() -> None:
    modes = (CameraMode("MJPG", 1280, 720, (30.0,)),)
    assert describe(2, "/dev/video4", capability(0x1), modes) == Camera(
        2, "/dev/video4", "Café Cam", "uvcvideo", "usb-1", None, modes=modes
    )


@pytest.mark.parametrize(
    ("driver", "formats", "raw"),
    [
        ("tegra-video", ("RG10",), True),  # a CSI sensor of a Jetson
        ("tegra-video", (), True),
        ("tegra-video", ("RG10", "UYVY"), False),
        ("uvcvideo", (), False),  # a driver that does not tell
        ("uvcvideo", ("GREY",), False),
        ("unicam", ("pRAA", "pBAA"), True),
        ("uvcvideo", ("RGB3",), False),
        ("uvcvideo", ("RGGB",), False),  # 8 bits: FFmpeg reads it
    ],
)
def test_a_bare_sensor_is_told_what_to_do_about(driver: str, formats: tuple[str, ...], raw: bool) -> None:
    modes = tuple(CameraMode(name, 640, 480) for name in formats)
    camera = describe(0, "/dev/video0", capability(0x1, driver=driver), modes)
    assert camera is not None
    assert camera.unreadable == (RAW if raw else None)


def plugged(*names: str) -> list[Camera]:
    return [Camera(n, f"/dev/video{n}", name, "uvcvideo", "", None) for n, name in enumerate(names)]


def test_a_camera_is_called_by_maker_and_serial_number_where_it_has_one() -> None:
    by_id, by_path = {"/dev/video0": "/id/a"}, {"/dev/video0": "/path/1", "/dev/video1": "/path/2"}
    named = name_stably(plugged("A", "B"), by_id, by_path)
    assert [camera.stable_path for camera in named] == ["/id/a", "/path/2"]


def test_two_of_a_kind_that_share_a_link_are_called_by_their_ports() -> None:
    by_id, by_path = {"/dev/video1": "/id/a"}, {"/dev/video0": "/path/1", "/dev/video1": "/path/2"}
    named = name_stably(plugged("A", "A"), by_id, by_path)
    assert [camera.stable_path for camera in named] == ["/path/1", "/path/2"]


def test_without_links_there_is_no_name_that_stays() -> None:
    assert name_stably(plugged("A"), {}, {})[0].stable_path is None
