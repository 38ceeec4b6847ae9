"""Clips as training reads them: any stretch of samples, any moment's frame, by number; from memory or from shards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.float32]
"""[n_channels, n_samples] float32, −1…1."""
Frames: TypeAlias = NDArray[np.uint8]
"""[n_frames, height, width, 3] RGB, scaled and cut as the network's input says."""


class ClipStore(Protocol):
    """Decoded clips, in the order of a list that is kept elsewhere; safe to read from several threads."""

    @property
    def sample_rate(self) -> int:
        """In Hz; 0 where there is no sound."""

    def __len__(self) -> int:
        """Number of clips."""

    def seconds(self, clip: int) -> float:
        """Length of a clip."""

    def samples(self, clip: int, start: int, n_samples: int) -> Samples:
        """Samples from `start` on; zeros where they lie outside of the clip."""

    def frames(self, clip: int, times: Sequence[float], max_age_seconds: float) -> tuple[Frames, NDArray[np.bool_]]:
        """For each time the newest frame stamped at or before it and not older than `max_age_seconds`.

        Returns:
            Frames, black where there is none, and whether each is there: [n_frames].
        """
