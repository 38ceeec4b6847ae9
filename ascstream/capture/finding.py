"""Which of PortAudio's devices is meant: numbers change, names mostly stay."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ascstream.capture.requests import MicrophoneRequest
from ascstream.errors import SourceNotFoundError

_CARD = re.compile(r" \(hw:\d+,(\d+)\)$")
"""How PortAudio ends a name on Linux: with the number of the card, which is another one after the next start."""


class NoMicrophoneError(SourceNotFoundError):
    """There is no such microphone, or it has not what is asked of it."""

    def __init__(self, message: str, *, missing: bool = True) -> None:
        super().__init__(message)
        self.missing = missing
        """Whether there is no such device."""


@dataclass(frozen=True, slots=True)
class Found:
    """A device that can be opened."""

    index: int
    """PortAudio's number."""
    name: str
    """PortAudio's name."""
    host_api: str
    """Name of its host API."""
    n_channels: int
    """Channels that can be recorded."""
    sample_rate: float
    """Its own rate, in Hz."""
    latency_seconds: float
    """What PortAudio thinks is robust."""
    note: str = ""
    """What a user should know of the choice."""


def find(
    devices: Sequence[Mapping[str, Any]], apis: Sequence[Mapping[str, Any]], default: int, request: MicrophoneRequest
) -> Found:
    """The device that a request means.

    Args:
        devices: As PortAudio lists them.
        apis: Its host APIs.
        default: Number of the default input; below 0 where there is none.
        request: By number, by name, or neither.

    Raises:
        NoMicrophoneError: There is none; the message lists those that are there.
    """
    inputs = [number for number, device in enumerate(devices) if device["max_input_channels"] > 0]
    note = ""
    if request.portaudio_index is not None:
        chosen = request.portaudio_index if request.portaudio_index in inputs else None
        wanted = f"pa:{request.portaudio_index}"
    elif request.name is None:
        chosen = default if default in inputs else next(iter(inputs), None)
        wanted = "default"
    else:
        wanted = f"{request.name!r}" + (f" of {request.host_api}" if request.host_api else "")
        chosen, note = _by_name(devices, apis, inputs, request.name, request.host_api)
    if chosen is None:
        listed = ", ".join(f"pa:{number} {devices[number]['name']!r}" for number in inputs) or "none"
        busy = any(device["name"] == request.name for device in devices if request.name is not None)
        why = ", or it is in use by another program" if busy else ""
        raise NoMicrophoneError(f"there is no microphone {wanted}{why}; found: {listed}; type: ascstream devices")
    device = devices[chosen]
    return Found(
        chosen,
        str(device["name"]),
        str(apis[device["hostapi"]]["name"]),
        int(device["max_input_channels"]),
        float(device["default_samplerate"]),
        float(device["default_high_input_latency"]),
        note,
    )


def _by_name(
    devices: Sequence[Mapping[str, Any]],
    apis: Sequence[Mapping[str, Any]],
    inputs: Sequence[int],
    name: str,
    host_api: str | None,
) -> tuple[int | None, str]:
    """The first of that very name; else the only one whose name differs by the card's number, with a note."""
    there = [number for number in inputs if host_api in (None, apis[devices[number]["hostapi"]]["name"])]
    for number in there:
        if devices[number]["name"] == name:
            return number, ""
    if not _CARD.search(name):
        return None, ""
    moved = [number for number in there if _without_card(devices[number]["name"]) == _without_card(name)]
    if len(moved) != 1:
        return None, ""
    return moved[0], f"{name!r} is gone; {devices[moved[0]]['name']!r}, which differs by the card's number, is heard"


def _without_card(name: str) -> str:
    """The name less the card's number; the number of the device on it stays."""
    return _CARD.sub(r" (hw:,\1)", name)
