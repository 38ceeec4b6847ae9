"""Gammatone energies in dB: Slaney's filters as weights over the power spectrum of each hop.

The reference implementation runs a bank of biquads over the whole signal. Here each hop's power spectrum is weighted by
the squared magnitude response of the same filters: this is much faster and stateless, so a window's features do not
depend on where the stream was joined. It lacks the filters' memory, which matters in the lowest bands, whose filters
ring for longer than a hop.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ascstream.features.spectrum import Bands, BandWeights, cut_hops, keep_heap, power_spectrum
from ascstream.records import Samples
from engines.errors import ManifestError
from engines.manifest import GammatoneFeature, n_hops

_EAR_Q = 9.26449
_MIN_BANDWIDTH_HZ = 24.7
"""Equivalent rectangular bandwidth: f / 9.26449 + 24.7 Hz (Glasberg and Moore 1990)."""
_TAPER = 0.05
"""Fraction of a hop that is faded in, and out. Without a taper, a street's low frequencies leak into the highest bands:
20 dB off the biquads' levels at the 95th percentile. With it, 3 dB remain, from the lowest bands' missing memory; a
longer taper adds noise."""
_POWER_FLOOR = np.float32(1e-20)
"""−200 dB, for digital silence: 60 dB below one step of 24-bit samples. A floor meant for the network is set in the
manifest, relative to the window's maximum."""
_DB = np.float32(10 / math.log(10))


class Gammatone:
    """Computes one gammatone feature; immutable after construction."""

    def __init__(self, spec: GammatoneFeature, sample_rate: int) -> None:
        """Prepare the taper and the weights for samples at `sample_rate` Hz.

        Raises:
            ManifestError: The spec asks for computation by biquads.
        """
        if spec.form != "fft":
            raise ManifestError(
                f'feature.form: expected "fft", the one this version computes, got "{spec.form}"; '
                "a network trained on the other has to be trained again"
            )
        keep_heap()
        self.spec = spec
        self.hop_length = spec.hop_length
        self.span = spec.window_length
        self.lead = 0
        self.is_local = True
        self._n_fft = 1 << (spec.window_length - 1).bit_length()
        taper = _taper(spec.window_length)
        self._taper = taper.astype(np.float32)
        self._taper.flags.writeable = False
        frequencies = np.arange(self._n_fft // 2 + 1) * (sample_rate / self._n_fft)
        weights = power_response(centre_frequencies(spec), frequencies.astype(np.float64), sample_rate)
        # Parseval: mean square of the tapered hop divided by that of the taper; inner bins count twice
        weights[:, 1:-1] *= 2
        weights /= self._n_fft * np.square(taper).sum()
        self._weights = BandWeights(weights if spec.row_order == "high_to_low" else weights[::-1])

    def __call__(self, samples: Samples) -> Bands:
        """The feature of `samples` [n_channels, n_samples]: [n_channels, n_bands, n_hops] in the spec's row order."""
        return self.hops(samples)

    def hops(self, samples: Samples, lead: int = 0) -> Bands:
        """20·log10 of the root mean square of each band in each hop: [n_channels, n_bands, n_hops].

        Args:
            samples: [n_channels, lead + n_samples].
            lead: Samples at the front that no hop covers.

        Raises:
            ValueError: There are too few samples for one hop.
        """
        spec = self.spec
        count = n_hops(spec, samples.shape[1] - lead)
        if count < 1:
            raise ValueError(f"expected at least {spec.window_length} samples, got {samples.shape[1] - lead}")
        frames = cut_hops(samples, lead, spec.window_length, spec.hop_length, count)
        values = self._weights.sum(power_spectrum(frames * self._taper, self._n_fft))
        np.maximum(values, _POWER_FLOOR, out=values)
        np.log(values, out=values)
        values *= _DB
        return values

    def relate(self, values: Bands) -> Bands:
        """Return `values` unchanged: hops do not depend on each other."""
        return values


def centre_frequencies(spec: GammatoneFeature) -> NDArray[np.float64]:
    """Centre frequencies in Hz, equally spaced on the ERB-rate scale below f_max down to f_min: [n_bands], descending.

    Slaney, "An efficient implementation of the Patterson-Holdsworth auditory filter bank", Apple TR 35 (1993).
    """
    corner = _EAR_Q * _MIN_BANDWIDTH_HZ
    steps = np.arange(1, spec.n_bands + 1) / spec.n_bands
    return (spec.f_max + corner) * ((spec.f_min + corner) / (spec.f_max + corner)) ** steps - corner


def power_response(
    centres: NDArray[np.float64], frequencies: NDArray[np.float64], sample_rate: int
) -> NDArray[np.float64]:
    """|H|² of Slaney's cascade of four biquads, normalised to 1 at the centre: [n_centres, n_frequencies].

    All stages share their poles; stage k has one zero, at e^(−BT)·(cos φ + g_k·sin φ).
    """
    bandwidth = 1.019 * 2 * np.pi * (centres / _EAR_Q + _MIN_BANDWIDTH_HZ)
    decay = np.exp(-bandwidth / sample_rate)[:, None]
    phase = (2 * np.pi / sample_rate * centres)[:, None]

    def response(z_inverse: NDArray[np.complex128]) -> NDArray[np.float64]:
        poles = 1 - 2 * np.cos(phase) * decay * z_inverse + np.square(decay * z_inverse)
        out = np.ones(poles.shape)
        for root in (math.sqrt(3 + 2**1.5), math.sqrt(3 - 2**1.5)):
            for g in (root, -root):
                zero = 1 - decay * (np.cos(phase) + g * np.sin(phase)) * z_inverse
                out *= np.square(np.abs(zero / poles))
        return out

    at_centre = response(np.exp(-1j * phase))
    return response(np.exp(-2j * np.pi / sample_rate * frequencies)[None, :]) / at_centre


def _taper(length: int) -> NDArray[np.float64]:
    """Tukey window [length]: ones with half a cosine at each end."""
    n = max(1, round(_TAPER * length))
    taper = np.ones(length)
    taper[:n] = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)
    taper[-n:] = taper[:n][::-1]
    return taper
