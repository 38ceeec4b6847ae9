"""Clips that known-answer bundles know: a tone for the ear, a colour for the eye, in memory or as a prepared corpus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from support.bundles import COLOURS, tone_hz

from trainer.data.store import Frames, Samples

RATE = 24_000
SIZE = (32, 48)


class SceneStore:
    """A `ClipStore`: clip c sounds like `heard[c]` and looks like `seen[c]`; "" is silence, or no picture at all."""

    def __init__(self, heard: Sequence[str], seen: Sequence[str], seconds: float = 2.0, rate: int = RATE) -> None:
        """Clips of these scenes, all of one length."""
        self._heard, self._seen, self._seconds = list(heard), list(seen), seconds
        self.sample_rate = rate

    def __len__(self) -> int:
        return len(self._heard)

    def seconds(self, clip: int) -> float:
        """Length."""
        return self._seconds

    def samples(self, clip: int, start: int, n_samples: int) -> Samples:
        """Mono."""
        at = np.arange(start, start + n_samples)
        inside = (at >= 0) & (at < round(self._seconds * self.sample_rate)) & (self._heard[clip] != "")
        frequency = tone_hz(self._heard[clip]) if self._heard[clip] else 0.0
        tone = 0.2 * np.sin(2 * np.pi * frequency * at / self.sample_rate) * inside
        return tone.astype(np.float32)[None]

    def frames(self, clip: int, times: Sequence[float], max_age_seconds: float) -> tuple[Frames, np.ndarray]:
        """One colour."""
        out = np.zeros((len(times), *SIZE, 3), np.uint8)
        there = np.full(len(times), self._seen[clip] != "")
        if self._seen[clip]:
            out[:] = COLOURS[self._seen[clip]]
        return out, there
