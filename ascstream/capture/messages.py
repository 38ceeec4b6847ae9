"""What a recording child says, and how it travels: a header in JSON, then raw samples or pixels.

A message is four bytes of magic, the lengths of header and payload (little-endian uint32), the header in UTF-8, the
payload. Times are `time.monotonic()`, which is one clock for all processes of a machine. Nothing is pickled.
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
"""No message of ours is larger; whatever is, comes from somebody else."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The device is open; the first message. Said again where its form changes."""

    name: str
    """For people, credentials removed."""
    sample_rate: int | None = None
    """Its own rate in Hz; None without sound."""
    n_channels: int | None = None
    """Channels that are delivered."""
    n_device_channels: int | None = None
    """Channels it has."""
    width: int | None = None
    """Of its pictures, in pixels, before scaling; None without picture."""
    height: int | None = None
    """Of its pictures, in pixels."""
    frame_rate: float | None = None
    """Pictures a second as it announces them; None where it does not."""
    details: str = ""
    """Codec, pixel format, decoder, host API: for people."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Samples as they came, at the device's rate."""

    stamp: float
    """Moment at which the first sample was in the air."""
    samples: Samples
    """[n_channels, n_samples] float32, finite."""
    sample_rate: int
    """Hz."""
    lost: bool = False
    """Whether samples between the message before and this one are missing: an overflow, or a full queue."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Pictures came: said at most ten times a second, so that a camera that freezes is noticed."""

    stamp: float
    """Moment of the newest picture."""
    n_frames: int
    """Pictures since the last time."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The answer to a question: the newest picture at that moment."""

    moment: float
    """The moment that was asked for."""
    stamp: float | None
    """Moment of the picture; None where there is none yet."""
    image: Image | None
    """[height, width, 3] RGB; None where it is the one that was sent last, or there is none."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something a user should know."""

    kind: str
    """A word, as in `StreamEvent`."""
    message: str
    """A sentence, credentials removed."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The device cannot be opened, or gives no more; the last message."""

    message: str
    """Expected, got, what to do; credentials removed."""
    missing: bool = False
    """Whether there is no such device, rather than one that does not work."""


Message: TypeAlias = Opened | Sound | Seen | Picture | Note | Failed
_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in (Opened, Sound, Seen, Picture, Note, Failed)}


def pack(message: Message) -> bytes:
    """A message as bytes."""
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
    """The next message; None where the child is gone, also in the middle of one.

    Args:
        file: A buffered pipe.

    Raises:
        SourceError: What came is no message.
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
