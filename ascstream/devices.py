"""Which microphones and cameras there are: what PortAudio and the system list, and what to do where they list nothing.

Nothing is opened to record; a device that is busy is listed all the same.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_QUERYCAP = 0x80685600
"""VIDIOC_QUERYCAP = _IOR('V', 0, struct v4l2_capability), linux/videodev2.h."""
_CAPABILITY = struct.Struct("=16s32s32sIII12x")
"""struct v4l2_capability: driver, card, bus_info, version, capabilities, device_caps, reserved[3]."""
_CAPTURE = 0x00000001 | 0x00001000
"""V4L2_CAP_VIDEO_CAPTURE, V4L2_CAP_VIDEO_CAPTURE_MPLANE."""
_DEVICE_CAPS = 0x80000000
"""V4L2_CAP_DEVICE_CAPS: device_caps describes this very node, capabilities the whole device."""


@dataclass(frozen=True, slots=True)
class Microphone:
    """A device that PortAudio can record from."""

    index: int
    """Number among the microphones, from 0."""
    portaudio_index: int
    """Number among all of PortAudio's devices: the N of "pa:N"."""
    name: str
    """PortAudio's name."""
    host_api: str
    """ALSA, PulseAudio, JACK, Core Audio …"""
    n_channels: int
    """Most channels it records."""
    sample_rate: int
    """Its own rate in Hz."""
    default: bool
    """Whether the system records from it where nobody chooses."""
    stable_id: str | None = None
    """A name that stays when cards are numbered anew: "alsa:usb-046d:0825-SERIAL,0"; None where `name` is the best."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A video node of the system that gives pictures."""

    index: int
    """Number among the cameras, from 0."""
    path: str
    """The node: "/dev/video0"."""
    name: str
    """What the driver calls it."""
    driver: str
    """The kernel's driver."""
    bus: str
    """Where it is plugged in."""
    stable_path: str | None
    """A name that stays when others are plugged in: "/dev/v4l/by-id/…"."""
    format: str = "v4l2"
    """FFmpeg's input format for `path`: "v4l2", "avfoundation" or "dshow"."""
    unreadable: str | None = None
    """Why FFmpeg cannot read it, and what to do; None where it can."""


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The devices there are, and what keeps others from being listed."""

    microphones: tuple[Microphone, ...] = ()
    """In PortAudio's order."""
    cameras: tuple[Camera, ...] = ()
    """In the order of their nodes."""
    advice: tuple[str, ...] = ()
    """What is missing and what to do about it, a sentence each."""
    portaudio: str | None = None
    """PortAudio's name for itself; None where it does not work."""


def list_devices() -> DeviceList:
    """Everything that can be recorded from; never raises for what a machine lacks."""
    heard, seen = list_microphones(), list_cameras()
    return DeviceList(heard.microphones, seen.cameras, heard.advice + seen.advice, heard.portaudio)


def list_microphones(timeout_seconds: float = 10.0) -> DeviceList:
    """What PortAudio can record from.

    PortAudio is asked in a process of its own: what ALSA and JACK print stays off the screen, the list is never an old
    one, and a sound system that hangs or makes PortAudio abort costs a sentence, not the program.

    Args:
        timeout_seconds: How long it may take.
    """
    answer = _ask_portaudio(timeout_seconds)
    if answer.get("error"):
        return DeviceList(advice=(f"no microphones: {answer['error']}",))
    found = tuple(Microphone(index, **entry) for index, entry in enumerate(answer["microphones"]))
    return DeviceList(found, (), () if found else (_no_microphone(),), answer["portaudio"])


