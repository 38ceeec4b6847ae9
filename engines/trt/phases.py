"""How far a build is, from TensorRT's own reports: nested phases as one fraction, told ten times a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

Tell: TypeAlias = Callable[[str, float], object]
"""Takes what is going on, and how much of it is done: 0 to 1, never less than before."""

_SHORTEST_SECONDS = 0.1
"""Between two reports."""


class Throttled:
    """Tells at most ten times a second."""

    def __init__(self, tell: Tell, clock: Callable[[], float] = time.monotonic) -> None:
        """Tell `tell`, by that clock."""
        self._tell = tell
        self._clock = clock
        self._last: float | None = None

    def tell(self, phase: str, fraction: float) -> None:
        """Tell it, unless the last was just now."""
        now = self._clock()
        if self._last is None or now - self._last >= _SHORTEST_SECONDS:
            self._last = now
            self._tell(phase, fraction)


@dataclass(slots=True)
class _Phase:
    """A phase that goes on: what share of the whole it is, and how far."""

    start: float
    share: float
    n_steps: int
    n_done: int = 0


@dataclass(slots=True)
class Phases:
    """Nested phases as one fraction that never falls.

    A phase within another one is the step at which that one is; phases that follow each other without a parent share
    what is left of the whole, so that the last one cannot be told from the first: the fraction ends below 1.
    """

    fraction: float = 0.0
    """How much is done."""
    _going: dict[str, _Phase] = field(default_factory=dict)

    def start(self, name: str, parent: str | None, n_steps: int) -> float:
        """A phase begins."""
        above = self._going.get(parent or "")
        if above is None:
            place = _Phase(self.fraction, 0.98 * (1 - self.fraction), max(1, n_steps))
        else:
            share = above.share / above.n_steps
            place = _Phase(above.start + min(above.n_done, above.n_steps - 1) * share, share, max(1, n_steps))
        self._going[name] = place
        return self.fraction

    def step(self, name: str, step: int) -> float:
        """A step of a phase is done."""
        phase = self._going.get(name)
        if phase is None:
            return self.fraction
        phase.n_done = min(max(phase.n_done, step + 1), phase.n_steps)
        return self._reached(phase.start + phase.share * phase.n_done / phase.n_steps)

    def finish(self, name: str) -> float:
        """A phase is over, all of its steps done or not."""
        phase = self._going.pop(name, None)
        return self.fraction if phase is None else self._reached(phase.start + phase.share)

    def _reached(self, fraction: float) -> float:
        self.fraction = max(self.fraction, min(fraction, 1.0))
        return self.fraction
