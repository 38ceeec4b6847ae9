"""Which part of a medium a stream shows, and how its times relate to the container's stamps."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Span:
    """Times of the medium count from its first sample or frame; times of the stream from `start`."""

    zero: Fraction
    """Container time of the medium's beginning, in seconds."""
    start: Fraction
    """Medium time at which the stream begins."""
    seconds: Fraction | None
    """Length of the stream; None: to the medium's end."""
    decode_from: int
    """Medium time at which decoding begins, a whole second so that every rate has a sample there."""

    @property
    def end(self) -> Fraction | None:
        """Medium time at which the stream ends, if it does before the medium."""
        return None if self.seconds is None else self.start + self.seconds
