"""Resamples a run of samples to another rate: FFmpeg's resampler, with an exact number of output samples."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.resampler import AudioResampler

from ascstream.records import Samples

_LAYOUTS = {1: "mono", 2: "stereo"}


class Resampler:
    """Resamples one run without gaps; the result does not depend on how the input is cut into pieces.

    The first output sample coincides with the first input sample. Filters have FFmpeg's default of 32 taps.
    """

    def __init__(self, input_rate: int, output_rate: int, n_channels: int) -> None:
        self._input_rate = input_rate
        self._same = input_rate == output_rate
        self._n_channels = n_channels
        self._output_rate = output_rate
        self._pushed = 0
        self._given = 0
        self._last = np.zeros((n_channels, 1), np.float32)
        self._graph = AudioResampler(format="fltp", layout=_LAYOUTS[n_channels], rate=output_rate)

    def push(self, samples: Samples) -> Samples:
        """Take samples [n_channels, n], and return the output that is ready: [n_channels, any number]."""
        if self._same or not samples.shape[1]:
            return samples
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples), format="fltp", layout=_LAYOUTS[self._n_channels]
        )
        frame.sample_rate = self._input_rate
        frame.time_base = Fraction(1, self._input_rate)
        frame.pts = self._pushed
        self._pushed += samples.shape[1]
        self._last = samples[:, -1:].copy()
        return self._collect(self._graph.resample(frame))

    def finish(self) -> Samples:
        """Return the remaining output; the total length is the input's length times the ratio, rounded up.

        If the input is hardly longer than the filter, FFmpeg gives a sample or two less: the last one is then repeated.
        """
        if self._same or not self._pushed:
            return np.zeros((self._n_channels, 0), np.float32)
        rest = self._collect(self._graph.resample(None))
        short = -(-self._pushed * self._output_rate // self._input_rate) - self._given
        if short <= 0:
            return rest
        last = rest[:, -1:] if rest.shape[1] else self._last
        return np.concatenate([rest, np.repeat(last, short, axis=1)], axis=1)

    def _collect(self, frames: list[av.AudioFrame]) -> Samples:
        if not frames:
            return np.zeros((self._n_channels, 0), np.float32)
        parts = [np.stack([np.frombuffer(p, np.float32, count=f.samples) for p in _planes(f)]) for f in frames]
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        self._given += joined.shape[1]
        return joined


def _planes(frame: av.AudioFrame) -> Sequence[Any]:
    return frame.planes
