"""Names of ALSA cards that survive renumbering by the kernel: by what is plugged in, or where."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

_HARDWARE = re.compile(r"\(hw:([0-9]+),([0-9]+)\)$", re.ASCII)
"""The suffix of PortAudio's name for a card's hardware device: card and device number."""
_CARD = re.compile(r"card([0-9]+)", re.ASCII)
_STATUS = re.compile(r"card([0-9]+)/pcm([0-9]+)c", re.ASCII)


def card_ids(root: Path = Path("/")) -> dict[int, str]:
    """Map each card's number to a name that does not depend on it.

    A USB card is identified by vendor, product and serial number, so it may move to another port; if it has no serial
    number, or shares one with another card, by its port as well; a built-in card by its place on its bus.

    Args:
        root: Folder that contains sys and proc.
    """
    found: dict[int, tuple[str, str]] = {}
    for folder in _matches(root / "sys/class/sound", "card*") or _matches(root / "proc/asound", "card*"):
        match = _CARD.fullmatch(folder.name)
        if match is not None:
            number = int(match[1])
            found[number] = _usb(folder / "device") or _built_in(folder / "device", root / f"proc/asound/card{number}")
    often = Counter(name for name, _ in found.values())
    return {number: f"{name}@{port}" if port and often[name] > 1 else name for number, (name, port) in found.items()}


def stable_id(name: str, ids: Mapping[int, str]) -> str | None:
    """The stable id of the device that PortAudio's ALSA host API calls `name`; None if it is not a hardware device."""
    match = _HARDWARE.search(name)
    card = ids.get(int(match[1])) if match else None
    return None if match is None or card is None else f"alsa:{card},{int(match[2])}"


def busy(root: Path = Path("/")) -> dict[tuple[int, int], str]:
    """Devices being recorded from, which PortAudio does not list: (card, device) to the name of the process.

    Args:
        root: Folder that contains proc.
    """
    found: dict[tuple[int, int], str] = {}
    for file in _matches(root / "proc/asound", "card[0-9]*/pcm[0-9]*c/sub*/status"):
        match = _STATUS.fullmatch(f"{file.parents[2].name}/{file.parents[1].name}")
        try:
            owner = re.search(r"owner_pid\s*:\s*([0-9]+)", file.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        if match is not None and owner is not None:
            name = _text(root / f"proc/{owner[1]}/comm") or "?"
            found[int(match[1]), int(match[2])] = f"{name} (process {owner[1]})"
    return found


def is_device(name: str, card: int, device: int) -> bool:
    """Whether PortAudio's `name` refers to this device of this card."""
    match = _HARDWARE.search(name)
    return match is not None and (int(match[1]), int(match[2])) == (card, device)


def _usb(device: Path) -> tuple[str, str] | None:
    """Name and port of a USB card (the port is "" if the name includes it); None for any other card."""
    try:
        place = device.resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    for folder in (place, *place.parents):
        vendor, product = _text(folder / "idVendor"), _text(folder / "idProduct")
        if vendor and product:
            ports = folder.name.partition("-")[2] or folder.name
            controller = next((up.parent.name for up in folder.parents if re.fullmatch(r"usb[0-9]+", up.name)), "")
            port = f"{controller}-{ports}" if controller else ports
            serial = _text(folder / "serial")
            name = f"usb-{vendor}:{product}"
            return (f"{name}-{serial}", port) if serial else (f"{name}@{port}", "")
    return None


def _built_in(device: Path, proc: Path) -> tuple[str, str]:
    """Name and port of a card that is not on USB, or for which only /proc is available."""
    usb = _text(proc / "usbid")
    if usb:
        return f"usb-{usb}", _text(proc / "usbbus").replace("/", ".")
    try:
        kind, place = (device / "subsystem").resolve(strict=True).name, device.resolve(strict=True).name
    except (OSError, RuntimeError):
        return f"id-{_text(proc / 'id') or proc.name}", ""
    return f"{kind}-{place}", ""


def _matches(folder: Path, pattern: str) -> list[Path]:
    """Matching files, sorted; none if they vanish while being listed because a card was unplugged."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _text(file: Path) -> str:
    """The contents of a kernel file, sanitised for use in a name; "" if unreadable."""
    try:
        line = file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
    return re.sub(r"[^A-Za-z0-9.:/-]+", "_", line)[:64]
