"""Normalises a feature just before the network, by fixed statistics or by the window's own."""

from __future__ import annotations

import numpy as np

from ascstream.features.spectrum import Bands
from engines.manifest import Normalisation


class Normaliser:
    """Applies one `Normalisation`; immutable after construction."""

    def __init__(self, spec: Normalisation) -> None:
        """Prepare the constants."""
        self._spec = spec
        if spec.mean is not None and spec.std is not None:
            # one number in all, or one per band: [n_bands, 1] broadcasts against [n_channels, n_bands, n_hops]
            self._mean = np.array(spec.mean, np.float32)[:, None]
            self._rate = (1 / np.array(spec.std, np.float64)).astype(np.float32)[:, None]

    def __call__(self, values: Bands) -> Bands:
        """Normalise into a new array of the same shape; finite wherever `values` is, even for digital silence."""
        spec = self._spec
        if spec.kind in ("affine", "per_bin"):
            out: Bands = values - self._mean
            out *= self._rate
            return out
        if spec.kind == "per_clip":
            out = values - values.mean(dtype=np.float64).astype(np.float32)
            # population standard deviation; if it is 0, every value equals the mean and the result is 0
            deviation = float(np.sqrt(np.square(out).mean(dtype=np.float64))) + spec.epsilon
            out *= np.float32(1 / deviation if deviation > 0 else 1.0)
            return out
        if spec.kind == "min_max":
            return self._min_max(values)
        return values.copy()

    def _min_max(self, values: Bands) -> Bands:
        """Map the range of `values`, or only its top `floor_db`, to [low, high]; a constant input maps to low."""
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
