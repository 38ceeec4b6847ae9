"""What `ascstream doctor` looks at beside the packages: sound, cameras, permissions, clock, speed, disk."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ascstream.cli.doctor import Check

_LEAST_FREE_BYTES = 1 << 30
_MOST_CLOCK_ERROR_US = 16_000_000
"""A larger error means that nothing sets the clock: the kernel's NTP_PHASE_LIMIT, as timedatectl takes it."""
_JETPACKS = {32: 4, 34: 5, 35: 5, 36: 6, 38: 7}
"""Release of Jetson Linux to that of JetPack."""
_FIRST_JETPACK = 6
_L4T = re.compile(r"# R([0-9]+) \(release\), REVISION: ([0-9.]+)")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where to look; a test may point elsewhere."""

    platform: str = sys.platform
    """As `sys.platform`."""
    root: Path = Path("/")
    """Where /dev, /proc, /sys, /etc and /run are."""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    """Its variables."""
    folder: Path = Path()
    """Where results would be written."""

    def text(self, path: str) -> str:
        """A small file below the root; empty where it cannot be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    @property
    def contained(self) -> bool:
        """Whether this is a container: its devices and sockets are those that it was given."""
        marks = (self.root / ".dockerenv", self.root / "run/.containerenv")
        return any(mark.exists() for mark in marks) or bool(self.environment.get("container"))


def look_around(machine: Machine | None = None) -> Iterator[Check]:
    """What a live stream needs of this machine; none of it is needed for files."""
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
        found = check(machine)
        if found is not None:
            yield found


def sound_devices(machine: Machine) -> Check:
    """ALSA's nodes that record, and whether this user may open them."""
    nodes = sorted((machine.root / "dev/snd").glob("pcm*c"))
    if nodes:
        return _permission("sound devices", nodes, "audio", machine)
    advice = "plug one in; to see what the system knows, type: arecord -l"
    if machine.contained:
        advice = "a container has the devices that it is given: docker run --device /dev/snd --group-add audio …"
    return _absent("sound devices", "/dev/snd has none that records", advice)


def cameras(machine: Machine) -> Check:
    """Video nodes, and whether this user may open them."""
    nodes = sorted((machine.root / "dev").glob("video[0-9]*"))
    if nodes:
        return _permission("video devices", nodes, "video", machine)
    advice = "plug one in, or give a network camera: --camera rtsp://…; to see what the system knows, type: lsusb"
    if machine.contained:
        advice = "a container has the devices that it is given: docker run --device /dev/video0 --group-add video …"
    return _absent("video devices", "there is no /dev/video*", advice)


