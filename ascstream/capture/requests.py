"""What a recording child is asked for: plain records that travel as JSON on its stdin."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from ascstream.sources.base import Fit, Interpolation


@dataclass(frozen=True, slots=True)
class MicrophoneRequest:
    """One of PortAudio's devices."""

    name: str | None
    """PortAudio's name of it; None: the system's default. Found anew at each opening, since numbers change."""
    host_api: str | None = None
    """PortAudio's name of its host API: the same card has a name in several. None: `name` was typed by somebody, who
    may have given a part of it, and the first host API that has it will do."""
    portaudio_index: int | None = None
    """PortAudio's own number, where nothing else tells twins apart; counts for as long as that device bears `name`."""
    stable_id: str | None = None
    """`ascstream.devices.Microphone.stable_id`: finds the card again under another number; wins over the name."""
    channels: tuple[int, ...] = ()
    """Channels to take, counted from 1; (): one of one, and the first two of more."""


@dataclass(frozen=True, slots=True)
class PictureRequest:
    """The form a picture is wanted in; see `VideoWants`."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    fit: Fit
    """crop or squash."""
    short_side: int | None
    """With crop: what the short side is scaled to; None: max(width, height)."""
    interpolation: Interpolation
    """How FFmpeg scales."""


@dataclass(frozen=True, slots=True)
class MediaRequest:
    """A camera, a network stream, or a file that is played in real time, over and over."""

    where: str
    """What FFmpeg opens: "/dev/video0", "rtsp://…", "clip.mp4"; credentials included."""
    format: str | None = None
    """FFmpeg's input format where it cannot be told by the name: "v4l2", "avfoundation", "dshow"."""
    sound: bool = False
    """Whether the sound is wanted."""
    picture: PictureRequest | None = None
    """None: no picture is wanted."""
    open_seconds: float = 5.0
    """Deadline of opening it."""
    read_seconds: float = 2.0
    """Deadline of each read from a network."""


Request: TypeAlias = MicrophoneRequest | MediaRequest


def to_json(request: Request) -> str:
    """A request as text."""
    kind: Literal["microphone", "media"] = "microphone" if isinstance(request, MicrophoneRequest) else "media"
    return json.dumps({"kind": kind, **asdict(request)})


def from_json(text: str) -> Request:
    """The request of a text that `to_json` made."""
    data: dict[str, Any] = json.loads(text)
    if data.pop("kind") == "microphone":
        return MicrophoneRequest(**data | {"channels": tuple(data["channels"])})
    picture = data["picture"]
    return MediaRequest(**data | {"picture": None if picture is None else PictureRequest(**picture)})
