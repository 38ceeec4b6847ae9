"""Finds the PortAudio device that a request means: numbers may change at every start, names and stable ids do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ascstream.capture.requests import MicrophoneRequest
from ascstream.errors import SourceNotFoundError


class NoMicrophoneError(SourceNotFoundError):
    """There is no such microphone, or it lacks what is asked of it."""

    def __init__(self, message: str, *, missing: bool = True) -> None:
        super().__init__(message)
        self.missing = missing
        """Whether the device does not exist, rather than lacking something."""


@dataclass(frozen=True, slots=True)
class Found:
    """A device that can be opened."""

    index: int
    """PortAudio's device number."""
    name: str
    """PortAudio's name."""
    host_api: str
    """Name of its host API."""
    n_channels: int
    """Number of channels that can be recorded."""
    sample_rate: float
    """Its default sample rate, in Hz."""
    latency_seconds: float
    """The latency that PortAudio considers robust."""


def find(
    devices: Sequence[Mapping[str, Any]],
    apis: Sequence[Mapping[str, Any]],
    default: int,
    request: MicrophoneRequest,
    stable_id: Callable[[str], str | None],
) -> Found:
    """Find the device that a request means.

    Args:
        devices: PortAudio's devices, as it lists them.
        apis: PortAudio's host APIs.
        default: Number of the default input; below 0 if there is none.
        request: Names a device by number, stable id or name, or none of these. A name that comes with a host API was
            picked from a list and must match in full: an unplugged "Microphone" is not "Microphone Array". Otherwise a
            user typed it, and an unambiguous part is enough. A number counts only if that device still has the
            requested name.
        stable_id: Returns the stable id for an ALSA device name; called only if the request has one.

    Raises:
        NoMicrophoneError: There is none; the message lists the existing ones.
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
    """Devices with exactly this name; else, unless `whole`, those containing it, provided they all share one name."""
    exact = [number for number, name in names.items() if name == wanted]
    if exact or whole:
        return exact
    part = [number for number, name in names.items() if wanted.lower() in name.lower()]
    return part if len({names[number] for number in part}) == 1 else []


def _explain(devices: Sequence[Mapping[str, Any]], inputs: Sequence[int], wanted: str, name: str | None) -> str:
    """Say what was asked for, what exists, and what to do."""
    if name is not None and any(device["name"] == name and device["max_input_channels"] == 0 for device in devices):
        # PortAudio tries each device when it starts, and lists one that it could not open with no channels
        return f"microphone {wanted} cannot be recorded from: another program uses it (fuser -v /dev/snd/* names it)"
    if not inputs:
        return f"there is no microphone {wanted}, nor any other"
    listed = ", ".join(f"pa:{number} {devices[number]['name']!r}" for number in inputs)
    return f"there is no microphone {wanted}; found: {listed}; type: ascstream devices"
