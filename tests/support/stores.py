"""A clip store whose sound and picture say where they were taken from: for tests of sample arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.data.store import Frames, Samples

FRAME_RATE = 5


class CountingStore:
    """Clip c's sample k is c + k / 2²⁰, in the second channel negative; its frame k is grey of level 10 + k.

    Frames stand 0.2 s apart from `first_frame` on and end with the clip.
    """

    def __init__(
        self,
        lengths: Sequence[float],
        sample_rate: int,
        n_channels: int = 1,
        size: tuple[int, int] = (8, 8),
        first_frame: float = 0.0,
    ) -> None:
        """Clips of these lengths in seconds."""
        self._lengths = list(lengths)
        self.sample_rate = sample_rate
        self._n_channels = n_channels
        self._size = size
        self._first = first_frame

    def __len__(self) -> int:
        return len(self._lengths)

    def seconds(self, clip: int) -> float:
        """Length."""
        return self._lengths[clip]

    def samples(self, clip: int, start: int, n_samples: int) -> Samples:
        """As the class says; zeros outside of the clip."""
        at = np.arange(start, start + n_samples)
        inside = (at >= 0) & (at < round(self._lengths[clip] * self.sample_rate))
        left = np.where(inside, clip + at / 2**20, 0).astype(np.float32)
        return np.stack([left, -left])[: self._n_channels]

    def frames(self, clip: int, times: Sequence[float], max_age_seconds: float) -> tuple[Frames, np.ndarray]:
        """As the class says."""
        stamps = np.arange(self._first, self._lengths[clip] - 1e-9, 1 / FRAME_RATE)
        out = np.zeros((len(times), *self._size, 3), np.uint8)
        there = np.zeros(len(times), bool)
        for slot, time in enumerate(times):
            earlier = np.flatnonzero((stamps <= time + 1e-6) & (time - stamps <= max_age_seconds + 1e-6))
            if earlier.size:
                out[slot], there[slot] = 10 + earlier[-1], True
        return out, there
