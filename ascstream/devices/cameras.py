"""Lists the system's cameras, with stable names."""

from __future__ import annotations

import errno
import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

from ascstream.devices.elsewhere import list_cameras_elsewhere
from ascstream.devices.records import Camera, CameraMode, DeviceList
from ascstream.devices.v4l2 import is_raw, parse_capability, query

RAW = (
    "it gives its sensor's raw pixels, which FFmpeg cannot read; on a Jetson let nvarguscamerasrc process them and "
    "send them as a stream, then type: --camera udp://127.0.0.1:5000 (see docs/devices.md, CSI cameras of a Jetson)"
)
"""What to do with a camera that delivers raw sensor data only."""


def list_cameras(folder: Path = Path("/dev"), platform: str = sys.platform) -> DeviceList:
    """List the system's cameras; never raises because a machine lacks something.

    Args:
        folder: Folder of the device nodes.
        platform: As `sys.platform`.
    """
    if not platform.startswith("linux"):
        return list_cameras_elsewhere(platform)
    numbers = sorted(
        int(node.name[5:]) for node in folder.glob("video*") if node.name[5:].isascii() and node.name[5:].isdigit()
    )
    by_id, by_path = _links(folder / "v4l/by-id"), _links(folder / "v4l/by-path")
    found: list[Camera] = []
    advice: list[str] = []
    for number in numbers:
        node = folder / f"video{number}"
        try:
            data, modes = query(node)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                advice.append(f"{node}: permission denied; type: sudo usermod -aG video $USER, then log in again")
            elif error.errno != errno.ENOTTY:  # not a video node at all
                advice.append(f"{node}: {error.strerror}")
            continue
        camera = describe(len(found), str(node), data, modes)
        if camera is not None:
            found.append(camera)
    if not found and not advice:
        advice.append(
            f"no camera: {folder}/video* has none that gives pictures; is one plugged in (lsusb), "
            "and passed into the container (--device /dev/video0)?"
        )
    advice += [f"{camera.path} ({camera.name}): {camera.unreadable}" for camera in found if camera.unreadable]
    return DeviceList(cameras=name_stably(found, by_id, by_path), advice=tuple(advice))


def describe(index: int, path: str, capability: bytes, modes: tuple[CameraMode, ...]) -> Camera | None:
    """Describe a node as a camera; None if it delivers no pictures.

    Args:
        index: Number among the cameras, from 0.
        path: The node.
        capability: Its `struct v4l2_capability`.
        modes: The modes it offers.
    """
    driver, name, bus, captures = parse_capability(capability)
    if not captures:
        return None
    raw = (bool(modes) and all(map(is_raw, modes))) or (driver == "tegra-video" and not modes)
    return Camera(index, path, name, driver, bus, None, unreadable=RAW if raw else None, modes=modes)


def name_stably(cameras: list[Camera], by_id: dict[str, str], by_path: dict[str, str]) -> tuple[Camera, ...]:
    """Give each camera its stable link: by vendor and serial number, or by port if the former is ambiguous.

    Two identical cameras without serial numbers share one by-id link, which points to whichever was added last.

    Args:
        cameras: The cameras as described by their nodes.
        by_id: Links in /dev/v4l/by-id, by the real path of their node.
        by_path: Links in /dev/v4l/by-path, by the real path of their node.
    """
    alike = Counter((camera.driver, camera.name) for camera in cameras)
    linked = Counter((camera.driver, camera.name) for camera in cameras if os.path.realpath(camera.path) in by_id)
    named = []
    for camera in cameras:
        node, kind = os.path.realpath(camera.path), (camera.driver, camera.name)
        own = by_id.get(node) if alike[kind] == linked[kind] else None
        named.append(replace(camera, stable_path=own or by_path.get(node) or by_id.get(node)))
    return tuple(named)


def _links(folder: Path) -> dict[str, str]:
    """Map the real path of each node to the first link to it in this folder."""
    try:
        return {os.path.realpath(link): str(link) for link in sorted(folder.iterdir(), reverse=True)}
    except OSError:
        return {}
