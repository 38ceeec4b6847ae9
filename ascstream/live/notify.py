"""What a service says to systemd: that it runs, how it is, and that it is alive (`man sd_notify`)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from ascstream.live.clock import Clock
from ascstream.records import Prediction

_STATUS_SECONDS = 5.0
"""Time between two words about the state, at least."""


class Notifier:
    """Tells the service manager; does nothing where there is none.

    Nothing here blocks or raises: a manager that does not listen must not cost the stream.
    """

    def __init__(self, environment: Mapping[str, str] | None = None, clock: Clock | None = None) -> None:
        """Take NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID from the environment.

        Args:
            environment: By default the process's own.
            clock: Says when something is due.
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
        """A window was answered: the service is ready, and alive unless that was without its engine.

        What a manager had no room for is said again with the next window.
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
        """The service is about to end."""
        self._send(["STOPPING=1"])

    def close(self) -> None:
        """Give the socket back; may be called twice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, words: list[str]) -> bool:
        """Say something; whether it was heard. Not connected: a manager that starts anew is reached again."""
        if self._socket is None or not words:
            return False
        try:
            self._socket.sendto("\n".join(words).encode("utf-8", "replace"), self._address)
        except OSError:
            return False
        return True


def _open(address: str) -> socket.socket | None:
    """A socket that sends to a path, or to an abstract address ("@name"); None where the address is neither."""
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return None
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.setblocking(False)
    return notify


def _watchdog_seconds(variables: Mapping[str, str]) -> float:
    """After how long without a sign the manager restarts this very process; 0 where it does not watch."""
    if variables.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return max(0.0, int(variables.get("WATCHDOG_USEC", "0")) / 1e6)
    except ValueError:
        return 0.0


def _status(prediction: Prediction) -> str:
    """One line: what is answered, and what is missing."""
    sure = f" ({prediction.reason})" if prediction.level == "unknown" else f" {100 * prediction.score:.0f} %"
    lost = "".join(f", {device} lost for {seconds:.0f} s" for device, seconds in prediction.lost.items())
    return f"{prediction.label}{sure}{lost}".replace("\n", " ")
