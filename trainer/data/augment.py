"""Augmentation of a window's samples: filters, gain, noise, another recording mixed in, a simulated mono microphone.

All filters of a window (a microphone's impulse response, a smooth tilt, a low-pass, the gain) form one product in the
frequency domain, the same for both channels. It is applied to a segment that starts `lead` samples early, so that
circular wrap-around can be cut off. For pictures see `augment_frames`, for whole batches `mixing`.
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
"""Frequency of a tilt's lowest knot; the others follow octave by octave."""
_LOWPASS_ORDER = 12
"""Butterworth order: steep, like a codec's low-pass."""
_LEAD = 0.125
"""Lead as a fraction of the wanted samples; half a second at most."""
_LONGEST_LEAD_SECONDS = 0.5


def lead_samples(config: AugmentConfig, sample_rate: int, n_samples: int) -> int:
    """Number of samples the filters need before `n_samples`, chosen so that the total length has a fast transform."""
    if not (config.response_probability or config.tilt_probability or config.lowpass_probability):
        return 0
    lead = min(int(_LEAD * n_samples), int(_LONGEST_LEAD_SECONDS * sample_rate))
    return quick_length(n_samples + lead) - n_samples


def quick_length(at_least: int) -> int:
    """The smallest even length ≥ `at_least` whose only prime factors are 2, 3 and 5: these transform fastest."""
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
    """Applies filters, gain and noise to segments of one length; safe to use from several threads."""

    def __init__(
        self, config: AugmentConfig, sample_rate: int, n_samples: int, lead: int, responses: Sequence[Mono]
    ) -> None:
        """Precompute the spectra.

        Args:
            config: Which augmentations, how often and how strong.
            sample_rate: In Hz.
            n_samples: Length of a segment, including `lead`.
            lead: Samples cut off at the start; impulse responses are truncated to this length.
            responses: Impulse responses of microphones; may be empty.
        """
        keep_heap()  # or each spectrum's memory is returned to the system and faulted in again, page by page
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
        """Augment one window: [n_channels, n_samples] to a new array [n_channels, n_samples − lead]."""
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
        """A random frequency response [n_bins]; None if it is flat."""
        config = self._config
        response: NDArray[np.complex64] | Floats | None = None
        if rng.random() < config.tilt_probability:
            knots = rng.normal(0.0, config.tilt_db, self._n_knots).astype(np.float32)
            response = np.exp((knots - knots.mean()) * np.float32(np.log(10) / 20) @ self._tilts)
        if rng.random() < config.lowpass_probability:
            cut = np.exp(rng.uniform(np.log(min(config.lowpass_hertz, self._nyquist)), np.log(self._nyquist)))
            # in float32 the 24th power overflows for a low cut-off at a high sample rate; infinity is right there
            with np.errstate(over="ignore"):
                lowpass = 1 / np.sqrt(1 + (self._frequencies / np.float32(cut)) ** (2 * _LOWPASS_ORDER))
            response = lowpass if response is None else response * lowpass
        if self._responses and rng.random() < config.response_probability:
            microphone = self._responses[rng.integers(len(self._responses))]
            response = microphone if response is None else response * microphone
        return response

    def _noise(self, spectra: NDArray[np.complex64], rng: np.random.Generator) -> NDArray[np.complex64]:
        """White or pink noise, independent in each channel, at a random signal-to-noise ratio."""
        shape = (len(spectra), self._frequencies.size, 2)
        noise: NDArray[np.complex64] = rng.standard_normal(shape, np.float32).view(np.complex64)[..., 0]
        if rng.random() < 0.5:
            noise *= self._pink
        snr = 10 ** ((self._config.noise_snr_db + rng.uniform(0.0, 40.0)) / 10)
        power = _power(spectra) / _power(noise) / snr
        noise *= np.float32(np.sqrt(power))
        return noise


def mix_in(samples: Samples, other: Samples, rng: np.random.Generator) -> Samples:
    """Mix `other` into `samples`, 0 to 10 dB below its level; both and the result are [n_channels, n]."""
    level, other_level = (float(np.sqrt(np.mean(np.square(part)) + 1e-12)) for part in (samples, other))
    return samples + other * np.float32(level / other_level * 10 ** (rng.uniform(-10.0, 0.0) / 20))


def _power(spectra: NDArray[np.complex64]) -> float:
    """Sum of squared magnitudes."""
    flat = np.ascontiguousarray(spectra).view(np.float32).reshape(-1)
    return float(np.dot(flat, flat))
