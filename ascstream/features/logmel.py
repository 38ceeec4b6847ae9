"""Log-mel spectrograms in numpy that match those of torchaudio and librosa value for value."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ascstream.features.spectrum import Bands, BandWeights, cut_hops, keep_heap, power_spectrum
from ascstream.records import Samples
from engines.manifest import LogMelFeature, n_hops


class LogMel:
    """Computes one log-mel feature; immutable after construction."""

    def __init__(self, spec: LogMelFeature, sample_rate: int) -> None:
        """Prepare the analysis window and the mel filter bank for samples at `sample_rate` Hz."""
        keep_heap()
        self.spec = spec
        self.hop_length = spec.hop_length
        self.span = spec.n_fft + spec.n_dropped
        self.lead = 1 if spec.preemphasis and not spec.n_dropped else 0
        self.is_local = not spec.center
        self._offset = (spec.n_fft - spec.window_length) // 2
        self._window = analysis_window(spec.window, spec.window_length, periodic=spec.periodic).astype(np.float32)
        self._window.flags.writeable = False
        bank = mel_filter_bank(spec, sample_rate)
        self._weights = BandWeights(bank if spec.row_order == "low_to_high" else bank[::-1])
        per_neper = {"natural": 1.0, "log10": 1 / math.log(10), "db": 10 / math.log(10) * (3 - spec.power)}
        self._log_scale = np.float32(per_neper[spec.log])

    def __call__(self, samples: Samples) -> Bands:
        """The feature of `samples` [n_channels, n_samples]: [n_channels, n_mels, n_hops] in the spec's row order."""
        return self.relate(self.hops(samples))

    def hops(self, samples: Samples, lead: int = 0) -> Bands:
        """Log-mel values of each hop independently, before `range_db` is applied: [n_channels, n_mels, n_hops].

        Args:
            samples: [n_channels, lead + n_samples].
            lead: Samples at the front that only pre-emphasis looks back to; no hop covers them.

        Raises:
            ValueError: There are too few samples for one hop.
        """
        spec = self.spec
        values = self.mel(samples, lead)
        floor = np.float32(spec.log_floor)
        if spec.log_floor_mode == "clamp":
            np.maximum(values, floor, out=values)
        else:
            values += floor
        np.log(values, out=values)
        if spec.log != "natural":
            values *= self._log_scale
        return values

    def mel(self, samples: Samples, lead: int = 0) -> Bands:
        """Power (or magnitude, if the spec says so) per mel band, before the logarithm; otherwise like `hops`."""
        spec = self.spec
        count = n_hops(spec, samples.shape[1] - lead)
        if count < 1:
            raise ValueError(f"expected at least {self.span} samples, got {samples.shape[1] - lead}")
        if spec.preemphasis:
            samples = _emphasise(samples, spec.preemphasis)
        samples = samples[:, lead + spec.n_dropped :]
        if spec.center:
            samples = _pad(samples, spec.n_fft // 2, spec.pad_mode)
        frames = cut_hops(samples, self._offset, spec.window_length, spec.hop_length, count)
        spectrum = power_spectrum(frames * self._window, spec.n_fft)
        if spec.power == 1:
            np.sqrt(spectrum, out=spectrum)
        return self._weights.sum(spectrum)

    def relate(self, values: Bands) -> Bands:
        """Express values in dB relative to the largest, clamped to `range_db` below it; unchanged if it is None."""
        if self.spec.range_db is None:
            return values
        out: Bands = values - values.max()
        return np.maximum(out, np.float32(-self.spec.range_db), out=out)


def analysis_window(
    name: Literal["hann", "hamming", "rectangular"], length: int, *, periodic: bool
) -> NDArray[np.float64]:
    """An analysis window [length]; a periodic one is the first `length` values of the symmetric one of length + 1."""
    if name == "rectangular":
        return np.ones(length)
    constant = 0.5 if name == "hann" else 0.54
    phase = 2 * np.pi * np.arange(length) / (length if periodic else length - 1)
    return constant - (1 - constant) * np.cos(phase)


def mel_filter_bank(spec: LogMelFeature, sample_rate: int) -> NDArray[np.float64]:
    """Triangular filters with equally spaced corners on the mel scale: [n_mels, n_fft // 2 + 1], lowest first."""
    edges = _to_mel(np.array([spec.f_min, spec.f_max]), spec.mel_scale)
    mels = np.linspace(edges[0], edges[1], spec.n_mels + 2)
    corners = _to_hertz(mels, spec.mel_scale)
    frequencies: NDArray[np.float64] = np.arange(spec.n_fft // 2 + 1) * np.float64(sample_rate / spec.n_fft)
    if spec.mel_scale == "kaldi":
        weights = _kaldi_triangles(edges, spec.n_mels, frequencies)
    else:
        weights = _triangles(corners, frequencies)
    if spec.mel_norm == "slaney":
        weights *= (2 / (corners[2:] - corners[:-2]))[:, None]
    return weights


def _triangles(corners: NDArray[Any], places: NDArray[Any]) -> NDArray[np.float64]:
    """Triangles [n, n_places] of height 1, each over three consecutive ones of n + 2 corners, linear in `places`."""
    distance = corners[:, None] - places
    widths = np.diff(corners)[:, None]
    weights: NDArray[Any] = np.maximum(0, np.minimum(-distance[:-2] / widths[:-1], distance[2:] / widths[1:]))
    return weights.astype(np.float64)


def _kaldi_triangles(edges: NDArray[np.float64], n_mels: int, frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kaldi's filters, in single precision like Kaldi's own: near a filter's edge, the difference shows in the log."""
    step = np.float32((edges[1] - edges[0]) / (n_mels + 1))
    corners = np.float32(edges[0]) + np.arange(n_mels + 2, dtype=np.float32) * step
    ratios = 1 + frequencies.astype(np.float32) / np.float32(700)
    logarithms = np.log(ratios.astype(np.float64)).astype(np.float32)  # rounded once: same on every machine
    places = np.float32(_KALDI_MEL) * logarithms
    return _triangles(corners, places)


_SLANEY_HZ_PER_MEL = 200 / 3
_SLANEY_BREAK_HZ = 1000.0
_SLANEY_LOG_STEP = math.log(6.4) / 27
"""Slaney's Auditory Toolbox: linear below 1 kHz, then 27 mel from 1 to 6.4 kHz."""


_MelScale = Literal["htk", "slaney", "kaldi"]
_KALDI_MEL = 1127.0
"""Kaldi's mel is 1127·ln(1 + f/700), which HTK's 2595·log10 rounds to."""


def _to_mel(hertz: NDArray[np.float64], scale: _MelScale) -> NDArray[np.float64]:
    """Frequencies in Hz to mel."""
    if scale == "kaldi":
        return _KALDI_MEL * np.log(1 + hertz / 700)
    if scale == "htk":
        return 2595 * np.log10(1 + hertz / 700)
    above = np.log(np.maximum(hertz, _SLANEY_BREAK_HZ) / _SLANEY_BREAK_HZ) / _SLANEY_LOG_STEP
    return np.minimum(hertz, _SLANEY_BREAK_HZ) / _SLANEY_HZ_PER_MEL + above


def _to_hertz(mel: NDArray[np.float64], scale: _MelScale) -> NDArray[np.float64]:
    """Mel to frequencies in Hz."""
    if scale == "kaldi":
        return 700 * (np.exp(mel / _KALDI_MEL) - 1)
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    break_mel = _SLANEY_BREAK_HZ / _SLANEY_HZ_PER_MEL
    above = np.exp(_SLANEY_LOG_STEP * np.maximum(mel - break_mel, 0))
    return np.minimum(mel, break_mel) * _SLANEY_HZ_PER_MEL * above


def _emphasise(samples: Samples, coefficient: float) -> Samples:
    """y[n] = x[n] − a·x[n−1], x before the first sample taken as 0."""
    out = samples.copy()
    out[:, 1:] -= np.float32(coefficient) * samples[:, :-1]
    return out


def _pad(samples: Samples, amount: int, mode: Literal["reflect", "constant"]) -> Samples:
    """Pad `samples` by `amount` on both sides: reflected about the end samples, or with zeros."""
    if mode == "constant":
        return np.pad(samples, ((0, 0), (amount, amount)))
    if samples.shape[1] <= amount:
        raise ValueError(f"expected more than {amount} samples to reflect, got {samples.shape[1]}")
    before, after = samples[:, amount:0:-1], samples[:, -2 : -amount - 2 : -1]
    return np.concatenate((before, samples, after), axis=1)
