"""Turns samples and frames into tensors, exactly as the manifest says; the trainer's data workers call it too.

`audio_tensor` and `image_tensor` are pure functions. `FrontEnd` gives the same values for the windows of a stream, but
computes only the hops that the previous window did not contain. Each feature has its file in `ascstream/features/`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ascstream.features.gammatone import Gammatone
from ascstream.features.image import image_tensor
from ascstream.features.logmel import LogMel
from ascstream.features.normalise import Normaliser
from ascstream.features.spectrum import Bands, Spectrogram
from ascstream.features.usable import is_dark, is_silent
from ascstream.records import Samples
from engines.manifest import AudioInput, LogMelFeature, Manifest, WaveformFeature, seconds_to_samples

__all__ = ["FrontEnd", "Gammatone", "LogMel", "audio_tensor", "image_tensor", "is_dark", "is_silent"]


def audio_tensor(samples: Samples, audio: AudioInput) -> NDArray[np.float32]:
    """One audio input of one window, from channel mix through feature and normalisation to layout.

    Args:
        samples: [n_source_channels, n_samples] at `audio.sample_rate`, including the input's context. If two channels
            are wanted and there is one, it is duplicated.
        audio: Specification of the input.

    Returns:
        [n_channels, n_bands, n_hops] (or [n_channels, n_hops, n_mels], or [n_channels, n_samples]) float32, as
        `engines.manifest.input_shape` says.

    Raises:
        ValueError: `samples` is not [1 or 2, n_samples], or is mono and the input refuses that.
        ManifestError: This version cannot compute the feature: gammatone by biquads.
    """
    return _path_of(audio).tensor(samples)


class FrontEnd:
    """Computes the audio features of a stream's windows, reusing overlapping hops. For one thread at a time."""

    def __init__(self, manifest: Manifest) -> None:
        """Prepare every audio input of `manifest`.

        Raises:
            ManifestError: This version cannot compute one of its features: gammatone by biquads.
        """
        self._inputs: list[tuple[str, int, _Incremental]] = []
        self._n_samples = 0
        rate = manifest.sample_rate
        if rate is not None:
            context = seconds_to_samples(manifest.context_seconds, rate)
            self._n_samples = context + seconds_to_samples(manifest.window.seconds, rate)
            for name, audio in manifest.audio_inputs:
                skipped = context - seconds_to_samples(audio.context_seconds, rate)
                self._inputs.append((name, skipped, _Incremental(_path_of(audio))))

    def __call__(self, samples: Samples, start_sample: int) -> dict[str, NDArray[np.float32]]:
        """The tensors of one window by input name, each with a leading batch axis of 1.

        Args:
            samples: [n_source_channels, context + window]; kept for comparison with the next window's, so it must not
                be modified afterwards.
            start_sample: Position of `samples[:, 0]` in the stream. Windows may come in any order.

        Raises:
            ValueError: `samples` has the wrong length or channel count.
        """
        if samples.ndim != 2 or samples.shape[1] != self._n_samples:
            raise ValueError(f"expected samples [n_channels, {self._n_samples}], got {list(samples.shape)}")
        return {name: part(samples[:, skip:], start_sample + skip)[None] for name, skip, part in self._inputs}

    @property
    def reuses_hops(self) -> bool:
        """Whether, in every spectrogram input, the last window reused hops of the one before it."""
        parts = [part for _, _, part in self._inputs if part.path.spectrogram is not None]
        return bool(parts) and all(part.n_reused > 0 for part in parts)

    def reset(self) -> None:
        """Forget the last window, before another stream begins."""
        for _, _, part in self._inputs:
            part.reset()


