"""Cameras on macOS and Windows, as FFmpeg's avfoundation and dshow list them. Type-checked, but never run on either."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ascstream.devices.records import Camera, DeviceList

_AVFOUNDATION = re.compile(r"\[(\d+)\] (.+)$")
_DSHOW = re.compile(r'"(.+)" \((?:[^()]*, )?video(?:, [^()]*)?\)\s*$')
_ALTERNATIVE = re.compile(r'Alternative name "(.+)"\s*$')
_PERMISSION = {
    "darwin": "System Settings > Privacy & Security > Camera, switch on this terminal",
    "win32": "Settings > Privacy & security > Camera, let desktop apps use it",
}


def list_cameras_elsewhere(platform: str) -> DeviceList:
    """List the cameras of a system other than Linux; never raises because a machine lacks something.

    Args:
        platform: As `sys.platform`.
    """
    if platform not in _PERMISSION:
        return DeviceList(advice=(f"cameras cannot be listed on {platform}; give a URL or a file",))
    lines = _ask_ffmpeg("avfoundation" if platform == "darwin" else "dshow")
    found = parse_avfoundation(lines) if platform == "darwin" else parse_dshow(lines)
    if found:
        return DeviceList(cameras=found)
    return DeviceList(
        advice=(f"no camera: FFmpeg lists none; is one plugged in, and allowed under {_PERMISSION[platform]}?",)
    )


def parse_avfoundation(lines: Sequence[str]) -> tuple[Camera, ...]:
    """Parse cameras from the log of `ffmpeg -f avfoundation -list_devices true -i ""`; screens are left out."""
    found: list[Camera] = []
    video = False
    for line in lines:
        if "AVFoundation" in line and "devices:" in line:
            video = "video" in line
            continue
        match = _AVFOUNDATION.search(line)
        if video and match is not None and not match[2].startswith("Capture screen"):
            name = match[2].strip()
            found.append(Camera(len(found), f"{name}:none", name, "avfoundation", match[1], None, "avfoundation"))
    return tuple(found)


def parse_dshow(lines: Sequence[str]) -> tuple[Camera, ...]:
    """Parse cameras from the log of `ffmpeg -f dshow -list_devices true -i dummy`; alternative names are stable."""
    found: list[Camera] = []
    named: str | None = None
    for line in lines:
        match, other = _DSHOW.search(line), _ALTERNATIVE.search(line)
        if other is not None:
            if named is not None:
                found[-1] = Camera(len(found) - 1, f"video={named}", named, "dshow", "", f"video={other[1]}", "dshow")
            named = None
        elif match is not None:
            named = match[1]
            found.append(Camera(len(found), f"video={named}", named, "dshow", "", None, "dshow"))
        else:
            named = None
    return tuple(found)


def _ask_ffmpeg(name: str) -> list[str]:
    """The lines FFmpeg logs when asked to list its devices: it offers no other way to get them."""
    import av
    import av.logging

    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture(local=False) as logs:
            try:
                where = "" if name == "avfoundation" else "dummy"
                av.open(where, format=name, options={"list_devices": "true"}).close()
            except (av.FFmpegError, OSError, ValueError):
                pass  # always raised: listing devices opens nothing
        return "".join(text for _, _, text in logs).splitlines()
    finally:
        av.logging.set_level(level)
