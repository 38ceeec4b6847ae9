"""The length a WAV header announces: FFmpeg uses the file's size instead, and so misses that a file is truncated."""

from __future__ import annotations

import struct
from fractions import Fraction

HEAD_BYTES = 4096
"""Enough to reach the data chunk of any WAV, except one with a lot of text before it."""
_UNKNOWN_FROM = 0x7FFF0000
"""Writers that cannot seek back (arecord, sox and FFmpeg into a pipe) leave a size of this or more, or 0."""


def announced_seconds(head: bytes) -> Fraction | None:
    """Length of a WAV file according to its header.

    Args:
        head: The first `HEAD_BYTES` of the file, or all of it.

    Returns:
        Seconds; None if it is not a WAV, or its header does not give the length.
    """
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    bytes_per_second = 0
    at = 12
    while at + 8 <= len(head):
        name, size = struct.unpack_from("<4sI", head, at)
        if name == b"fmt " and at + 20 <= len(head):
            bytes_per_second = struct.unpack_from("<I", head, at + 16)[0]
        if name == b"data":
            known = 0 < size < _UNKNOWN_FROM and bytes_per_second > 0
            return Fraction(size, bytes_per_second) if known else None
        at += 8 + size + size % 2
    return None
