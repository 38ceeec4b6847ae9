"""Video4Linux's structures, read from bytes."""

from __future__ import annotations

import pytest
from support.v4l2 import CAPTURE, CAPTURE_MPLANE, DEVICE_CAPS, META, OUTPUT, Driver, capability

from ascstream.devices import CameraMode
from ascstream.devices.v4l2 import is_raw, list_modes, parse_capability


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


@pytest.mark.parametrize("buffers", [1, 9])  # single-planar, multi-planar
def test_formats_sizes_and_rates_come_in_the_driver_s_order(buffers: int) -> None:
    driver = Driver(
        {
            "MJPG": {(1920, 1080): [(1, 30), (1, 15)], (640, 480): [(1, 25), (1001, 30000), (1, 60)]},
            "YUYV": {(640, 480): []},
        },
        buffers,
    )
    assert list_modes(driver) == (
        CameraMode("MJPG", 1920, 1080, (30.0, 15.0)),
        CameraMode("MJPG", 640, 480, (60.0, 29.97, 25.0)),
        CameraMode("YUYV", 640, 480, ()),
    )


def test_where_any_size_and_rate_will_do_the_largest_and_the_fastest_are_told() -> None:
    assert list_modes(Driver({"NV12": (32, 4056, 32, 3040)})) == (CameraMode("NV12", 4056, 3040, (60.0,)),)


def test_a_driver_that_tells_nothing_has_no_modes() -> None:
    assert list_modes(Driver({})) == ()


def test_a_list_without_an_end_is_cut() -> None:
    def endless(request: int, answer: bytearray) -> None:
        if request & 0xFF == 2:
            answer[44:48] = b"MJPG"
        else:
            raise OSError

    def sizes(request: int, answer: bytearray) -> None:
        endless(request, answer) if request & 0xFF == 2 else answer.__setitem__(slice(8, 12), b"\1\0\0\0")

    assert list_modes(endless) == ()
    assert len(list_modes(sizes)) == 2 * 64 * 64


@pytest.mark.parametrize(("code", "raw"), [("RG10", True), ("BA12", True), ("pgAA", True), ("BYR2", True)])
def test_mosaics_of_many_bits_are_raw(code: str, raw: bool) -> None:
    assert is_raw(CameraMode(code, 1, 1)) is raw


@pytest.mark.parametrize("code", ["MJPG", "YUYV", "GREY", "RGB3", "BA24", "RGGB", "BA81", "BG24", "NV12"])
def test_what_ffmpeg_reads_is_not_raw(code: str) -> None:
    assert not is_raw(CameraMode(code, 1, 1))
