"""A video node as its kernel driver would answer: structures of Video4Linux, written as its header lays them out."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Mapping

CAPTURE, CAPTURE_MPLANE, META, OUTPUT, DEVICE_CAPS = 0x1, 0x1000, 0x0080_0000, 0x2, 0x8000_0000
Rates = list[tuple[int, int]]
"""Fractions of a second that a picture takes."""
Sizes = Mapping[tuple[int, int], Rates] | tuple[int, int, int, int]
"""Each size and its rates; or least and most width, least and most height, any between."""


def capability(capabilities: int, device_caps: int = 0, *, driver: str = "uvcvideo") -> bytes:
    texts = [text.encode().ljust(size, b"\0") for text, size in ((driver, 16), ("Café Cam", 32), ("usb-1", 32))]
    return struct.pack("=16s32s32sIII12x", *texts, 0x060100, capabilities, device_caps)


class Driver:
    """Answers ioctls as a driver with these formats would."""

    def __init__(self, formats: Mapping[str, Sizes], buffers: int = 1) -> None:
        self._formats = {name.encode().ljust(4): sizes for name, sizes in formats.items()}
        self._buffers = buffers

    def __call__(self, request: int, answer: bytearray) -> None:
        """Answer an ioctl."""
        number, kind, size = request & 0xFF, (request >> 8) & 0xFF, (request >> 16) & 0x3FFF
        assert (kind, size, request >> 30) == (ord("V"), len(answer), 3)
        index = int.from_bytes(answer[:4], "little")
        try:
            {2: self._format, 74: self._size, 75: self._interval}[number](index, answer)
        except (IndexError, KeyError):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL)) from None

    def _format(self, index: int, answer: bytearray) -> None:
        if int.from_bytes(answer[4:8], "little") != self._buffers:
            raise IndexError
        answer[44:48] = list(self._formats)[index]

    def _size(self, index: int, answer: bytearray) -> None:
        sizes = self._formats[bytes(answer[4:8])]
        if isinstance(sizes, tuple):
            if index:
                raise IndexError
            least_width, most_width, least_height, most_height = sizes
            struct.pack_into("=I6I", answer, 8, 3, least_width, most_width, 2, least_height, most_height, 2)
        else:
            struct.pack_into("=III", answer, 8, 1, *list(sizes)[index])

    def _interval(self, index: int, answer: bytearray) -> None:
        sizes = self._formats[bytes(answer[4:8])]
        width, height = struct.unpack_from("=II", answer, 8)
        if isinstance(sizes, tuple):  # fastest, slowest, step
            if index:
                raise IndexError
            struct.pack_into("=I6I", answer, 16, 3, 1, 60, 1, 1, 1, 1)
        else:
            struct.pack_into("=III", answer, 16, 1, *sizes[width, height][index])
