"""Turns samples into blocks that follow each other without gaps, counted exactly and cut to the span."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from ascstream.records import AudioBlock, Samples
from ascstream.sources.base import AudioWants
from ascstream.sources.span import Span

_LOST_BLOCK_SECONDS = 1
"""A longer gap is passed on in pieces, so that memory stays bounded."""


class BlockMaker:
    """Counts the samples passed on, so that each block starts where the last one ended, and cuts them to the span."""

    def __init__(self, span: Span, wants: AudioWants) -> None:
        self._rate = wants.sample_rate
        self._n_channels = wants.n_channels
        self._next = int(span.decode_from * self._rate)
        """Position of the next sample, counted from medium time 0."""
        self._first = round(span.start * self._rate)
        self._last = None if span.seconds is None else self._first + round(span.seconds * self._rate)
        self._end: Fraction = Fraction(self._next, self._rate)
        self.begun = False
        """Whether any sample was added."""

    @property
    def end(self) -> Fraction:
        """Medium time just after the last sample: exact, whereas the sample count is rounded."""
        return self._end

    @property
    def time(self) -> float:
        """Stream time just after the last sample, in seconds."""
        return max(0.0, (self._next - self._first) / self._rate)

    @property
    def full(self) -> bool:
        """Whether the end of the span was reached."""
        return self._last is not None and self._next >= self._last

    def add(self, samples: Samples, *, lost: bool = False) -> Iterator[AudioBlock]:
        """Pass on [n_channels, n] samples, as far as they lie in the span."""
        start, stop = self._next, self._next + samples.shape[1]
        self.begun |= stop > start
        self._next = stop
        self._end = Fraction(stop, self._rate)
        begin = max(start, self._first)
        end = stop if self._last is None else min(stop, self._last)
        if begin < end:
            kept = np.ascontiguousarray(samples[:, begin - start : end - start])
            yield AudioBlock((begin - self._first) / self._rate, kept, self._rate, lost)

    def add_last(self, samples: Samples, end: Fraction) -> Iterator[AudioBlock]:
        """Pass on the rest of a stretch that ends at `end`, cut or padded to the sample count this time implies."""
        due = max(round(end * self._rate) - self._next, 0)
        if samples.shape[1] < due:
            samples = np.pad(samples, ((0, 0), (0, due - samples.shape[1])))
        yield from self.add(samples[:, :due])
        self._end = end

    def lose_until(self, time: Fraction) -> Iterator[AudioBlock]:
        """Pass on zeros, marked lost, up to a medium time."""
        target = round(time * self._rate)
        while self._next < target and not self.full:
            n_samples = min(target - self._next, _LOST_BLOCK_SECONDS * self._rate)
            yield from self.add(np.zeros((self._n_channels, n_samples), np.float32), lost=True)
        self._end = max(self._end, time)
