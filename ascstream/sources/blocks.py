"""Samples to blocks that follow each other without a hole, counted exactly, cut to the span."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from ascstream.records import AudioBlock, Samples
from ascstream.sources.base import AudioWants
from ascstream.sources.span import Span

_LOST_BLOCK_SECONDS = 1
"""A longer gap is handed on in pieces, so that memory stays bounded."""


class BlockMaker:
    """Counts the samples handed on, so that each block starts where the last one ended, and keeps to the span."""

    def __init__(self, span: Span, wants: AudioWants) -> None:
        self._rate = wants.sample_rate
        self._n_channels = wants.n_channels
        self._next = int(span.decode_from * self._rate)
        """Position of the next sample, counted from the medium's time 0."""
        self._first = round(span.start * self._rate)
        self._last = None if span.seconds is None else self._first + round(span.seconds * self._rate)
        self._end: Fraction = Fraction(self._next, self._rate)
        self.begun = False
        """Whether there was any sample."""

    @property
    def end(self) -> Fraction:
        """Time of the medium just after the last sample: exact, where the sample count is rounded."""
        return self._end

    @property
    def time(self) -> float:
        """The same since the stream began, in seconds."""
        return max(0.0, (self._next - self._first) / self._rate)

    @property
    def full(self) -> bool:
        """Whether the span is over."""
        return self._last is not None and self._next >= self._last

    def add(self, samples: Samples, *, lost: bool = False) -> Iterator[AudioBlock]:
        """Hand on [n_channels, n] samples."""
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
        """Hand on the rest of a stretch that ends at `end`: one sample more or less, as rounding wants it."""
        due = max(round(end * self._rate) - self._next, 0)
        if samples.shape[1] < due:
            samples = np.pad(samples, ((0, 0), (0, due - samples.shape[1])))
        yield from self.add(samples[:, :due])
        self._end = end

    def lose_until(self, time: Fraction) -> Iterator[AudioBlock]:
        """Hand on zeros, marked lost, up to a time of the medium."""
        target = round(time * self._rate)
        while self._next < target and not self.full:
            n_samples = min(target - self._next, _LOST_BLOCK_SECONDS * self._rate)
            yield from self.add(np.zeros((self._n_channels, n_samples), np.float32), lost=True)
        self._end = max(self._end, time)
