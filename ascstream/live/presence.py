"""Checks whether a lost device is back: device nodes, device lists and servers, checked in a thread that may hang."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from ascstream.capture.requests import MediaRequest, MicrophoneRequest, Request
from ascstream.live.supervisor import BLIND_RETRY_SECONDS, LONGEST_RETRY_SECONDS
from ascstream.sources.inputs import url_scheme

Look: TypeAlias = Callable[[threading.Event], Hashable | None]
"""What is there now, as a value that changes if the device reappears; None if absent. Returns soon after the event."""

_LOOK_SECONDS = 1.0
_PACTL_SECONDS = 2.0
_CONNECT_SECONDS = 1.0
_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935, "rtmps": 443}


@dataclass(frozen=True, slots=True)
class Presence:
    """How to check whether a device is present."""

    look: Look
    """Checks once; may take seconds."""
    retry_seconds: float = LONGEST_RETRY_SECONDS
    """Longest time between attempts while it is present: short if it may be present without delivering."""


class Watch:
    """Checks every second while a device is waited for, in a daemon thread, of which there is at most one."""

    def __init__(self, presence: Presence, pause_seconds: float = _LOOK_SECONDS) -> None:
        """Prepare the watch; `start` begins it."""
        self._presence = presence
        self._pause_seconds = pause_seconds
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._looked = False
        self._seen: Hashable | None = None
        self._changed = False

    @property
    def longest_seconds(self) -> float:
        """Longest time between attempts at present."""
        there = self._looked and self._seen is not None
        return self._presence.retry_seconds if there else LONGEST_RETRY_SECONDS

    def start(self) -> None:
        """Check every second from now on. A check that still hangs is continued, not replaced by a new thread."""
        with self._lock:
            self._stopped.clear()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ascstream-presence", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Stop checking; what was seen is remembered for the next `start`. Never waits."""
        self._stopped.set()

    def forget(self) -> None:
        """Forget what was seen: the device is running."""
        with self._lock:
            self._looked = self._changed = False
            self._seen = None

    def changed(self) -> bool:
        """Whether the device appeared, or reappeared, since the last call."""
        with self._lock:
            changed, self._changed = self._changed, False
            return changed

    def join(self, timeout_seconds: float) -> None:
        """Wait for the thread to end, after `stop`."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_seconds)

    def _run(self) -> None:
        while True:
            try:
                seen = self._presence.look(self._stopped)
            except OSError:  # no processes or descriptors left: try again later
                seen = None
            with self._lock:
                if not self._stopped.is_set():
                    self._changed |= self._looked and seen is not None and seen != self._seen
                    self._looked, self._seen = True, seen
            self._stopped.wait(self._pause_seconds)
            with self._lock:
                if self._stopped.is_set():
                    self._thread = None
                    return


def presence_of(request: Request) -> Presence | None:
    """How to check the presence of the requested device; None if it cannot be checked."""
    if isinstance(request, MicrophoneRequest):
        return Presence(look_for_sound) if sys.platform.startswith("linux") else None
    return _media_presence(request)


def _media_presence(request: MediaRequest) -> Presence | None:
    scheme = url_scheme(request.where)
    if scheme is None or scheme == "file":
        path = request.where.removeprefix("file://")
        if request.format not in (None, "v4l2"):
            return None
        return Presence(lambda _stopped: look_for_path(Path(path)))
    try:
        parts = urlsplit(request.where)
        host, port = parts.hostname, parts.port or _PORTS.get(scheme)
    except ValueError:
        return None
    if host is None or port is None or scheme not in (*_PORTS, "tcp"):
        return None
    if scheme == "tcp" and "listen" in parts.query:
        return None
    address = (host, port)
    # a server that accepts connections need not deliver
    return Presence(lambda stopped: look_for_server(address, stopped), BLIND_RETRY_SECONDS)


def look_for_path(path: Path) -> Hashable | None:
    """Identify a file or device node; the value changes if it is created anew."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, getattr(status, "st_rdev", 0)  # Windows has no device numbers


def look_for_server(address: tuple[str, int], stopped: threading.Event) -> Hashable | None:
    """Whether a server accepts connections: each of its first two addresses is tried for one second."""
    try:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    for family, kind, protocol, _, where in found[:2]:
        with socket.socket(family, kind, protocol) as client:
            client.setblocking(False)
            if client.connect_ex(where) == 0 or _connects(client, stopped):
                return True
    return None


def _connects(client: socket.socket, stopped: threading.Event) -> bool:
    for _ in range(round(_CONNECT_SECONDS / 0.1)):
        if stopped.is_set():
            return False
        _, writable, failed = select.select([], [client], [client], 0.1)
        if writable or failed:
            return client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    return False


def look_for_sound(stopped: threading.Event) -> Hashable | None:
    """ALSA's sound cards and the sound server's sources; None if there is neither."""
    seen = (_alsa_cards(), _server_sources(stopped))
    return None if seen == (None, None) else seen


def _alsa_cards() -> Hashable | None:
    try:
        nodes = tuple(sorted(node.name for node in Path("/dev/snd").glob("pcm*c")))
        cards = Path("/proc/asound/cards").read_text("utf-8", "replace")
    except OSError:
        return None
    return (nodes, cards) if nodes else None


def _server_sources(stopped: threading.Event) -> Hashable | None:
    """Numbers and names of PulseAudio's or PipeWire's recording sources; without pactl, whether there is a server."""
    program = shutil.which("pactl")
    if program is None:
        return _server_answers()
    words = [program, "list", "short", "sources"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(words, stdin=quiet, stdout=subprocess.PIPE, stderr=quiet) as process:
        for _ in range(round(_PACTL_SECONDS / 0.1)):
            try:
                output, _ = process.communicate(timeout=0.1)
            except subprocess.TimeoutExpired:
                if stopped.is_set():
                    break
                continue
            lines = [line.split("\t")[:2] for line in output.decode("utf-8", "replace").splitlines()]
            sources = tuple(tuple(line) for line in lines if not line[-1].endswith(".monitor"))
            return sources if process.returncode == 0 and sources else None
        process.kill()
    return None


def _server_answers() -> Hashable | None:
    path = os.environ.get("PULSE_SERVER", "").removeprefix("unix:")
    folder = os.environ.get("XDG_RUNTIME_DIR")
    if not path and folder:
        path = f"{folder}/pulse/native"
    if not path.startswith("/") or not hasattr(socket, "AF_UNIX"):
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_CONNECT_SECONDS)
        try:
            client.connect(path)
        except OSError:
            return None
    return True
