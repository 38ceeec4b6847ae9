"""What is known about a device without recording from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Microphone:
    """A device that PortAudio can record from."""

    index: int
    """Number among the microphones, from 0."""
    portaudio_index: int
    """PortAudio's device number: the N of "pa:N"."""
    name: str
    """PortAudio's name."""
    host_api: str
    """ALSA, PulseAudio, JACK, Core Audio …"""
    n_channels: int
    """Maximum number of channels it records."""
    sample_rate: int
    """Its default sample rate in Hz."""
    default: bool
    """Whether it is the system's default input."""
    stable_id: str | None = None
    """A name that survives renumbering of cards: "alsa:usb-046d:0825-SERIAL,0"; None if there is only `name`."""


@dataclass(frozen=True, slots=True)
class CameraMode:
    """A mode that a camera supports natively."""

    pixel_format: str
    """Four-character code: "MJPG", "YUYV", "RG10"."""
    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""
    frame_rates: tuple[float, ...] = ()
    """Pictures per second, fastest first; empty if the driver does not say."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A device that delivers pictures."""

    index: int
    """Number among the cameras, from 0."""
    path: str
    """What FFmpeg opens: the node "/dev/video0", or a name on macOS and Windows."""
    name: str
    """The driver's name for it."""
    driver: str
    """Name of the kernel driver; "avfoundation" or "dshow" on macOS and Windows."""
    bus: str
    """Where it is plugged in; on macOS, its number in avfoundation's list."""
    stable_path: str | None
    """A path that survives changes to other devices: "/dev/v4l/by-id/…", else "/dev/v4l/by-path/…"."""
    format: str = "v4l2"
    """FFmpeg's input format for `path`: "v4l2", "avfoundation" or "dshow"."""
    unreadable: str | None = None
    """Why FFmpeg cannot read it, and what to do; None if it can."""
    modes: tuple[CameraMode, ...] = ()
    """Modes it offers; empty if unknown."""


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The devices found, and advice on any that are missing."""

    microphones: tuple[Microphone, ...] = ()
    """In PortAudio's order."""
    cameras: tuple[Camera, ...] = ()
    """In the order of their nodes."""
    advice: tuple[str, ...] = ()
    """What is missing and what to do about it, one sentence each."""
    portaudio: str | None = None
    """PortAudio's name and version; None if it does not work."""