def list_cameras(folder: Path = Path("/dev")) -> DeviceList:
    """The system's video nodes that give pictures.

    Args:
        folder: Where the nodes are.
    """
    if not sys.platform.startswith("linux"):
        return DeviceList(advice=(f"cameras can only be listed on Linux, not on {sys.platform}",))
    numbers = sorted(
        int(node.name[5:]) for node in folder.glob("video*") if node.name[5:].isascii() and node.name[5:].isdigit()
    )
    stable = _stable_names(folder / "v4l" / "by-id")
    found: list[Camera] = []
    advice: list[str] = []
    for number in numbers:
        node = folder / f"video{number}"
        try:
            driver, name, bus, captures = parse_capability(_query_capability(node))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                advice.append(f"{node}: permission denied; type: sudo usermod -aG video $USER, then log in again")
            elif error.errno != errno.ENOTTY:  # not a video node at all
                advice.append(f"{node}: {error.strerror}")
            continue
        if captures:
            found.append(Camera(len(found), str(node), name, driver, bus, stable.get(os.path.realpath(node))))
    if not found and not advice:
        advice.append(
            f"no camera: {folder}/video* has none that gives pictures; is one plugged in (lsusb), "
            "and passed into the container (--device /dev/video0)?"
        )
    return DeviceList(cameras=tuple(found), advice=tuple(advice))


def parse_capability(data: bytes) -> tuple[str, str, str, bool]:
    """Read a `struct v4l2_capability`: driver, name, bus, and whether this node gives pictures.

    A camera has further nodes for metadata; they are told by their own capabilities, not by the device's.
    """
    driver, card, bus, _version, capabilities, device_caps = _CAPABILITY.unpack(data)
    own = device_caps if capabilities & _DEVICE_CAPS else capabilities
    texts = [part.split(b"\0", 1)[0].decode("utf-8", "replace") for part in (driver, card, bus)]
    return texts[0], texts[1], texts[2], bool(own & _CAPTURE)


def _query_capability(node: Path) -> bytes:
    """Ask a node what it is; opening it this way disturbs nobody who records from it."""
    import fcntl

    descriptor = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        answer = bytearray(_CAPABILITY.size)
        fcntl.ioctl(descriptor, _QUERYCAP, answer)
        return bytes(answer)
    finally:
        os.close(descriptor)


def _stable_names(folder: Path) -> dict[str, str]:
    """Real node to the link that names it by maker and serial number."""
    try:
        return {os.path.realpath(link): str(link) for link in sorted(folder.iterdir(), reverse=True)}
    except OSError:
        return {}


def _ask_portaudio(timeout_seconds: float) -> dict[str, Any]:
    """The answer of `_probe`, from another process; "error" says in words why there is none."""
    words = [sys.executable, "-m", "ascstream.devices"]
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_seconds, check=False
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"error": f"PortAudio did not answer within {timeout_seconds:g} s; does the sound system hang?"}
    except ValueError:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return {"error": f"PortAudio broke off ({last or done.returncode}); is the sound system configured?"}
    return answer


def _probe() -> dict[str, Any]:
    """What PortAudio says, asked in this process."""
    try:
        import sounddevice

        devices, apis = sounddevice.query_devices(), sounddevice.query_hostapis()
        default = int(sounddevice.default.device["input"])
    except ImportError as error:
        return {"error": f"{error}; type: pip install sounddevice"}
    except Exception as error:  # noqa: BLE001  OSError without the library, PortAudioError where it does not start
        if "PortAudio library not found" in str(error):
            return {"error": "PortAudio is missing; type: apt-get install libportaudio2"}
        return {"error": f"PortAudio did not start ({error}); is the sound system running?"}
    microphones = [
        {
            "portaudio_index": number,
            "name": str(device["name"]),
            "host_api": str(apis[device["hostapi"]]["name"]),
            "n_channels": int(device["max_input_channels"]),
            "sample_rate": round(device["default_samplerate"]),
            "default": number == default,
        }
        for number, device in enumerate(devices)
        if device["max_input_channels"] > 0
    ]
    return {"portaudio": sounddevice.get_portaudio_version()[1].split(",")[0], "microphones": microphones}


def _no_microphone() -> str:
    """What to check where PortAudio works and lists nothing."""
    if sys.platform.startswith("linux") and not Path("/dev/snd").exists():
        return (
            "no microphone: the system has no sound device (/dev/snd is missing); is one plugged in (arecord -l), "
            "and passed into the container (--device /dev/snd)?"
        )
    return (
        "no microphone: PortAudio lists no device that records; see arecord -l, and type: "
        "sudo usermod -aG audio $USER, then log in again, if it lists one"
    )


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_probe()))
