"""How long a WAV says it is: FFmpeg believes the file's size instead, and takes a cut recording for a whole one."""

from __future__ import annotations

import struct
from fractions import Fraction

HEAD_BYTES = 4096
"""Enough to reach the samples of any WAV but one with much text before them."""
_UNKNOWN_FROM = 0x7FFF0000
"""Writers that cannot go back leave such a size, or 0: arecord, sox and FFmpeg into a pipe."""


def announced_seconds(head: bytes) -> Fraction | None:
    """Length of the samples by the header of a WAV file.

    Args:
        head: The first `HEAD_BYTES` of the file, or all of it.

    Returns:
        Seconds; None where this is no WAV, or its header does not say.
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
