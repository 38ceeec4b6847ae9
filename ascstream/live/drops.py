"""Windows that are dropped, folded: told when it begins and when it is over, not one by one."""

from __future__ import annotations

_QUIET_SECONDS = 10.0
"""Windows are no longer dropped once none was for this long."""


class Drops:
    """Windows that were dropped, told when it begins and when it is over."""

    def __init__(self) -> None:
        self.total = 0
        self._n = 0
        self._begun = self._newest = 0.0

    def add(self, n: int, now: float) -> str | None:
        """Count some; the sentence that it begins, where it does."""
        if not n:
            return None
        begins = not self._n
        self._begun = now if begins else self._begun
        self._newest = now
        self._n += n
        self.total += n
        return "windows come faster than they are judged: the oldest are dropped" if begins else None

    def over(self, now: float, *, ended: bool) -> tuple[str, float] | None:
        """The sentence that it is over and how long it lasted, once, where it is."""
        if not self._n or not (ended or now - self._newest >= _QUIET_SECONDS):
            return None
        n, self._n = self._n, 0
        seconds = self._newest - self._begun
        noun = "window was" if n == 1 else "windows were"
        return f"{n} {noun} dropped within {seconds:.1f} s", seconds