class _AudioPath:
    """The path from samples to one audio input's tensor, with its constants; immutable after construction."""

    def __init__(self, audio: AudioInput) -> None:
        self.audio = audio
        self.spectrogram = _spectrogram_of(audio)
        self._normalise = Normaliser(audio.normalisation)
        self._swap = isinstance(audio.feature, LogMelFeature) and audio.feature.layout == "time_mel"

    def tensor(self, samples: Samples) -> NDArray[np.float32]:
        """The input's tensor for samples [n_source_channels, n_samples], computed from scratch."""
        arranged = self.arrange(samples)
        return self.finish(arranged if self.spectrogram is None else self.spectrogram.hops(arranged))

    def arrange(self, samples: Samples) -> Samples:
        """Map source channels to the input's: mono, left and right, or left, right and their difference."""
        samples = np.asarray(samples, np.float32)
        if samples.ndim != 2 or samples.shape[0] not in (1, 2):
            raise ValueError(f"expected samples [1 or 2, n_samples], got {list(samples.shape)}")
        if self.audio.channels == "mono":
            return samples if samples.shape[0] == 1 else (samples[:1] + samples[1:]) * np.float32(0.5)
        if samples.shape[0] == 1:
            if self.audio.mono_source == "refuse":
                raise ValueError(f"expected two channels for {self.audio.channels}, got one")
            samples = np.concatenate((samples, samples))
        if self.audio.channels == "left,right":
            return samples
        return np.concatenate((samples, samples[:1] - samples[1:]))

    def finish(self, values: Bands) -> NDArray[np.float32]:
        """Turn all hops (or the arranged samples) into the tensor; `values` is not modified."""
        if self.spectrogram is not None:
            values = self.spectrogram.relate(values)
        values = self._normalise(values)
        return np.ascontiguousarray(values.swapaxes(1, 2) if self._swap else values)


class _Incremental:
    """One audio input over a stream: caches the last window's hops, as they are before `Spectrogram.relate`."""

    def __init__(self, path: _AudioPath) -> None:
        self.path = path
        self.reset()

    def reset(self) -> None:
        self._samples: Samples | None = None
        self._values: Bands | None = None
        self._start = 0
        self.n_reused = 0

    def __call__(self, samples: Samples, start: int) -> NDArray[np.float32]:
        spectrogram = self.path.spectrogram
        if spectrogram is None or not spectrogram.is_local:
            return self.path.tensor(samples)
        values = self._hops(spectrogram, samples, start)
        self._samples, self._values, self._start = samples, values, start
        return self.path.finish(values)

    def _hops(self, spectrogram: Spectrogram, samples: Samples, start: int) -> Bands:
        """Every hop of the window: reused if the last window contained it, computed if not."""
        first, stop, shift = self._overlap(spectrogram, samples, start)
        self.n_reused = stop - first
        if self._values is None or first >= stop:
            return self._compute(spectrogram, samples, 0, None)
        parts = [self._values[:, :, first + shift : stop + shift]]
        if first > 0:
            parts.insert(0, self._compute(spectrogram, samples, 0, first))
        if stop < self._values.shape[2]:
            parts.append(self._compute(spectrogram, samples, stop, None))
        return np.concatenate(parts, axis=2)

    def _overlap(self, spectrogram: Spectrogram, samples: Samples, start: int) -> tuple[int, int, int]:
        """Hops [first, stop) of this window that were hops [first + shift, stop + shift) of the last one.

        With pre-emphasis a window's first hop depends on where the window was cut, so it is neither reused nor
        offered for reuse.
        """
        if self._samples is None or self._values is None or samples.shape != self._samples.shape:
            return 0, 0, 0
        shift, phase = divmod(start - self._start, spectrogram.hop_length)
        n = self._values.shape[2]
        first = max(0, -shift) + spectrogram.lead
        stop = min(n, n - shift)
        if phase or first >= stop:
            return 0, 0, 0
        # equal positions do not guarantee equal samples (padding, another stream), so compare the samples themselves
        low = first * spectrogram.hop_length - spectrogram.lead
        high = (stop - 1) * spectrogram.hop_length + spectrogram.span
        moved = shift * spectrogram.hop_length
        if not np.array_equal(samples[:, low:high], self._samples[:, low + moved : high + moved]):
            return 0, 0, 0
        return first, stop, shift

    def _compute(self, spectrogram: Spectrogram, samples: Samples, first: int, stop: int | None) -> Bands:
        """Compute hops [first, stop) of the window; `stop` None: all hops from `first` on."""
        low = first * spectrogram.hop_length
        lead = min(low, spectrogram.lead)
        high = None if stop is None else (stop - 1) * spectrogram.hop_length + spectrogram.span
        return spectrogram.hops(self.path.arrange(samples[:, low - lead : high]), lead)


@lru_cache(maxsize=64)
def _path_of(audio: AudioInput) -> _AudioPath:
    """The path of an input specification, cached and shared by all callers."""
    return _AudioPath(audio)


def _spectrogram_of(audio: AudioInput) -> Spectrogram | None:
    """The extractor of the input's feature; None for a waveform."""
    if isinstance(audio.feature, WaveformFeature):
        return None
    if isinstance(audio.feature, LogMelFeature):
        return LogMel(audio.feature, audio.sample_rate)
    return Gammatone(audio.feature, audio.sample_rate)
