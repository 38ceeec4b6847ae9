"""Turn TensorRT's progress reports on nested phases into one fraction, reported at most ten times a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

Tell: TypeAlias = Callable[[str, float], object]
"""Receives the current phase and the fraction done: 0 to 1, never less than before."""

_SHORTEST_SECONDS = 0.1
"""Minimum time between two reports."""


class Throttled:
    """Passes on at most ten reports a second."""

    def __init__(self, tell: Tell, clock: Callable[[], float] = time.monotonic) -> None:
        """Set the function that receives the reports, and the clock."""
        self._tell = tell
        self._clock = clock
        self._last: float | None = None

    def tell(self, phase: str, fraction: float) -> None:
        """Report progress, unless the last report is too recent."""
        now = self._clock()
        if self._last is None or now - self._last >= _SHORTEST_SECONDS:
            self._last = now
            self._tell(phase, fraction)


@dataclass(slots=True)
class _Phase:
    """A running phase: where it starts, its share of the whole, and its steps."""

    start: float
    share: float
    n_steps: int
    n_done: int = 0


@dataclass(slots=True)
class Phases:
    """Nested phases as one fraction that never decreases.

    A nested phase fills the step that its parent is at. Consecutive phases without a parent each take most of what is
    left, since it is not known which one is the last: the fraction ends below 1.
    """

    fraction: float = 0.0
    """Fraction of the whole that is done."""
    _going: dict[str, _Phase] = field(default_factory=dict)

    def start(self, name: str, parent: str | None, n_steps: int) -> float:
        """Start a phase; return the overall fraction."""
        above = self._going.get(parent or "")
        if above is None:
            place = _Phase(self.fraction, 0.98 * (1 - self.fraction), max(1, n_steps))
        else:
            share = above.share / above.n_steps
            place = _Phase(above.start + min(above.n_done, above.n_steps - 1) * share, share, max(1, n_steps))
        self._going[name] = place
        return self.fraction

    def step(self, name: str, step: int) -> float:
        """Complete a step of a phase; return the overall fraction."""
        phase = self._going.get(name)
        if phase is None:
            return self.fraction
        phase.n_done = min(max(phase.n_done, step + 1), phase.n_steps)
        return self._reached(phase.start + phase.share * phase.n_done / phase.n_steps)

    def finish(self, name: str) -> float:
        """End a phase, whether or not all of its steps are done; return the overall fraction."""
        phase = self._going.pop(name, None)
        return self.fraction if phase is None else self._reached(phase.start + phase.share)

    def _reached(self, fraction: float) -> float:
        self.fraction = max(self.fraction, min(fraction, 1.0))
        return self.fraction
