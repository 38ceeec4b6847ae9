"""What `ascstream doctor` checks besides packages: sound, cameras, permissions, clock, speed, disk."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ascstream.cli.findings import Check, Machine, absent
from ascstream.cli.sound_server import sound_server
from ascstream.cli.wall_clock import clock

_LEAST_FREE_BYTES = 1 << 30
_JETPACKS = {32: 4, 34: 5, 35: 5, 36: 6, 38: 7}
"""Jetson Linux release → JetPack release."""
_FIRST_JETPACK = 6
_L4T = re.compile(r"# R([0-9]+) \(release\), REVISION: ([0-9.]+)")


def look_around(machine: Machine | None = None) -> Iterator[Check]:
    """Check what a live stream needs from this machine; files need none of it."""
    machine = Machine() if machine is None else machine
    linux: tuple[Callable[[Machine], Check | None], ...] = (
        sound_devices,
        sound_server,
        cameras,
        busy_cameras,
        jetpack,
        processor,
        clock,
    )
    checks = linux if machine.platform.startswith("linux") else (access,)
    for check in (*checks, disk):
        try:
            found = check(machine)
        except Exception as error:  # noqa: BLE001  one failing check must not hide the others
            found = Check(check.__name__.replace("_", " "), "failed", f"{type(error).__name__}: {error}", needed=False)
        if found is not None:
            yield found


def sound_devices(machine: Machine) -> Check:
    """ALSA's recording nodes, and whether this user may open them."""
    nodes = sorted((machine.root / "dev/snd").glob("pcm*c"))
    if nodes:
        return _permission("sound devices", nodes, "audio", machine)
    advice = "plug one in; to see what the system knows, type: arecord -l"
    if machine.contained:
        advice = "a container has the devices that it is given: docker run --device /dev/snd --group-add audio …"
    return absent("sound devices", "/dev/snd has none that records", advice)


def cameras(machine: Machine) -> Check:
    """Video nodes, and whether this user may open them."""
    nodes = sorted((machine.root / "dev").glob("video[0-9]*"))
    if nodes:
        return _permission("video devices", nodes, "video", machine)
    advice = "plug one in, or give a network camera: --camera rtsp://…; to see what the system knows, type: lsusb"
    if machine.contained:
        advice = "a container has the devices that it is given: docker run --device /dev/video0 --group-add video …"
    return absent("video devices", "there is no /dev/video*", advice)


def busy_cameras(machine: Machine) -> Check | None:
    """Which programs have opened a camera, as far as this user may see: most cameras serve one program at a time."""
    users: dict[str, set[str]] = {}
    for target, number in _open_files(machine.root / "proc"):
        if re.fullmatch(r"/dev/video[0-9]+", target):
            users.setdefault(target, set()).add(f"{machine.text(f'proc/{number}/comm') or '?'} (process {number})")
    if not users:
        return None
    about = "; ".join(f"{node} by {', '.join(sorted(names))}" for node, names in sorted(users.items()))
    return Check(
        "busy cameras", "ok", f"in use: {about}", "most cameras serve one program: end the other", needed=False
    )


def _open_files(proc: Path) -> Iterator[tuple[str, str]]:
    """Targets of processes' open files and the processes' ids, as far as readable; processes may end meanwhile."""
    for process in os.listdir(proc) if proc.is_dir() else ():  # noqa: PTH208  only names are needed
        if not process.isdecimal():
            continue
        with contextlib.suppress(OSError):
            for link in os.listdir(proc / process / "fd"):  # noqa: PTH208
                with contextlib.suppress(OSError):
                    yield os.readlink(proc / process / "fd" / link), process  # noqa: PTH115  the link's own text


def jetpack(machine: Machine) -> Check | None:
    """The JetPack version, on a Jetson."""
    match = _L4T.search(machine.text("etc/nv_tegra_release"))
    if match is None:
        return None
    release, about = _JETPACKS.get(int(match[1])), f"Jetson Linux {match[1]}.{match[2]}"
    if release is None:
        return Check("jetpack", "ok", f"{about}, not known to this version", needed=False)
    if release >= _FIRST_JETPACK:
        return Check("jetpack", "ok", f"{about} (JetPack {release})", needed=False)
    advice = (
        "its TensorRT is for its own Python 3.8 or older, and ascstream needs 3.10: "
        f"update to JetPack {_FIRST_JETPACK} (NVIDIA SDK Manager, or a new system image)"
    )
    return Check("jetpack", "failed", f"{about} (JetPack {release}) is too old", advice, needed=False)


