"""The interface through which training reads clips: samples and frames at any position, by clip index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.float32]
"""[n_channels, n_samples] float32 in −1…1."""
Frames: TypeAlias = NDArray[np.uint8]
"""[n_frames, height, width, 3] RGB, scaled and cropped as the network's input requires."""


class ClipStore(Protocol):
    """Decoded clips, in the order of a list that is kept elsewhere; safe to read from several threads."""

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz; 0 without sound."""

    def __len__(self) -> int:
        """Number of clips."""

    def seconds(self, clip: int) -> float:
        """Length of a clip in seconds."""

    def samples(self, clip: int, start: int, n_samples: int) -> Samples:
        """Samples from position `start` on; zeros outside the clip."""

    def frames(self, clip: int, times: Sequence[float], max_age_seconds: float) -> tuple[Frames, NDArray[np.bool_]]:
        """For each time, the newest frame with a timestamp at or before it and at most `max_age_seconds` older.

        Returns:
            Frames, black where there is none, and whether each exists: [n_frames].
        """
