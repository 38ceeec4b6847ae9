"""Counts dropped windows and reports when dropping begins and ends, instead of each window."""

from __future__ import annotations

_QUIET_SECONDS = 10.0
"""Dropping counts as over once no window has been dropped for this long."""


class Drops:
    """Counts dropped windows; `add` and `over` return the sentences to report."""

    def __init__(self) -> None:
        self.total = 0
        self._n = 0
        self._begun = self._newest = 0.0

    def add(self, n: int, now: float) -> str | None:
        """Count `n` dropped windows; return a sentence if this is where dropping begins, else None."""
        if not n:
            return None
        begins = not self._n
        self._begun = now if begins else self._begun
        self._newest = now
        self._n += n
        self.total += n
        return "windows come faster than they are judged: the oldest are dropped" if begins else None

    def over(self, now: float, *, ended: bool) -> tuple[str, float] | None:
        """Once dropping is over, return the sentence for it and its duration in seconds, a single time; else None."""
        if not self._n or not (ended or now - self._newest >= _QUIET_SECONDS):
            return None
        n, self._n = self._n, 0
        seconds = self._newest - self._begun
        noun = "window was" if n == 1 else "windows were"
        return f"{n} {noun} dropped within {seconds:.1f} s", seconds