def processor(machine: Machine) -> Check | None:
    """Whether the processor is configured to run slowly."""
    folder = machine.root / "sys/devices/system/cpu"
    governors = {
        machine.text(str(file.relative_to(machine.root))) for file in folder.glob("cpu[0-9]*/cpufreq/scaling_governor")
    }
    drivers = {
        machine.text(str(file.relative_to(machine.root))) for file in folder.glob("cpu[0-9]*/cpufreq/scaling_driver")
    }
    mode = re.match(r"pmode:0*([0-9]+)", machine.text("var/lib/nvpmodel/status"))
    words = [f"governor {', '.join(sorted(governors - {''}))}"] if governors - {""} else []
    words += [f"power mode {mode[1]} of nvpmodel"] if mode else []
    if not words:
        return None
    advice = None
    if mode:
        advice = "for the least latency, type: sudo nvpmodel -q (which mode), sudo nvpmodel -m N, sudo jetson_clocks"
    elif "powersave" in governors and not drivers & {"intel_pstate", "amd-pstate-epp"}:  # theirs is not slow
        advice = "powersave stays at the lowest clock; type: sudo cpupower frequency-set -g schedutil"
    return Check("processor", "ok", ", ".join(words), advice, needed=False)


def disk(machine: Machine) -> Check:
    """Free space for results in the working folder."""
    try:
        free = shutil.disk_usage(machine.folder).free
    except OSError as error:
        return Check("disk space", "failed", str(error), "type: cd, then go on from there", needed=False)
    value = f"{free / (1 << 30):.1f} GiB free in {machine.folder.absolute()}"
    if free >= _LEAST_FREE_BYTES:
        return Check("disk space", "ok", value, needed=False)
    return Check("disk space", "failed", value, "little is left: delete something, or write elsewhere", needed=False)


def access(machine: Machine) -> Check:
    """Permissions that macOS and Windows ask a user for, which no program can query."""
    if machine.platform == "darwin":
        where = (
            "System Settings > Privacy & Security > Microphone, and > Camera: switch on the terminal, then restart it"
        )
    elif machine.platform == "win32":
        where = "Settings > Privacy & security > Microphone, and > Camera: let desktop apps use them"
    else:
        return Check("access", "missing", f"{machine.platform} is not supported for live streams", needed=False)
    return Check(
        "access", "ok", "cannot be told; where sound is silent or a camera does not open, see", where, needed=False
    )


def _permission(name: str, nodes: list[Path], group: str, machine: Machine) -> Check:
    """Whether the nodes may be opened, and if not, what to type."""
    closed = [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if not closed:
        return Check(name, "ok", ", ".join(node.name for node in nodes), needed=False)
    user, enrolled = _membership(group)
    value = f"no permission to open {', '.join(f'/{node.relative_to(machine.root)}' for node in closed)}"
    return Check(name, "failed", value, advise_permission(group, user, enrolled, machine.contained), needed=False)


def advise_permission(group: str, user: str, enrolled: bool, contained: bool) -> str:
    """What to type if a device's node may not be opened.

    Args:
        group: The group whose members may open it.
        user: The user's name.
        enrolled: Whether the user is a member, but joined the group after the session began.
        contained: Whether this is a container.
    """
    if contained:
        return f"type: docker run --group-add {group} … (or --group-add and the group's number on the host)"
    if enrolled:
        return f"{user} is in the group {group}, but this session began before: log in again"
    return f"type: sudo usermod -aG {group} {user}, then log in again"


def _membership(group: str) -> tuple[str, bool]:
    """The user's name, and whether the group lists it as a member."""
    if sys.platform == "win32":
        return "$USER", False
    else:  # noqa: RET505  for the type checker, which knows neither module on Windows
        import grp
        import pwd

        try:
            user = pwd.getpwuid(os.getuid()).pw_name
            return user, user in grp.getgrnam(group).gr_mem
        except KeyError:
            return os.environ.get("USER", "$USER"), False
