"""Merges predictions into intervals: adjacent ones with the same answer are joined; no overlaps, in time order."""

from __future__ import annotations

from dataclasses import dataclass

from ascstream.records import Level, Prediction

_JOIN_SECONDS = 1e-6
"""A gap shorter than this between two intervals is rounding: they are adjacent."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of time with one answer."""

    start: float
    """Seconds since the stream began."""
    end: float
    """Seconds since the stream began."""
    label: str
    """A scene, a group, or "unknown"."""
    level: Level
    """What `label` is."""
    score: float
    """Mean score over the stretch, weighted by time."""


class IntervalMerger:
    """Takes predictions one by one and returns each interval once it has ended."""

    def __init__(self) -> None:
        self._open: Interval | None = None

    def add(self, prediction: Prediction) -> Interval | None:
        """Add a prediction, which covers the `step_seconds` before its end, up to the end of the stream.

        Returns:
            The interval that this prediction closed, if any.
        """
        start = prediction.end - prediction.step_seconds
        last = self._open
        if last is not None:
            start = max(start, last.end)
        end = prediction.end - prediction.padded_seconds
        fresh = Interval(start, end, prediction.label, prediction.level, prediction.score)
        if last is None:
            self._open = fresh
            return None
        if (last.label, last.level) == (fresh.label, fresh.level) and fresh.start - last.end < _JOIN_SECONDS:
            length = last.end - last.start
            added = fresh.end - last.end
            score = (last.score * length + fresh.score * added) / (length + added) if length + added > 0 else last.score
            self._open = Interval(last.start, fresh.end, last.label, last.level, score)
            return None
        self._open = fresh
        return last

    @property
    def current(self) -> Interval | None:
        """The interval that is still open, if any."""
        return self._open

    def finish(self) -> Interval | None:
        """Close and return the interval that is still open, if any."""
        last, self._open = self._open, None
        return last
