"""Converts decoded samples of any format and channel layout to float32 on one or two channels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from ascstream.errors import DecodeError
from ascstream.records import Samples

_HALF_POWER = 0.5**0.5

_STEREO_WEIGHTS: dict[str, tuple[float, float]] = {
    "FL": (1.0, 0.0),
    "FR": (0.0, 1.0),
    "FC": (_HALF_POWER, _HALF_POWER),
    "BL": (_HALF_POWER, 0.0),
    "BR": (0.0, _HALF_POWER),
    "SL": (_HALF_POWER, 0.0),
    "SR": (0.0, _HALF_POWER),
    "BC": (0.5, 0.5),
    "LFE": (0.0, 0.0),
    "LFE2": (0.0, 0.0),
}
"""Weights of each channel in left and right: ITU-R BS.775-3, annex 4, table 2 (downward mixing to 2/0)."""

_FORMATS: dict[str, tuple[type[np.generic], float, float]] = {
    "u8": (np.uint8, 128.0, 1 / 128),
    "s16": (np.int16, 0.0, 1 / 32768),
    "s32": (np.int32, 0.0, 1 / 2**31),
    "s64": (np.int64, 0.0, 1 / 2**63),
    "flt": (np.float32, 0.0, 1.0),
    "dbl": (np.float64, 0.0, 1.0),
}
"""FFmpeg's name of each packed sample format: dtype, value of silence, and factor that scales to −1…1."""


def read_samples(frame: av.AudioFrame) -> Samples:
    """Samples of a decoded frame, scaled to −1…1.

    Returns:
        [n_channels, n_samples]; may be a view into the frame if its samples are float32.

    Raises:
        DecodeError: The sample format is not supported.
    """
    name = frame.format.name
    planar = frame.format.is_planar
    if name[: -1 if planar else None] not in _FORMATS:
        raise DecodeError(f"samples of the format {name} are not supported; convert the sound to 32-bit float first")
    dtype, zero, factor = _FORMATS[name[:-1] if planar else name]
    n_channels, n_samples = frame.layout.nb_channels, frame.samples
    planes: Sequence[Any] = frame.planes
    if planar:
        rows = [np.frombuffer(plane, dtype=dtype, count=n_samples) for plane in planes[:n_channels]]
        raw: NDArray[np.generic] = rows[0][None] if len(rows) == 1 else np.stack(rows)
    else:
        raw = np.frombuffer(planes[0], dtype=dtype, count=n_samples * n_channels).reshape(-1, n_channels).T
    if dtype is np.float32:
        return np.asarray(raw, dtype=np.float32)
    if dtype in (np.uint8, np.int16):
        exact = raw.astype(np.float32)
        return (exact - np.float32(zero)) * np.float32(factor) if zero else exact * np.float32(factor)
    with np.errstate(over="ignore"):  # a value beyond float32 becomes infinite, which is rejected later
        return (raw.astype(np.float64) * factor).astype(np.float32)


def mix_weights(channels: Sequence[str], n_channels: int) -> NDArray[np.float32] | None:
    """The matrix that mixes a layout to one or two channels; the output never exceeds the loudest input.

    Mono is the mean of left and right. Layouts of more than two channels are mixed to left and right by ITU-R BS.775-3
    without the low-frequency channel, and normalised by the largest row sum. A layout with channels that the standard
    does not cover is mixed to the mean of all.

    Args:
        channels: FFmpeg's channel names, such as ("FL", "FR", "LFE").
        n_channels: 1 or 2.

    Returns:
        [n_channels, len(channels)]; None if no mixing is needed.
    """
    n_inputs = len(channels)
    if n_inputs == n_channels:
        return None
    if n_inputs == 1:
        return np.ones((2, 1), np.float32)
    if n_inputs == 2:
        return np.full((1, 2), 0.5, np.float32)
    stereo = np.full((2, n_inputs), 1 / n_inputs)
    if all(name in _STEREO_WEIGHTS for name in channels):
        placed = np.array([_STEREO_WEIGHTS[name] for name in channels]).T
        if placed.any(axis=1).all():
            stereo = placed / placed.sum(axis=1).max()
    return (stereo if n_channels == 2 else stereo.mean(axis=0, keepdims=True)).astype(np.float32)


class Mixer:
    """Mixes frames of any channel layout to one or two channels."""

    def __init__(self, n_channels: int) -> None:
        self._n_channels = n_channels
        self._weights = lru_cache(maxsize=8)(mix_weights)

    def mix(self, samples: Samples, frame: av.AudioFrame) -> Samples:
        """Mix `samples` [n_inputs, n_samples] of `frame` down or up to [n_channels, n_samples]."""
        weights = self._weights(tuple(channel.name for channel in frame.layout.channels), self._n_channels)
        return samples if weights is None else weights @ samples
