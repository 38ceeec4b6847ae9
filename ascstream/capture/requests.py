"""What a recording child is asked for: plain records, sent as JSON on its stdin."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from ascstream.sources.base import Fit, Interpolation


@dataclass(frozen=True, slots=True)
class MicrophoneRequest:
    """A request to record a PortAudio device."""

    name: str | None
    """PortAudio's name for it; None: the system's default. Looked up at each opening, since device numbers change."""
    host_api: str | None = None
    """PortAudio's name of its host API, since a card may be listed under several. None: a user typed `name`, which may
    be only a part of it, and the first host API that has such a device will do."""
    portaudio_index: int | None = None
    """PortAudio's device number, to tell identical devices apart; used only while that device is called `name`."""
    stable_id: str | None = None
    """`ascstream.devices.Microphone.stable_id`: finds the card even if renumbered; takes precedence over `name`."""
    channels: tuple[int, ...] = ()
    """Channels to record, counted from 1; (): the first two, or the only one."""


@dataclass(frozen=True, slots=True)
class PictureRequest:
    """The form in which pictures are wanted; see `VideoWants`."""

    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""
    fit: Fit
    """crop or squash."""
    short_side: int | None
    """With crop: length to which the short side is scaled; None: max(width, height)."""
    interpolation: Interpolation
    """FFmpeg's scaling method."""


@dataclass(frozen=True, slots=True)
class MediaRequest:
    """A request to record a camera, a network stream, or a file that is played in real time in a loop."""

    where: str
    """What FFmpeg opens: "/dev/video0", "rtsp://…", "clip.mp4"; includes credentials."""
    format: str | None = None
    """FFmpeg's input format, if `where` does not imply it: "v4l2", "avfoundation", "dshow"."""
    sound: bool = False
    """Whether the sound is wanted."""
    picture: PictureRequest | None = None
    """The wanted form of the picture; None: no picture is wanted."""
    open_seconds: float = 5.0
    """Time limit for opening it over a network."""
    read_seconds: float = 2.0
    """Time limit for each read from a network."""


Request: TypeAlias = MicrophoneRequest | MediaRequest


def to_json(request: Request) -> str:
    """Serialise a request."""
    kind: Literal["microphone", "media"] = "microphone" if isinstance(request, MicrophoneRequest) else "media"
    return json.dumps({"kind": kind, **asdict(request)})


def from_json(text: str) -> Request:
    """Parse what `to_json` returned."""
    data: dict[str, Any] = json.loads(text)
    if data.pop("kind") == "microphone":
        return MicrophoneRequest(**data | {"channels": tuple(data["channels"])})
    picture = data["picture"]
    return MediaRequest(**data | {"picture": None if picture is None else PictureRequest(**picture)})
