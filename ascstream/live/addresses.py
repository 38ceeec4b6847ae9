"""Resolves what a user types for a microphone, camera or source into a request for a recording process."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from ascstream.capture.requests import MediaRequest, MicrophoneRequest
from ascstream.devices import Camera, DeviceList, Microphone, list_cameras, list_microphones
from ascstream.errors import SourceError, SourceNotFoundError, UsageError
from ascstream.sources.inputs import MEDIA_SUFFIXES, redact, url_scheme

_Device = TypeVar("_Device", Microphone, Camera)
SCHEMES = ("rtsp", "rtsps", "http", "https", "udp", "tcp", "srt", "rtmp", "rtmps")
"""URL schemes of network streams that can be followed live."""
_NUMBER = re.compile(r"[0-9]{1,6}", re.ASCII)
_PORTAUDIO = re.compile(r"pa:([0-9]{1,6})", re.ASCII)
_NODE = re.compile(r"/dev/(video[0-9]+|v4l/.+)", re.ASCII)
_MICROPHONE = 'a microphone: a number, "pa:N", "default", a name or a part of it, a stable id, a URL, a file, or "none"'
_CAMERA = 'a camera: a number, a path such as /dev/video0, a name or a part of it, a URL, a file, or "none"'
_DOCTOR = "to see what else is missing, type: ascstream doctor"
_WAITED = {
    "microphone": "type --mic default, or --mic and the name or id that ascstream devices shows when it is there",
    "camera": "type --camera and the path that ascstream devices shows when it is there, such as /dev/v4l/by-id/…",
}
"""What `--wait` can wait for: not a number, which is only a position in a list that any device may come to occupy."""
_SOURCE = "a source with sound and picture: a URL such as rtsp://HOST/PATH, or a media file"


def resolve_microphone(
    text: str, channels: tuple[int, ...] = (), *, devices: DeviceList | None = None, wait: bool = False
) -> MicrophoneRequest | MediaRequest | None:
    """Resolve the value of `--mic`.

    Args:
        text: A number N, for the N-th microphone listed by `ascstream devices`; "pa:N", PortAudio's own number;
            "default"; a stable id; a name or an unambiguous part of it; a URL or a file, whose sound is used; "none".
            A number only selects a device now; from then on the device is identified by its id or name.
        channels: Channels to record, counted from 1; (): the only channel, or the first two of several.
        devices: The devices present; None: list them when needed.
        wait: Whether to accept the id or name of a device that is absent, so that it can be waited for.

    Returns:
        A request; None for "none".

    Raises:
        UsageError: The text is empty, or the channels are invalid.
        SourceNotFoundError: There is no such microphone or file.
        SourceError: The name is ambiguous, or the text is a pipe, a folder or a URL that cannot be used.
    """
    word = _typed(text, _MICROPHONE)
    if any(channel < 1 for channel in channels) or len(set(channels)) < len(channels):
        raise UsageError(f"channels: expected different numbers, counted from 1, got {list(channels)}")
    if word.lower() == "none":
        return None
    number = _PORTAUDIO.fullmatch(word.lower())
    media = None if number is not None or word.lower() == "default" else _media(word, _MICROPHONE)
    if media is not None:
        if channels:
            raise UsageError(f"channels: a card's are chosen, those of {_shown(word)} are not; leave them out")
        return MediaRequest(media, sound=True)
    found = list_microphones() if devices is None else devices
    mics = found.microphones
    if word.lower() == "default":
        if not mics and not wait:
            raise _nothing("microphone", word, found)
        return MicrophoneRequest(None, channels=channels)
    if number is not None or _NUMBER.fullmatch(word):
        place = int(word if number is None else number[1])
        for mic in mics:
            if place == (mic.index if number is None else mic.portaudio_index):
                return _of(mic, mics, channels)
        raise _not_found("microphone", word, _MICROPHONE, found, "a number" if wait else "")
    exact = [mic for mic in mics if mic.stable_id is not None and mic.stable_id.lower() == word.lower()]
    chosen = exact or _named(word, mics)
    if len({mic.name for mic in chosen}) > 1 or (len(chosen) > 1 and len({mic.host_api for mic in chosen}) == 1):
        raise _ambiguous("microphone", word, [_line(mic) for mic in chosen])
    if chosen:
        return _of(chosen[0], mics, channels)
    if wait:
        return MicrophoneRequest(word, stable_id=word if word.lower().startswith("alsa:") else None, channels=channels)
    raise _not_found("microphone", word, _MICROPHONE, found)


def resolve_camera(text: str, *, devices: DeviceList | None = None, wait: bool = False) -> MediaRequest | None:
    """Resolve the value of `--camera`.

    Args:
        text: A number N, for the N-th camera listed by `ascstream devices`; its device node or a link to it; its name
            or an unambiguous part of it; a URL or a file, whose picture is used; "none".
        devices: The devices present; None: list them when needed.
        wait: Whether to accept a device node that does not exist yet, so that it can be waited for.

    Returns:
        A request that does not yet say what picture is wanted; None for "none".

    Raises:
        UsageError: The text is empty.
        SourceNotFoundError: There is no such camera or file.
        SourceError: The name is ambiguous, FFmpeg cannot read the camera, or the text is a pipe, a folder or a URL that
            cannot be used.
    """
    word = _typed(text, _CAMERA)
    if word.lower() == "none":
        return None
    media = None if _NODE.fullmatch(word) else _media(word, _CAMERA)
    if media is not None:
        return MediaRequest(media)
    found = list_cameras() if devices is None else devices
    cameras = found.cameras
    if _NUMBER.fullmatch(word):
        if int(word) >= len(cameras):
            raise _not_found("camera", word, _CAMERA, found, "a number" if wait else "")
        camera = cameras[int(word)]
        return _picture(camera, camera.stable_path or camera.path)
    if _NODE.fullmatch(word):
        for camera in cameras:
            if word in (camera.path, camera.stable_path) or os.path.realpath(word) == os.path.realpath(camera.path):
                return _picture(camera, word)
        if wait and not Path(word).exists():
            return MediaRequest(word, "v4l2")
        raise _not_found("camera", word, _CAMERA, found)
    chosen = _named(word, cameras)
    if len(chosen) > 1:
        raise _ambiguous("camera", word, [_line(camera) for camera in chosen])
    if chosen:
        return _picture(chosen[0], chosen[0].stable_path or chosen[0].path)
    raise _not_found("camera", word, _CAMERA, found, "the name of a camera" if wait else "")


def resolve_source(text: str) -> MediaRequest:
    """Resolve the value of `--source`: a single source of both sound and picture.

    Args:
        text: A URL or a file.

    Raises:
        UsageError: The text is empty.
        SourceNotFoundError: There is no such file.
        SourceError: The text is neither: a device, for example, has only sound or only picture.
    """
    word = _typed(text, _SOURCE)
    media = None if _NODE.fullmatch(word) else _media(word, _SOURCE)
    if media is None:
        raise SourceError(
            f"expected {_SOURCE}; got {_shown(word)}; "
            "for devices, type: --mic NAME --camera NAME (see: ascstream devices)"
        )
    return MediaRequest(media, sound=True)


def _typed(text: str, expected: str) -> str:
    """Strip the typed text; raise UsageError if it is empty and SourceError if it is "-"."""
    word = text.strip()
    if not word:
        raise UsageError(f"expected {expected}; got nothing; see: ascstream devices")
    if word == "-":
        raise SourceError(f"expected {expected}; got a pipe (-); for a pipe, type: ascstream file -")
    return word


def _media(word: str, expected: str) -> str | None:
    """Return `word` if it is a URL that can be followed live or a file; None if it may be a device's name."""
    scheme = url_scheme(word)
    if scheme is not None:
        if scheme not in SCHEMES:
            close = difflib.get_close_matches(scheme, SCHEMES, n=1)
            hint = f"did you mean {close[0]}://?" if close else f"URLs may begin with {', '.join(SCHEMES)}"
            raise SourceError(f"expected {expected}; got {_shown(word)}; {hint}")
        if not word.partition("://")[2].strip("/"):
            raise SourceError(
                f"expected {expected}; got {_shown(word)}, which names no host; type: {scheme}://HOST/PATH"
            )
        return word
    if _NUMBER.fullmatch(word):
        return None
    try:
        path = Path(word)
        if path.is_file():
            return word
        folder = path.is_dir()
    except (OSError, ValueError):  # too long for a path, or not accessible
        return None
    if folder and word.startswith((".", "/", "~")):
        raise SourceError(f"expected {expected}; got the folder {_shown(word)}; name one file in it")
    if not folder and path.suffix.lower() in MEDIA_SUFFIXES:
        raise SourceNotFoundError(f"expected {expected}; there is no file {_shown(word)}; check the path")
    return None


