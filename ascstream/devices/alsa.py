"""Names of ALSA's cards that stay when the kernel numbers them anew: by what is plugged in, or where."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

_HARDWARE = re.compile(r"\(hw:([0-9]+),([0-9]+)\)$", re.ASCII)
"""How PortAudio ends the name of a card's own device: card and device number."""
_CARD = re.compile(r"card([0-9]+)", re.ASCII)
_STATUS = re.compile(r"card([0-9]+)/pcm([0-9]+)c", re.ASCII)


def card_ids(root: Path = Path("/")) -> dict[int, str]:
    """Each card's number to a name that does not depend on it.

    A USB card is told by maker, product and serial number, so that it may be plugged in elsewhere; one without a serial
    number, or with that of another card, by its port as well; a built-in one by its place on its bus.

    Args:
        root: Where /sys and /proc are.
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
    """The stable id of the device that PortAudio's ALSA calls `name`; None where it is not a card's own device."""
    match = _HARDWARE.search(name)
    card = ids.get(int(match[1])) if match else None
    return None if match is None or card is None else f"alsa:{card},{int(match[2])}"


def busy(root: Path = Path("/")) -> dict[tuple[int, int], str]:
    """Devices that somebody records from, by card and device number, and who: PortAudio does not list them.

    Args:
        root: Where /proc is.
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
    """Whether PortAudio's `name` is that device of that card."""
    match = _HARDWARE.search(name)
    return match is not None and (int(match[1]), int(match[2])) == (card, device)


def _usb(device: Path) -> tuple[str, str] | None:
    """Name and port of a USB card; None for another."""
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
    """Name of a card that is not on USB, or of which only /proc tells."""
    usb = _text(proc / "usbid")
    if usb:
        return f"usb-{usb}", _text(proc / "usbbus").replace("/", ".")
    try:
        kind, place = (device / "subsystem").resolve(strict=True).name, device.resolve(strict=True).name
    except (OSError, RuntimeError):
        return f"id-{_text(proc / 'id') or proc.name}", ""
    return f"{kind}-{place}", ""


def _matches(folder: Path, pattern: str) -> list[Path]:
    """Files of the kernel's, sorted; none where they vanish while they are listed: a card was unplugged."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _text(file: Path) -> str:
    """A line of the kernel's, fit for a name."""
    try:
        line = file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
    return re.sub(r"[^A-Za-z0-9.:/-]+", "_", line)[:64]
