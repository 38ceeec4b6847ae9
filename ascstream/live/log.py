"""The log of a stream that runs for months: lines on standard error with time and level, repeats folded."""

from __future__ import annotations

import contextlib
import re
import sys
from dataclasses import dataclass
from typing import Literal, TextIO, TypeAlias, get_args

from ascstream.live.clock import Clock
from ascstream.records import StreamEvent
from ascstream.sinks.output import printable

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)
"""From the least to the most severe."""
_FOLD_SECONDS = 30.0
"""Repeats of a sentence within this long are counted instead of written."""
_MOST_SENTENCES = 64
"""Number of sentences whose repeats are counted; beyond that, the oldest is given up."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_GOOD_NEWS = ("device_back", "device_changed", "engine_back", "started", "mono_source")


@dataclass(slots=True)
class _Folded:
    """A sentence that was written, and how often it was repeated since."""

    written: float
    level: LogLevel
    message: str
    n: int = 0


class Log:
    """Writes `2026-06-01T12:00:00Z warning  camera: …`; sentences that differ only in numbers count as the same.

    Failing to write to standard error is not an error of the stream.
    """

    def __init__(self, level: LogLevel = "info", *, stream: TextIO | None = None, clock: Clock | None = None) -> None:
        """Open a log.

        Args:
            level: The least severe level to write.
            stream: Where to write; standard error by default.
            clock: Tells the time.
        """
        self._least = LEVELS.index(level)
        self._stream = stream
        self._clock = clock or Clock()
        self._folded: dict[tuple[LogLevel, str], _Folded] = {}

    def write(self, level: LogLevel, message: str) -> None:
        """Write a sentence, or count it if it was written recently."""
        if LEVELS.index(level) < self._least:
            return
        self.tick()
        key = level, _NUMBER.sub("#", message)
        folded = self._folded.get(key)
        if folded is not None:
            folded.n, folded.message = folded.n + 1, message
            return
        if len(self._folded) >= _MOST_SENTENCES:
            self._end(next(iter(self._folded)))
        self._folded[key] = _Folded(self._clock.monotonic(), level, message)
        self._line(level, message)

    def event(self, event: StreamEvent) -> None:
        """Write a stream event."""
        level: LogLevel = "info" if event.kind in _GOOD_NEWS else "warning"
        self.write(level, f"{event.kind}: {event.message}")

    def tick(self) -> None:
        """Write the counts of repeats that are due; call it as often as convenient."""
        now = self._clock.monotonic()
        for key in [key for key, folded in self._folded.items() if now - folded.written >= _FOLD_SECONDS]:
            self._end(key)

    def close(self) -> None:
        """Write the remaining counts."""
        for key in list(self._folded):
            self._end(key)

    def _end(self, key: tuple[LogLevel, str]) -> None:
        folded = self._folded.pop(key)
        if folded.n:
            seconds = self._clock.monotonic() - folded.written
            times = "time" if folded.n == 1 else "times"
            self._line(folded.level, f"{folded.message} … {folded.n} more {times} in {seconds:.0f} s")

    def _line(self, level: LogLevel, message: str) -> None:
        now = self._clock.utc().strftime("%Y-%m-%dT%H:%M:%SZ")
        stream = sys.stderr if self._stream is None else self._stream
        with contextlib.suppress(OSError, ValueError):
            stream.write(f"{now} {level:<7}  {printable(message)}\n")
            stream.flush()