def _of(mic: Microphone, mics: Sequence[Microphone], channels: tuple[int, ...]) -> MicrophoneRequest:
    """The request for a microphone; includes PortAudio's number only if nothing else tells two devices apart."""
    twins = [other for other in mics if (other.name, other.host_api) == (mic.name, mic.host_api)]
    index = mic.portaudio_index if len(twins) > 1 and mic.stable_id is None else None
    return MicrophoneRequest(mic.name, mic.host_api, index, mic.stable_id, channels)


def _picture(camera: Camera, where: str) -> MediaRequest:
    if camera.unreadable is not None:
        raise SourceError(f"camera {_shown(where)} ({camera.name}): {camera.unreadable}")
    return MediaRequest(where, camera.format)


def _named(word: str, devices: Sequence[_Device]) -> list[_Device]:
    """The devices with exactly this name; else those that match ignoring case; else those whose names contain it."""
    folded = word.casefold()
    for matches in (
        [device for device in devices if device.name == word],
        [device for device in devices if device.name.casefold() == folded],
        [device for device in devices if folded in device.name.casefold()],
    ):
        if matches:
            return matches
    return []


def _nothing(kind: str, word: str, found: DeviceList, vain: str = "") -> SourceError:
    """The error for no device at all; `vain`, if given, names what `--wait` cannot wait for."""
    return SourceNotFoundError(
        f"expected a {kind} for {_shown(word)}, found none; {'; '.join(found.advice) or 'see: ascstream devices'}; "
        + (f"--wait cannot wait for {vain}: {_WAITED[kind]}" if vain else _DOCTOR)
    )


