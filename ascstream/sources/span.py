"""The part of a medium that a stream covers, and how its times relate to the container's timestamps."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Span:
    """Medium times count from the medium's first sample or frame, stream times from `start`; all are in seconds."""

    zero: Fraction
    """Container time of the medium's beginning, in seconds."""
    start: Fraction
    """Medium time at which the stream begins."""
    seconds: Fraction | None
    """Length of the stream; None: to the medium's end."""
    decode_from: int
    """Medium time at which decoding begins: a whole second, so that it is a sample position at every rate."""

    @property
    def end(self) -> Fraction | None:
        """Medium time at which the stream ends; None: at the medium's end."""
        return None if self.seconds is None else self.start + self.seconds
