"""The answers of the last minutes, gaps included: the scrolling timeline of a live stream."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

from ascstream.intervals import Interval
from ascstream.records import Prediction
from ascstream.sinks.drawing import cells

_JOIN_SECONDS = 1e-6
"""Intervals whose ends differ by less are adjacent: the difference is rounding, not a gap."""
_DEGRADED = "degraded"


@dataclass(frozen=True, slots=True)
class Cell:
    """One of the equal parts of the time shown."""

    label: str
    """The label that held longest; empty before the stream began."""
    degraded: bool
    """Whether something was missing for most of it."""


_BEFORE = Cell("", degraded=False)


class History:
    """Keeps the answers of at least the newest `span_seconds`."""

    def __init__(self, span_seconds: float) -> None:
        self.span_seconds = span_seconds
        self.begun: float | None = None
        """Where the first answer begins, in seconds since the stream began."""
        self.since: float | None = None
        """Since when the answer has been the same, even if some windows were missing."""
        self._label: str | None = None
        self._answers: deque[Interval] = deque()
        self._states: deque[Interval] = deque()

    def add(self, prediction: Prediction) -> None:
        """Add a prediction. It covers its step, as far as no other does; time of dropped windows stays a gap."""
        start = max(prediction.end - prediction.step_seconds, prediction.start)
        if self._answers:
            start = max(start, self._answers[-1].end)
        if self.begun is None:
            self.begun = start
        if prediction.label != self._label:
            self._label, self.since = prediction.label, start
        fresh = Interval(start, prediction.end, prediction.label, prediction.level, prediction.score)
        _append(self._answers, fresh)
        _append(self._states, replace(fresh, label=_DEGRADED if prediction.degraded else ""))
        for kept in (self._answers, self._states):
            while kept[0].end < prediction.end - 2 * self.span_seconds:
                kept.popleft()

    def cells(self, now: float, n_cells: int) -> list[Cell | None]:
        """The last minutes in equal parts, the newest last; None where nothing was answered.

        The cells keep their positions while time passes: their edges are whole multiples of their length.

        Args:
            now: Seconds since the stream began.
            n_cells: Number of parts.
        """
        length = self.span_seconds / max(n_cells, 1)
        end = math.ceil(now / length - 1e-6) * length
        first = n_cells if self.begun is None else n_cells - math.ceil((end - self.begun) / length - 1e-6)
        held = cells(self._answers, end - n_cells * length, end, n_cells)
        states = cells(self._states, end - n_cells * length, end, n_cells)
        pairs = enumerate(zip(held, states, strict=True))
        return [
            Cell(label, state == _DEGRADED) if label is not None else None if index >= first else _BEFORE
            for index, (label, state) in pairs
        ]


def _append(kept: deque[Interval], fresh: Interval) -> None:
    """Append an interval, or extend the last one if it is adjacent and has the same label."""
    if kept and kept[-1].label == fresh.label and fresh.start - kept[-1].end < _JOIN_SECONDS:
        kept[-1] = replace(kept[-1], end=fresh.end)
    else:
        kept.append(fresh)
