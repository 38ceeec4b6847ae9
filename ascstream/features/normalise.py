"""What is done to a feature just before the network: fixed statistics, or the window's own."""

from __future__ import annotations

import numpy as np

from ascstream.features.spectrum import Bands
from engines.manifest import Normalisation


class Normaliser:
    """Applies one `Normalisation`; nothing in it changes after construction."""

    def __init__(self, spec: Normalisation) -> None:
        """Prepare the constants."""
        self._spec = spec
        if spec.mean is not None and spec.std is not None:
            # one number, or one a band: [n_bands, 1] stands against [n_channels, n_bands, n_hops]
            self._mean = np.array(spec.mean, np.float32)[:, None]
            self._rate = (1 / np.array(spec.std, np.float64)).astype(np.float32)[:, None]

    def __call__(self, values: Bands) -> Bands:
        """A new array of the shape of `values`; finite wherever `values` is, digital silence included."""
        spec = self._spec
        if spec.kind in ("affine", "per_bin"):
            out: Bands = values - self._mean
            out *= self._rate
            return out
        if spec.kind == "per_clip":
            out = values - values.mean(dtype=np.float64).astype(np.float32)
            # population standard deviation; 0 only where every value is the mean, and 0 / 1 is the answer
            deviation = float(np.sqrt(np.square(out).mean(dtype=np.float64))) + spec.epsilon
            out *= np.float32(1 / deviation if deviation > 0 else 1.0)
            return out
        if spec.kind == "min_max":
            return self._min_max(values)
        return values.copy()

    def _min_max(self, values: Bands) -> Bands:
        """The range of `values`, or its upper `floor_db`, to [low, high]; a constant goes to low."""
        spec = self._spec
        highest, lowest = float(values.max()), float(values.min())
        if spec.floor_db is not None and lowest < highest - spec.floor_db:
            lowest = highest - spec.floor_db
            values = np.maximum(values, np.float32(lowest))
        scale = (spec.high - spec.low) / (highest - lowest) if highest > lowest else 0.0
        out: Bands = values - np.float32(lowest)
        out *= np.float32(scale)
        out += np.float32(spec.low)
        return out
