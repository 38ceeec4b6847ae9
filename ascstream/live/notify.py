"""A service's messages to systemd: that it is ready, its status, and that it is alive (`man sd_notify`)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from ascstream.live.clock import Clock
from ascstream.records import Prediction

_STATUS_SECONDS = 5.0
"""Least time between two unchanged status messages."""


class Notifier:
    """Notifies the service manager; does nothing if there is none.

    Nothing here blocks or raises: a manager that does not listen must not harm the stream.
    """

    def __init__(self, environment: Mapping[str, str] | None = None, clock: Clock | None = None) -> None:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID from the environment.

        Args:
            environment: Defaults to the process's own.
            clock: Tells when a message is due.
        """
        variables = os.environ if environment is None else environment
        self._clock = clock or Clock()
        address = variables.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = _open(address)
        self._alive_every = _watchdog_seconds(variables) / 2
        self._ready = False
        self._alive_at = self._status_at = 0.0
        self._label = ""

    def judged(self, prediction: Prediction) -> None:
        """Report a judged window: the service is ready, and alive unless the engine did not answer.

        A message the manager had no room for is sent again with the next window.
        """
        if self._socket is None:
            return
        now = self._clock.monotonic()
        tells = prediction.label != self._label or now - self._status_at >= _STATUS_SECONDS
        lives = self._alive_every > 0 and prediction.reason != "engine" and now - self._alive_at >= self._alive_every
        words = [] if self._ready else ["READY=1"]
        words += [f"STATUS={_status(prediction)}"] * tells + ["WATCHDOG=1"] * lives
        if not self._send(words):
            return
        self._ready = True
        if tells:
            self._label, self._status_at = prediction.label, now
        if lives:
            self._alive_at = now

    def stopping(self) -> None:
        """Report that the service is about to end."""
        self._send(["STOPPING=1"])

    def close(self) -> None:
        """Close the socket; may be called twice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, words: list[str]) -> bool:
        """Send messages; return whether they were accepted. Not connected, so a restarted manager is reached again."""
        if self._socket is None or not words:
            return False
        try:
            self._socket.sendto("\n".join(words).encode("utf-8", "replace"), self._address)
        except OSError:
            return False
        return True


def _open(address: str) -> socket.socket | None:
    """A socket for a path or an abstract address ("@name"); None if the address is neither."""
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return None
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.setblocking(False)
    return notify


def _watchdog_seconds(variables: Mapping[str, str]) -> float:
    """Seconds without a sign of life after which the manager restarts this process; 0 if it does not watch it."""
    if variables.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return max(0.0, int(variables.get("WATCHDOG_USEC", "0")) / 1e6)
    except ValueError:
        return 0.0


def _status(prediction: Prediction) -> str:
    """One line: the label with its score or reason, and which devices are lost."""
    sure = f" ({prediction.reason})" if prediction.level == "unknown" else f" {100 * prediction.score:.0f} %"
    lost = "".join(f", {device} lost for {seconds:.0f} s" for device, seconds in prediction.lost.items())
    return f"{prediction.label}{sure}{lost}".replace("\n", " ")
