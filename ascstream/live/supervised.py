"""Interfaces of what a supervisor controls: a recording process, and a watch for the device's presence."""

from __future__ import annotations

from typing import Protocol


class RecorderLike(Protocol):
    """A recording process; `capture/recorder.py` has the real one."""

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        ...

    @property
    def log(self) -> tuple[str, ...]:
        """The newest lines of text it logged."""
        ...

    def ask(self, moment: float) -> None:
        """Ask for the newest picture at a moment; never blocks, never raises."""
        ...

    def kill(self) -> None:
        """End it; never waits, may be called twice."""
        ...

    def close(self, timeout_seconds: float = 0.5) -> None:
        """End it and release everything it holds."""
        ...


class WatchLike(Protocol):
    """Checks whether a device is present; `presence.py` has the real one."""

    def start(self) -> None:
        """Check every second from now on."""
        ...

    def stop(self) -> None:
        """Stop checking."""
        ...

    def changed(self) -> bool:
        """Whether the device appeared, or reappeared, since the last call."""
        ...

    @property
    def longest_seconds(self) -> float:
        """Longest time between attempts at present: short if the device is there but may not deliver."""
        ...

    def forget(self) -> None:
        """Forget what was seen: the device is running."""
        ...

    def join(self, timeout_seconds: float) -> None:
        """Wait for the last check to end, after `stop`."""
        ...
