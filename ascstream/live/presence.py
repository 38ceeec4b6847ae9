"""Whether a lost device is there again: nodes, lists and addresses, looked at by a thread that may hang."""

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
from ascstream.live.supervisor import LONGEST_RETRY_SECONDS
from ascstream.sources.inputs import url_scheme

Look: TypeAlias = Callable[[threading.Event], Hashable | None]
"""What is there now, as something that changes when it comes anew; None where nothing is. Ends soon after the event."""

BLIND_RETRY_SECONDS = 2.0
"""How far attempts may lie apart where a return cannot be seen."""
_LOOK_SECONDS = 1.0
_PACTL_SECONDS = 2.0
_CONNECT_SECONDS = 1.0
_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935, "rtmps": 443}


@dataclass(frozen=True, slots=True)
class Presence:
    """How a device's presence is seen."""

    look: Look
    """Looks once; may take seconds."""
    retry_seconds: float = LONGEST_RETRY_SECONDS
    """How far attempts may lie apart while it is there: short where it may be there and not deliver."""


class Watch:
    """Looks every second, while a device is waited for, in a daemon thread of its own: at most one at a time."""

    def __init__(self, presence: Presence, pause_seconds: float = _LOOK_SECONDS) -> None:
        """Watch; `start` begins."""
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
        """How far attempts may lie apart now."""
        there = self._looked and self._seen is not None
        return self._presence.retry_seconds if there else LONGEST_RETRY_SECONDS

    def start(self) -> None:
        """Look every second from now on. A look that still hangs goes on instead of a new thread."""
        with self._lock:
            self._stopped.clear()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ascstream-presence", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Look no more; what was seen is remembered for the next `start`. Never waits."""
        self._stopped.set()

    def forget(self) -> None:
        """The device runs: how it looked before counts no more."""
        with self._lock:
            self._looked = self._changed = False
            self._seen = None

    def changed(self) -> bool:
        """Whether it came, or came anew, since this was last asked."""
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
            except OSError:  # no more processes, or descriptors: it is looked at again
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
    """How the presence of what is asked for is seen; None where it cannot be."""
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
    return Presence(lambda stopped: look_for_server(address, stopped), BLIND_RETRY_SECONDS)


def look_for_path(path: Path) -> Hashable | None:
    """A file or a device's node: another one where it was made anew."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, getattr(status, "st_rdev", 0)  # Windows has no device numbers


def look_for_server(address: tuple[str, int], stopped: threading.Event) -> Hashable | None:
    """Whether a server takes connections: each of its first two addresses is tried for a second."""
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
    """ALSA's cards and the sound server's sources; None where there is neither."""
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
    """Numbers and names of what PulseAudio or PipeWire can record from; without pactl, whether there is a server."""
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