def busy_cameras(machine: Machine) -> Check | None:
    """Who has opened a camera, as far as this user may see: most can be read by one program at a time."""
    users: dict[str, set[str]] = {}
    for link in (machine.root / "proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            target = os.readlink(link)  # noqa: PTH115  what it says, not where it leads
            if re.fullmatch(r"/dev/video[0-9]+", target):
                number = link.parents[1].name
                users.setdefault(target, set()).add(f"{machine.text(f'proc/{number}/comm') or '?'} (process {number})")
    if not users:
        return None
    about = "; ".join(f"{node} by {', '.join(sorted(names))}" for node, names in sorted(users.items()))
    return Check(
        "busy cameras", "ok", f"in use: {about}", "most cameras serve one program: end the other", needed=False
    )


def sound_server(machine: Machine) -> Check:
    """Whether PulseAudio, or PipeWire in its place, answers where this environment looks for it."""
    name, variables = "sound server", machine.environment
    runtime = variables.get("XDG_RUNTIME_DIR", "")
    address = variables.get("PULSE_SERVER", "").split(" ")[0].rpartition("}")[2]
    folder = variables.get("PULSE_RUNTIME_PATH") or (f"{runtime}/pulse" if runtime else "")
    if not address and folder:
        address = f"unix:{folder}/native"
    where = _inside(machine, address.removeprefix("unix:")) if address.startswith(("unix:", "/")) else None
    if address and (where is None or where.exists()):
        problem = _connect(address, where)
        if problem is None:
            return Check(name, "ok", f"PulseAudio or PipeWire answers at {address}", needed=False)
        return Check(name, "failed", f"{address} does not answer: {problem}", _restart(machine), needed=False)
    others = sorted((machine.root / "run/user").glob("*/pulse/native"))
    if others:
        place = others[0].parents[1].name
        advice = (
            f"one runs for user {place}; type: export XDG_RUNTIME_DIR=/run/user/{place} "
            f"(in a service: Environment=XDG_RUNTIME_DIR=/run/user/{place} and User={place})"
        )
        return _absent(name, "not found from this environment", advice)
    if variables.get("PULSE_SERVER"):
        return Check(name, "failed", f"nothing is at PULSE_SERVER={address}", _restart(machine), needed=False)
    if machine.contained:
        advice = (
            "to use the host's: docker run -v /run/user/1000/pulse/native:/run/pulse "
            "-e PULSE_SERVER=unix:/run/pulse --user 1000 …"
        )
        return _absent(name, "none in this container; ALSA's own devices are opened directly", advice)
    return _absent(name, "none runs for this user; ALSA's own devices are opened directly", None)


def jetpack(machine: Machine) -> Check | None:
    """Which JetPack, on a Jetson."""
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
    """Whether the processor is told to be slow."""
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
    elif "powersave" in governors and not drivers & {"intel_pstate", "amd-pstate-epp"}:  # theirs is no slow one
        advice = "powersave stays at the lowest clock; type: sudo cpupower frequency-set -g schedutil"
    return Check("processor", "ok", ", ".join(words), advice, needed=False)


def clock(_machine: Machine) -> Check | None:
    """Whether something sets the wall clock, which the UTC times of live results come from."""
    error = _clock_error_us()
    return None if error is None else judge_clock(error)


def judge_clock(error_us: int) -> Check:
    """The finding for a clock.

    Args:
        error_us: The kernel's bound on its error, in microseconds.
    """
    if error_us < _MOST_CLOCK_ERROR_US:
        return Check("clock", "ok", f"synchronised, within {error_us / 1000:.0f} ms", needed=False)
    advice = "times in live results may be wrong; type: sudo timedatectl set-ntp true (in a container: on the host)"
    return Check("clock", "missing", "not synchronised", advice, needed=False)


def disk(machine: Machine) -> Check:
    """Room for results in the working folder."""
    try:
        free = shutil.disk_usage(machine.folder).free
    except OSError as error:
        return Check("disk space", "failed", str(error), "type: cd, then go on from there", needed=False)
    value = f"{free / (1 << 30):.1f} GiB free in {machine.folder.absolute()}"
    if free >= _LEAST_FREE_BYTES:
        return Check("disk space", "ok", value, needed=False)
    return Check("disk space", "failed", value, "little is left: delete something, or write elsewhere", needed=False)


def access(machine: Machine) -> Check:
    """What macOS and Windows ask of a user, which no program can look up."""
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


def _absent(name: str, value: str, advice: str | None) -> Check:
    return Check(name, "missing", value, advice, needed=False)


def _permission(name: str, nodes: list[Path], group: str, machine: Machine) -> Check:
    """Whether nodes may be opened, and if not what to type."""
    closed = [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if not closed:
        return Check(name, "ok", ", ".join(node.name for node in nodes), needed=False)
    user, enrolled = _membership(group)
    value = f"no permission to open {', '.join(f'/{node.relative_to(machine.root)}' for node in closed)}"
    return Check(name, "failed", value, advise_permission(group, user, enrolled, machine.contained), needed=False)


def advise_permission(group: str, user: str, enrolled: bool, contained: bool) -> str:
    """What to type where a device's node may not be opened.

    Args:
        group: Whose members may.
        user: Who is asking.
        enrolled: Whether the user is one of them since a later moment than the session began.
        contained: Whether this is a container.
    """
    if contained:
        return f"type: docker run --group-add {group} … (or --group-add and the group's number on the host)"
    if enrolled:
        return f"{user} is in the group {group}, but this session began before: log in again"
    return f"type: sudo usermod -aG {group} {user}, then log in again"


def _membership(group: str) -> tuple[str, bool]:
    """The user's name, and whether the group has it as a member."""
    if sys.platform == "win32":
        return "$USER", False
    else:  # noqa: RET505  for the type checker, which knows neither there
        import grp
        import pwd

        try:
            user = pwd.getpwuid(os.getuid()).pw_name
            return user, user in grp.getgrnam(group).gr_mem
        except KeyError:
            return os.environ.get("USER", "$USER"), False


def _inside(machine: Machine, path: str) -> Path:
    """A path of the machine, below its root."""
    return machine.root / path.lstrip("/")


def _connect(address: str, where: Path | None, timeout_seconds: float = 1.0) -> str | None:
    """Why a server does not answer; None where it does."""
    try:
        if where is None:
            host, _, port = address.removeprefix("tcp:").removeprefix("tcp4:").partition(":")
            socket.create_connection((host, int(port or 4713)), timeout_seconds).close()
        elif sys.platform != "win32":
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(timeout_seconds)
                client.connect(str(where))
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None


def _restart(machine: Machine) -> str:
    if machine.contained:
        return "is the host's socket passed in, for this user? docker run -v /run/user/1000/pulse/native:/run/pulse …"
    return "type: systemctl --user restart pipewire-pulse (or: pulseaudio --kill; pulseaudio --start)"


class _Timex(ctypes.Structure):
    """The beginning of the C library's `struct timex`, and more room than the rest of it takes."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_byte * 512),
    )


def _clock_error_us() -> int | None:
    """The kernel's bound on the error of its wall clock in microseconds; None where it cannot be asked."""
    try:
        timex = _Timex()
        code = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (AttributeError, OSError, TypeError):
        return None
    return None if code < 0 else int(timex.maxerror)
