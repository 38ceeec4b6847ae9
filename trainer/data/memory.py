"""Recordings held in memory, with the same interface as a prepared corpus: any stretch, by clip index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.data.store import Frames, Samples
from trainer.errors import DataError


class MemoryStore:
    """A `ClipStore` over arrays, without pictures."""

    def __init__(self, recordings: Sequence[NDArray[np.float32]], sample_rate: int) -> None:
        """Wrap recordings.

        Args:
            recordings: Arrays [n_samples] or [n_channels, n_samples] in −1…1; they are not copied.
            sample_rate: In Hz.
        """
        self._recordings: list[Samples] = [np.atleast_2d(recording) for recording in recordings]
        self._sample_rate = sample_rate

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz."""
        return self._sample_rate

    def __len__(self) -> int:
        return len(self._recordings)

    def seconds(self, clip: int) -> float:
        """Length of a clip in seconds."""
        return float(self._recordings[clip].shape[1] / self._sample_rate)

    def samples(self, clip: int, start: int, n_samples: int) -> Samples:
        """Samples from position `start` on: [n_channels, n_samples], zeros outside the clip."""
        recording = self._recordings[clip]
        begin, end = max(start, 0), min(start + n_samples, recording.shape[1])
        if begin == start and end == start + n_samples:
            return recording[:, begin:end]
        out = np.zeros((len(recording), n_samples), np.float32)
        if begin < end:
            out[:, begin - start : end - start] = recording[:, begin:end]
        return out

    def frames(self, clip: int, times: Sequence[float], max_age_seconds: float) -> tuple[Frames, NDArray[np.bool_]]:
        """Raise an error, as there are no pictures.

        Raises:
            DataError: Always.
        """
        raise DataError(
            f"expected a corpus with pictures, got recordings in memory (clip {clip}: {len(times)} frames, "
            f"{max_age_seconds:g} s old at most); decode one with: trainer prepare CORPUS OUT --config CONFIG"
        )
