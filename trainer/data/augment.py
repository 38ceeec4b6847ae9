"""What is done to windows in training: filters, gain and noise on samples; masks, MixStyle and mixup on features.

All filters of a window (a microphone's impulse response, a smooth tilt, a low-pass, the gain) are one product in the
frequency domain, done on a stretch that begins `lead` samples early, so that what wraps round is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainer.config import AugmentConfig
from trainer.data.audio import Mono

Floats: TypeAlias = NDArray[np.float32]

_KNOT_HERTZ = 62.5
"""Lowest knot of a tilt; the others follow octave by octave."""
_LOWPASS_ORDER = 12
"""Steep, as a codec's."""
_STYLE_ALPHA = 0.3
"""Beta(α, α) of MixStyle (Schmid et al., DCASE 2023)."""


class SampleAugmenter:
    """Filters, gain and noise for stretches of one length."""

    def __init__(
        self, config: AugmentConfig, sample_rate: int, n_samples: int, lead: int, responses: Sequence[Mono]
    ) -> None:
        """Prepare the spectra.

        Args:
            config: What, how often, how strong.
            sample_rate: In Hz.
            n_samples: Length of a stretch, `lead` included.
            lead: Samples cut off at the front; a response is cut to as many.
            responses: Impulse responses; may be none.
        """
        self._config = config
        self._lead = lead
        self._n_samples = n_samples
        self._frequencies = np.fft.rfftfreq(n_samples, 1 / sample_rate).astype(np.float32)
        self._nyquist = sample_rate / 2
        self._responses = [np.fft.rfft(response[:lead], n_samples).astype(np.complex64) for response in responses]
        octaves = np.log2(np.maximum(self._frequencies, 1.0) / _KNOT_HERTZ)
        self._n_knots = int(np.ceil(np.log2(self._nyquist / _KNOT_HERTZ))) + 1
        eye = np.eye(self._n_knots)
        knots = np.arange(self._n_knots)
        self._tilts = np.stack([np.interp(octaves, knots, row) for row in eye]).astype(np.float32)
        self._pink = 1 / np.sqrt(np.maximum(self._frequencies, 20.0))

    def __call__(self, stretches: Floats, rng: np.random.Generator) -> Floats:
        """[n, n_samples] to [n, n_samples − lead], each treated by its own draw."""
        spectra = np.fft.rfft(stretches)
        for spectrum in spectra:
            spectrum *= self._gain(rng)
            if rng.random() < self._config.noise_probability:
                spectrum += self._noise(spectrum, rng)
        return np.fft.irfft(spectra, self._n_samples)[:, self._lead :].astype(np.float32)

    def _gain(self, rng: np.random.Generator) -> NDArray[np.complex64] | Floats:
        """A random frequency response."""
        config = self._config
        response: NDArray[np.complex64] | Floats
        level = 10 ** (rng.uniform(-config.gain_db, config.gain_db) / 20)
        response = np.full(self._frequencies.shape, level, np.float32)
        if rng.random() < config.tilt_probability:
            knots = rng.normal(0.0, config.tilt_db, self._n_knots).astype(np.float32)
            response = response * 10 ** ((knots - knots.mean()) @ self._tilts / 20)
        if rng.random() < config.lowpass_probability:
            cut = np.exp(rng.uniform(np.log(config.lowpass_hertz), np.log(self._nyquist)))
            response = response / np.sqrt(1 + (self._frequencies / cut) ** (2 * _LOWPASS_ORDER))
        if self._responses and rng.random() < config.response_probability:
            response = response * self._responses[rng.integers(len(self._responses))]
        return response

    def _noise(self, spectrum: NDArray[np.complex64], rng: np.random.Generator) -> NDArray[np.complex64]:
        """White or pink noise at a random distance below the signal."""
        parts = rng.standard_normal((2, self._frequencies.size), np.float32)
        noise = parts[0] + 1j * parts[1]
        if rng.random() < 0.5:
            noise *= self._pink
        snr = 10 ** ((self._config.noise_snr_db + rng.uniform(0.0, 40.0)) / 10)
        power = np.square(np.abs(spectrum)).sum() / np.square(np.abs(noise)).sum() / snr
        return np.asarray(noise * np.sqrt(power), np.complex64)


def mix_in(samples: Floats, other: Floats, rng: np.random.Generator) -> Floats:
    """[n] and [n] to [n]: `other` on top of `samples`, 0 to 10 dB below its level."""
    level, other_level = (float(np.sqrt(np.mean(np.square(part)) + 1e-12)) for part in (samples, other))
    return samples + other * np.float32(level / other_level * 10 ** (rng.uniform(-10.0, 0.0) / 20))


def mask(features: Floats, config: AugmentConfig, rng: np.random.Generator) -> None:
    """Two masks over bands and two over hops, in place (SpecAugment, Park et al. 2019); [n, 1, bands, hops]."""
    n, _, n_bands, n_hops = features.shape
    for longest, size, axis in ((config.band_mask, n_bands, 2), (config.hop_mask, n_hops, 3)):
        for _ in range(2):
            lengths = rng.integers(0, min(longest, size // 2) + 1, n)
            starts = rng.integers(0, size - lengths + 1)
            for item in range(n):
                part = slice(starts[item], starts[item] + lengths[item])
                features[(item, 0, part) if axis == 2 else (item, 0, slice(None), part)] = 0.0


def mix_styles(features: Floats, probability: float, rng: np.random.Generator) -> Floats:
    """Each band's mean and spread mixed with another window's (Freq-MixStyle); features: [n, 1, bands, hops]."""
    n = features.shape[0]
    mean = features.mean(axis=3, keepdims=True)
    std = features.std(axis=3, keepdims=True) + 1e-5
    partner = rng.permutation(n)
    share = np.where(rng.random(n) < probability, rng.beta(_STYLE_ALPHA, _STYLE_ALPHA, n), 1.0).astype(np.float32)
    share = share[:, None, None, None]
    new_mean = share * mean + (1 - share) * mean[partner]
    new_std = share * std + (1 - share) * std[partner]
    return np.asarray((features - mean) / std * new_std + new_mean, np.float32)


def mix_up(features: Floats, targets: Floats, alpha: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Windows and their targets mixed in pairs (Zhang et al. 2018); targets: [n, n_labels]."""
    if alpha <= 0:
        return features, targets
    n = features.shape[0]
    share = rng.beta(alpha, alpha, n)
    share = np.maximum(share, 1 - share).astype(np.float32)
    partner = rng.permutation(n)
    wide = share[:, None, None, None]
    return (
        wide * features + (1 - wide) * features[partner],
        share[:, None] * targets + (1 - share[:, None]) * targets[partner],
    )
