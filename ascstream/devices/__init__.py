"""Which microphones and cameras there are, what they can do, and what to do if there are none.

`microphones.py` asks PortAudio in a separate process, and `alsa.py` gives ALSA cards stable names; `cameras.py` queries
Linux video nodes through `v4l2.py`, and `elsewhere.py` asks FFmpeg on macOS and Windows. None of these records from a
device; `probe.py` does.
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
    """List everything that can be recorded from; never raises because a machine lacks something."""
    heard, seen = list_microphones(), list_cameras()
    return DeviceList(heard.microphones, seen.cameras, heard.advice + seen.advice, heard.portaudio)
