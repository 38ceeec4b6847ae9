"""What a supervisor has in hand: a process that records, and a look at whether the device is there."""

from __future__ import annotations

from typing import Protocol


class RecorderLike(Protocol):
    """A process that records; `capture/recorder.py` has the real one."""

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        ...

    @property
    def log(self) -> tuple[str, ...]:
        """The newest lines it wrote for people."""
        ...

    def ask(self, moment: float) -> None:
        """Ask for the newest picture at a moment; never blocks, never raises."""
        ...

    def kill(self) -> None:
        """End it; never waits, may be called twice."""
        ...

    def close(self, timeout_seconds: float = 0.5) -> None:
        """End it and give everything back."""
        ...


class WatchLike(Protocol):
    """Looks whether a device is there; `presence.py` has the real one."""

    def start(self) -> None:
        """Look every second from now on."""
        ...

    def stop(self) -> None:
        """Look no more."""
        ...

    def changed(self) -> bool:
        """Whether it came, or came anew, since this was last asked."""
        ...

    @property
    def longest_seconds(self) -> float:
        """How far attempts may lie apart now: short where its return could not be seen."""
        ...

    def forget(self) -> None:
        """The device runs: how it looked before counts no more."""
        ...

    def join(self, timeout_seconds: float) -> None:
        """Wait for the last look to end, after `stop`."""
        ...
