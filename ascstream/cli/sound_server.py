"""What `ascstream doctor` reports about the sound server."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from ascstream.cli.findings import Check, Machine, absent


def sound_server(machine: Machine) -> Check:
    """Check whether PulseAudio, or PipeWire in its place, answers where this environment looks for it."""
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
        return absent(name, "not found from this environment", advice)
    if variables.get("PULSE_SERVER"):
        return Check(name, "failed", f"nothing is at PULSE_SERVER={address}", _restart(machine), needed=False)
    if machine.contained:
        advice = (
            "to use the host's: docker run -v /run/user/1000/pulse/native:/run/pulse "
            "-e PULSE_SERVER=unix:/run/pulse --user 1000 …"
        )
        return absent(name, "none in this container; ALSA's own devices are opened directly", advice)
    return absent(name, "none runs for this user; ALSA's own devices are opened directly", None)


def _inside(machine: Machine, path: str) -> Path:
    """A path of the machine, relative to its root."""
    return machine.root / path.lstrip("/")


def _connect(address: str, where: Path | None, timeout_seconds: float = 1.0) -> str | None:
    """Try to connect; return why the server does not answer, or None if it does."""
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
