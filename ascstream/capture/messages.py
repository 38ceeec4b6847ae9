"""The messages a recording child sends, and their wire format: a JSON header, then raw samples or pixels.

A message is four magic bytes, the lengths of header and payload (little-endian uint32), the header in UTF-8, the
payload. Times are `time.monotonic()`, which all processes of a machine share. Nothing is pickled.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import IO, Any, TypeAlias

import numpy as np

from ascstream.errors import SourceError
from ascstream.records import Image, Samples

_MAGIC = b"ascs"
_LENGTHS = struct.Struct("<II")
_MOST_HEADER, _MOST_PAYLOAD = 1 << 16, 1 << 28
"""Limits in bytes that no message of ours exceeds; anything larger is not one of them."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The device is open: the first message, sent again whenever its format changes."""

    name: str
    """Human-readable name, credentials removed."""
    sample_rate: int | None = None
    """The device's sample rate in Hz; None without sound."""
    n_channels: int | None = None
    """Number of channels delivered."""
    n_device_channels: int | None = None
    """Number of channels the device has."""
    width: int | None = None
    """Width of its pictures in pixels, before scaling; None without picture."""
    height: int | None = None
    """Height of its pictures in pixels, before scaling; None without picture."""
    frame_rate: float | None = None
    """Announced pictures per second; None if it announces none."""
    details: str = ""
    """Codec, pixel format, decoder, host API, as text for the user."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Samples as they arrived, at the device's sample rate."""

    stamp: float
    """Time at which the first sample was in the air."""
    samples: Samples
    """[n_channels, n_samples] float32, finite."""
    sample_rate: int
    """Hz."""
    lost: bool = False
    """Whether samples are missing between the previous message and this one, after an overflow or in a full queue."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Pictures have come; sent about ten times a second at most, so that a frozen camera is noticed."""

    stamp: float
    """Time of the newest picture."""
    n_frames: int
    """Number of pictures since the last such message."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The answer to a request: the newest picture at the requested time."""

    moment: float
    """The requested time."""
    stamp: float | None
    """Time of the picture; None if there is none yet."""
    image: Image | None
    """[height, width, 3] RGB; None if it is the one sent last, or if there is none."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the user should know."""

    kind: str
    """One word, as in `StreamEvent`."""
    message: str
    """A sentence, credentials removed."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The device cannot be opened or has stopped delivering; the last message."""

    message: str
    """What was expected, what happened, what to do; credentials removed."""
    missing: bool = False
    """Whether there is no such device, rather than one that does not work."""


Message: TypeAlias = Opened | Sound | Seen | Picture | Note | Failed
_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in (Opened, Sound, Seen, Picture, Note, Failed)}


def pack(message: Message) -> bytes:
    """Serialise a message."""
    header: dict[str, Any] = {name: getattr(message, name) for name in message.__slots__}
    payload = b""
    for name, dtype in (("samples", np.float32), ("image", np.uint8)):
        array = header.get(name)
        if array is not None:
            header[name] = array.shape
            payload = np.ascontiguousarray(array, dtype).tobytes()
    head = json.dumps({"type": type(message).__name__, **header}).encode()
    return _MAGIC + _LENGTHS.pack(len(head), len(payload)) + head + payload


def read(file: IO[bytes]) -> Message | None:
    """Read the next message; None if the child is gone, even partway through one.

    Args:
        file: A buffered pipe.

    Raises:
        SourceError: The data is not a message.
    """
    start = file.read(len(_MAGIC) + _LENGTHS.size)
    if len(start) < len(_MAGIC) + _LENGTHS.size:
        return None
    n_header, n_payload = _LENGTHS.unpack(start[len(_MAGIC) :])
    if start[: len(_MAGIC)] != _MAGIC or n_header > _MOST_HEADER or n_payload > _MOST_PAYLOAD:
        raise SourceError("expected a message of a recording process, got something else")
    head, payload = file.read(n_header), file.read(n_payload)
    if len(head) < n_header or len(payload) < n_payload:
        return None
    try:
        return _unpack(json.loads(head), payload)
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise SourceError(f"expected a message of a recording process, got something else: {error}") from error


def _unpack(header: dict[str, Any], payload: bytes) -> Message:
    kind = _KINDS[header.pop("type")]
    for name, dtype in (("samples", np.float32), ("image", np.uint8)):
        if header.get(name) is not None:
            header[name] = np.frombuffer(payload, dtype).reshape(header[name])
    return kind(**header)
