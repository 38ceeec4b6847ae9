"""What is known of a device without recording from it."""

from __future__ import annotations

from dataclasses import dataclass


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
class CameraMode:
    """A form in which a camera gives pictures by itself."""

    pixel_format: str
    """Four letters: "MJPG", "YUYV", "RG10"."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    frame_rates: tuple[float, ...] = ()
    """Pictures a second, fastest first; empty where the driver does not tell."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A device that gives pictures."""

    index: int
    """Number among the cameras, from 0."""
    path: str
    """What FFmpeg opens: the node "/dev/video0", or a name on macOS and Windows."""
    name: str
    """What the driver calls it."""
    driver: str
    """The kernel's driver."""
    bus: str
    """Where it is plugged in."""
    stable_path: str | None
    """A name that stays when others are plugged in: "/dev/v4l/by-id/…", else "/dev/v4l/by-path/…"."""
    format: str = "v4l2"
    """FFmpeg's input format for `path`: "v4l2", "avfoundation" or "dshow"."""
    unreadable: str | None = None
    """Why FFmpeg cannot read it, and what to do; None where it can."""
    modes: tuple[CameraMode, ...] = ()
    """What it offers; empty where that cannot be told."""


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
