"""Queries a Linux video node: Video4Linux ioctls and their structures, parsed from bytes (linux/videodev2.h)."""

from __future__ import annotations

import errno
import os
import re
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from ascstream.devices.records import CameraMode

Ask: TypeAlias = Callable[[int, bytearray], None]
"""Performs an ioctl on one node: takes its number and a structure that the answer overwrites; OSError if refused."""
_QUERYCAP = 0x80685600
"""VIDIOC_QUERYCAP = _IOR('V', 0, struct v4l2_capability)."""
_ENUM_FMT = 0xC0405602
"""VIDIOC_ENUM_FMT = _IOWR('V', 2, struct v4l2_fmtdesc)."""
_ENUM_FRAMESIZES = 0xC02C564A
"""VIDIOC_ENUM_FRAMESIZES = _IOWR('V', 74, struct v4l2_frmsizeenum)."""
_ENUM_FRAMEINTERVALS = 0xC034564B
"""VIDIOC_ENUM_FRAMEINTERVALS = _IOWR('V', 75, struct v4l2_frmivalenum)."""
_CAPABILITY = struct.Struct("=16s32s32sIII12x")
"""struct v4l2_capability: driver, card, bus_info, version, capabilities, device_caps, reserved[3]."""
_FORMAT = struct.Struct("=III32s4sI12x")
"""struct v4l2_fmtdesc: index, type, flags, description, pixelformat, mbus_code, reserved[3]."""
_SIZE = struct.Struct("=I4sI6I8x")
"""struct v4l2_frmsizeenum: index, pixel_format, type, then width and height, or minimum, maximum and step of both."""
_INTERVAL = struct.Struct("=I4sIII6I8x")
"""struct v4l2_frmivalenum: index, pixel_format, width, height, type, then one interval in seconds (a fraction), or
minimum, maximum and step."""
_CAPTURE = 0x00000001 | 0x00001000
"""V4L2_CAP_VIDEO_CAPTURE, V4L2_CAP_VIDEO_CAPTURE_MPLANE."""
_DEVICE_CAPS = 0x80000000
"""V4L2_CAP_DEVICE_CAPS: device_caps describes this node only, capabilities the whole device."""
_BUFFERS = (1, 9)
"""V4L2_BUF_TYPE_VIDEO_CAPTURE, V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE."""
_DISCRETE = 1
"""V4L2_FRMSIZE_TYPE_DISCRETE, V4L2_FRMIVAL_TYPE_DISCRETE."""
_MOSAIC = re.compile(r"(BG|GB|BA|GR|RG)1[0246]|p[BGgR](AA|CC|EE)|BYR2")
"""Four-character codes of raw Bayer formats: V4L2_PIX_FMT_SBGGR10 and the like."""
_MOST = 64
"""Most formats, sizes or rates queried, in case a driver's list never ends."""


def query(node: Path) -> tuple[bytes, tuple[CameraMode, ...]]:
    """Ask a node what it is and what it offers, without disturbing anyone who is recording from it.

    Returns:
        Its `struct v4l2_capability`, and its modes.

    Raises:
        OSError: It is not a video node, or cannot be opened.
    """
    if sys.platform == "win32":
        raise OSError(errno.ENOTTY, "no video nodes on Windows")
    else:  # noqa: RET506  for the type checker, which has no fcntl on Windows
        import fcntl

        descriptor = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

        def ask(request: int, answer: bytearray) -> None:
            fcntl.ioctl(descriptor, request, answer)

        try:
            capability = bytearray(_CAPABILITY.size)
            ask(_QUERYCAP, capability)
            return bytes(capability), list_modes(ask) if parse_capability(bytes(capability))[3] else ()
        finally:
            os.close(descriptor)


def parse_capability(data: bytes) -> tuple[str, str, str, bool]:
    """Parse a `struct v4l2_capability`: driver, name, bus, and whether this node delivers pictures.

    A camera has further nodes for metadata, recognised by the capabilities of the node rather than of the device.
    """
    driver, card, bus, _version, capabilities, device_caps = _CAPABILITY.unpack(data)
    own = device_caps if capabilities & _DEVICE_CAPS else capabilities
    texts = [part.split(b"\0", 1)[0].decode("utf-8", "replace") for part in (driver, card, bus)]
    return texts[0], texts[1], texts[2], bool(own & _CAPTURE)


def list_modes(ask: Ask) -> tuple[CameraMode, ...]:
    """All modes in which a node delivers pictures, in its driver's order.

    Args:
        ask: Performs an ioctl on the node.
    """
    modes: list[CameraMode] = []
    for buffers in _BUFFERS:
        for pixel_format in _formats(ask, buffers):
            letters = pixel_format.decode("latin-1").rstrip(" \0")
            for width, height in _sizes(ask, pixel_format):
                rates = sorted(set(_rates(ask, pixel_format, width, height)), reverse=True)
                modes.append(CameraMode(letters, width, height, tuple(rates)))
    return tuple(modes)


def is_raw(mode: CameraMode) -> bool:
    """Whether a mode is raw Bayer data of 10 bits or more, which FFmpeg cannot read (it can read 8-bit data)."""
    return _MOSAIC.fullmatch(mode.pixel_format) is not None


def _formats(ask: Ask, buffers: int) -> Iterator[bytes]:
    """Pixel formats, as four-character codes."""
    for index in range(_MOST):
        answer = bytearray(_FORMAT.pack(index, buffers, 0, b"", b"", 0))
        if not _answered(ask, _ENUM_FMT, answer):
            return
        yield _FORMAT.unpack(answer)[4]


def _sizes(ask: Ask, pixel_format: bytes) -> Iterator[tuple[int, int]]:
    """Widths and heights; only the largest if the driver offers a continuous or stepwise range."""
    for index in range(_MOST):
        answer = bytearray(_SIZE.pack(index, pixel_format, 0, *[0] * 6))
        if not _answered(ask, _ENUM_FRAMESIZES, answer):
            return
        _, _, kind, *numbers = _SIZE.unpack(answer)
        if kind != _DISCRETE:
            yield numbers[1], numbers[4]
            return
        yield numbers[0], numbers[1]


def _rates(ask: Ask, pixel_format: bytes, width: int, height: int) -> Iterator[float]:
    """Pictures per second; only the fastest if the driver offers a continuous or stepwise range."""
    for index in range(_MOST):
        answer = bytearray(_INTERVAL.pack(index, pixel_format, width, height, 0, *[0] * 6))
        if not _answered(ask, _ENUM_FRAMEINTERVALS, answer):
            return
        numerator, denominator = _INTERVAL.unpack(answer)[5:7]
        if numerator and denominator:
            yield round(denominator / numerator, 3)
        if _INTERVAL.unpack(answer)[4] != _DISCRETE:
            return


def _answered(ask: Ask, request: int, answer: bytearray) -> bool:
    """Perform an ioctl; returns whether there was another entry."""
    try:
        ask(request, answer)
    except OSError:
        return False
    return True
