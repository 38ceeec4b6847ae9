"""Which microphones and cameras there are, what they can do, and what to do where there are none.

`microphones.py` asks PortAudio in a process of its own, `alsa.py` gives its cards names that stay; `cameras.py` asks
the system for its video nodes through `v4l2.py`, `elsewhere.py` FFmpeg on macOS and Windows. Nothing is opened to
record here: that is `probe.py`.
"""

from __future__ import annotations

from ascstream.devices.cameras import list_cameras
from ascstream.devices.microphones import list_microphones
from ascstream.devices.records import Camera, CameraMode, DeviceList, Microphone

__all__ = [
    "Camera",
    "CameraMode",
    "DeviceList",
    "Microphone",
    "list_cameras",
    "list_devices",
    "list_microphones",
]


def list_devices() -> DeviceList:
    """Everything that can be recorded from; never raises for what a machine lacks."""
    heard, seen = list_microphones(), list_cameras()
    return DeviceList(heard.microphones, seen.cameras, heard.advice + seen.advice, heard.portaudio)