def _not_found(kind: str, word: str, expected: str, found: DeviceList, vain: str = "") -> SourceError:
    """The error for a text that matches none of the devices; lists them."""
    devices = found.microphones if kind == "microphone" else found.cameras
    if not devices:
        return _nothing(kind, word, found, vain)
    names = [device.name for device in devices] + ["none"] + (["default"] if kind == "microphone" else [])
    close = difflib.get_close_matches(word.casefold(), {name.casefold(): name for name in names}, n=1)
    hint = next(f'did you mean "{name}"? ' for name in names if name.casefold() == close[0]) if close else ""
    lines = "; ".join([*map(_line, devices), *found.advice])
    return SourceNotFoundError(
        f"expected {expected}; got {_shown(word)}; {hint}found {lines}; "
        + (f"--wait cannot wait for {vain}: {_WAITED[kind]}; " if vain else "")
        + "type one of these, or see: ascstream devices"
    )


def _ambiguous(kind: str, word: str, lines: Iterable[str]) -> SourceError:
    return SourceError(
        f"expected the name of one {kind}, got {_shown(word)}, which several have: {'; '.join(lines)}; "
        "type more of the name, or the number"
    )


def _line(device: Microphone | Camera) -> str:
    """A device as error messages list it."""
    if isinstance(device, Microphone):
        return f"{device.index} {device.name} [{device.stable_id or device.host_api}]"
    return f"{device.index} {device.name} [{device.stable_path or device.path}]"


def _shown(word: str) -> str:
    """The typed text in quotes, on one line, without credentials, and cut to 80 characters."""
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in redact(word))
    return f'"{text if len(text) <= 80 else text[:79] + "…"}"'
