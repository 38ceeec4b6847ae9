"""What is done to a window's samples in training: filters, gain, noise, another recording on top, a mono microphone.

All filters of a window (a microphone's impulse response, a smooth tilt, a low-pass, the gain) are one product in the
frequency domain, the same for both channels, done on a stretch that begins `lead` samples early, so that what wraps
round is cut off. Pictures: `augment_frames`; what is done to whole batches: `mixing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ascstream.features.spectrum import keep_heap
from trainer.config import AugmentConfig
from trainer.data.audio import Mono
from trainer.data.store import Samples

Floats: TypeAlias = NDArray[np.float32]

_KNOT_HERTZ = 62.5
"""Lowest knot of a tilt; the others follow octave by octave."""
_LOWPASS_ORDER = 12
"""Steep, as a codec's."""
_LEAD = 0.125
"""Lead, as a part of the samples that are wanted; half a second at most."""
_LONGEST_LEAD_SECONDS = 0.5


def lead_samples(config: AugmentConfig, sample_rate: int, n_samples: int) -> int:
    """Samples before `n_samples` that filters want; together they make a length that is quickly transformed."""
    if not (config.response_probability or config.tilt_probability or config.lowpass_probability):
        return 0
    lead = min(int(_LEAD * n_samples), int(_LONGEST_LEAD_SECONDS * sample_rate))
    return quick_length(n_samples + lead) - n_samples


def quick_length(at_least: int) -> int:
    """The smallest length of factors 2, 3 and 5 alone, which a Fourier transform takes least time for, and even."""
    length = at_least + at_least % 2
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 2


class SampleAugmenter:
    """Filters, gain and noise for stretches of one length; several threads may use it."""

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
        keep_heap()  # or every spectrum's memory goes back to the system, and comes anew, page by page
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
        self._pink = (1 / np.sqrt(np.maximum(self._frequencies, 20.0))).astype(np.float32)

    def __call__(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """One window: [n_channels, n_samples] to a new [n_channels, n_samples − lead]."""
        config = self._config
        level = np.float32(10 ** (rng.uniform(-config.gain_db, config.gain_db) / 20))
        response = self._response(rng)
        noisy = rng.random() < config.noise_probability
        if response is None and not noisy:
            out = samples[:, self._lead :] * level
        else:
            spectra = np.fft.rfft(samples).astype(np.complex64, copy=False)
            spectra *= level if response is None else response * level
            if noisy:
                spectra += self._noise(spectra, rng)
            out = np.fft.irfft(spectra, self._n_samples)[:, self._lead :].astype(np.float32)
        if len(out) > 1 and rng.random() < config.mono_probability:
            out[:] = out.mean(axis=0, keepdims=True)
        return out

    def _response(self, rng: np.random.Generator) -> NDArray[np.complex64] | Floats | None:
        """A random frequency response [n_bins]; None: flat."""
        config = self._config
        response: NDArray[np.complex64] | Floats | None = None
        if rng.random() < config.tilt_probability:
            knots = rng.normal(0.0, config.tilt_db, self._n_knots).astype(np.float32)
            response = np.exp((knots - knots.mean()) * np.float32(np.log(10) / 20) @ self._tilts)
        if rng.random() < config.lowpass_probability:
            cut = np.exp(rng.uniform(np.log(min(config.lowpass_hertz, self._nyquist)), np.log(self._nyquist)))
            # a power of 24 of single precision overflows where a low cut meets a high rate; infinity is right there
            with np.errstate(over="ignore"):
                lowpass = 1 / np.sqrt(1 + (self._frequencies / np.float32(cut)) ** (2 * _LOWPASS_ORDER))
            response = lowpass if response is None else response * lowpass
        if self._responses and rng.random() < config.response_probability:
            microphone = self._responses[rng.integers(len(self._responses))]
            response = microphone if response is None else response * microphone
        return response

    def _noise(self, spectra: NDArray[np.complex64], rng: np.random.Generator) -> NDArray[np.complex64]:
        """White or pink noise, another in each channel, at a random distance below the signal."""
        shape = (len(spectra), self._frequencies.size, 2)
        noise: NDArray[np.complex64] = rng.standard_normal(shape, np.float32).view(np.complex64)[..., 0]
        if rng.random() < 0.5:
            noise *= self._pink
        snr = 10 ** ((self._config.noise_snr_db + rng.uniform(0.0, 40.0)) / 10)
        power = _power(spectra) / _power(noise) / snr
        noise *= np.float32(np.sqrt(power))
        return noise


def mix_in(samples: Samples, other: Samples, rng: np.random.Generator) -> Samples:
    """[n_channels, n] twice to the same: `other` on top of `samples`, 0 to 10 dB below its level."""
    level, other_level = (float(np.sqrt(np.mean(np.square(part)) + 1e-12)) for part in (samples, other))
    return samples + other * np.float32(level / other_level * 10 ** (rng.uniform(-10.0, 0.0) / 20))


def _power(spectra: NDArray[np.complex64]) -> float:
    """Sum of squared magnitudes."""
    flat = np.ascontiguousarray(spectra).view(np.float32).reshape(-1)
    return float(np.dot(flat, flat))
