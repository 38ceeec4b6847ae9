"""Which of PortAudio's devices is meant: numbers change at every start, names and ids stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ascstream.capture.requests import MicrophoneRequest
from ascstream.errors import SourceNotFoundError


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


def find(
    devices: Sequence[Mapping[str, Any]],
    apis: Sequence[Mapping[str, Any]],
    default: int,
    request: MicrophoneRequest,
    stable_id: Callable[[str], str | None],
) -> Found:
    """The device that a request means.

    Args:
        devices: As PortAudio lists them.
        apis: Its host APIs.
        default: Number of the default input; below 0 where there is none.
        request: By number, by stable id, by name, or none of these. The name is a whole one where a host API stands
            beside it, as when it was chosen from a list: "Microphone" is not "Microphone Array" when it is unplugged.
            Else a user typed it, and an unambiguous part of one will do. A number that now belongs to a device of
            another name than the request's counts no more.
        stable_id: That of a name of ALSA's; asked only where one is wanted.

    Raises:
        NoMicrophoneError: There is none; the message lists those that are there.
    """
    inputs = [number for number, device in enumerate(devices) if device["max_input_channels"] > 0]
    chosen: Sequence[int]
    number = [n for n in inputs if n == request.portaudio_index and request.name in (None, devices[n]["name"])]
    if number or (request.portaudio_index is not None and request.name is None):
        wanted, chosen = f"pa:{request.portaudio_index}", number
    elif request.stable_id is not None:
        wanted = request.stable_id
        chosen = [n for n in inputs if (stable_id(devices[n]["name"]) or "").lower() == wanted.lower()]
    elif request.name is not None:
        wanted = f"{request.name!r}" + (f" of {request.host_api}" if request.host_api else "")
        there = [n for n in inputs if request.host_api in (None, apis[devices[n]["hostapi"]]["name"])]
        names = {n: str(devices[n]["name"]) for n in there}
        chosen = _by_name(names, request.name, whole=request.host_api is not None)
    else:
        wanted, chosen = "default", [default] if default in inputs else inputs
    if not chosen:
        raise NoMicrophoneError(_explain(devices, inputs, wanted, request.name))
    device = devices[chosen[0]]
    return Found(
        chosen[0],
        str(device["name"]),
        str(apis[device["hostapi"]]["name"]),
        int(device["max_input_channels"]),
        float(device["default_samplerate"]),
        float(device["default_high_input_latency"]),
    )


def _by_name(names: Mapping[int, str], wanted: str, *, whole: bool) -> list[int]:
    """Those of that very name; else, unless it is a whole one, the one that has it as a part; none of several."""
    exact = [number for number, name in names.items() if name == wanted]
    if exact or whole:
        return exact
    part = [number for number, name in names.items() if wanted.lower() in name.lower()]
    return part if len({names[number] for number in part}) == 1 else []


def _explain(devices: Sequence[Mapping[str, Any]], inputs: Sequence[int], wanted: str, name: str | None) -> str:
    """What was asked for, what is there, what to do."""
    if name is not None and any(device["name"] == name and device["max_input_channels"] == 0 for device in devices):
        # PortAudio tries each device when it starts, and says of one that it could not open that it has no channels
        return f"microphone {wanted} cannot be recorded from: another program uses it (fuser -v /dev/snd/* names it)"
    if not inputs:
        return f"there is no microphone {wanted}, nor any other"
    listed = ", ".join(f"pa:{number} {devices[number]['name']!r}" for number in inputs)
    return f"there is no microphone {wanted}; found: {listed}; type: ascstream devices"
