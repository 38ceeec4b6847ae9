"""Samples and frames become tensors, exactly as the manifest says; the trainer's data workers call the same functions.

`audio_tensor` and `image_tensor` are pure. `FrontEnd` gives the same values for the windows of a stream, and computes
only those hops that the window before did not hold. One file a feature: `ascstream/features/`.
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
    """One audio input of one window, all of it: channels, feature, normalisation, layout.

    Args:
        samples: [n_source_channels, n_samples] at `audio.sample_rate`, the input's context included. One channel
            where two are wanted is copied.
        audio: What the network wants.

    Returns:
        [n_channels, n_bands, n_hops] (or [n_channels, n_hops, n_mels], or [n_channels, n_samples]) float32, as
        `engines.manifest.input_shape` says.

    Raises:
        ValueError: `samples` is not [1 or 2, n_samples], or mono and the input refuses that.
        ManifestError: This version does not compute the feature: gammatone by biquads.
    """
    return _path_of(audio).tensor(samples)


class FrontEnd:
    """Audio features of the windows of one stream. Used by one thread at a time."""

    def __init__(self, manifest: Manifest) -> None:
        """Prepare every audio input of `manifest`.

        Raises:
            ManifestError: This version does not compute a feature it asks for: gammatone by biquads.
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
        """The tensors of one window, by input name, with a batch axis of 1 in front.

        Args:
            samples: [n_source_channels, context + window]; kept to be compared with the next window's, so never
                written to afterwards.
            start_sample: Position of `samples[:, 0]` in the stream. Windows may come in any order.

        Raises:
            ValueError: `samples` has another length or channel count.
        """
        if samples.ndim != 2 or samples.shape[1] != self._n_samples:
            raise ValueError(f"expected samples [n_channels, {self._n_samples}], got {list(samples.shape)}")
        return {name: part(samples[:, skip:], start_sample + skip)[None] for name, skip, part in self._inputs}

    @property
    def reuses_hops(self) -> bool:
        """Whether the last window took over hops from the one before it, in every spectrogram there is."""
        parts = [part for _, _, part in self._inputs if part.path.spectrogram is not None]
        return bool(parts) and all(part.n_reused > 0 for part in parts)

    def reset(self) -> None:
        """Forget the last window: another stream begins."""
        for _, _, part in self._inputs:
            part.reset()


class _AudioPath:
    """The constants of one audio input, and the way from samples to its tensor; nothing changes after construction."""

    def __init__(self, audio: AudioInput) -> None:
        self.audio = audio
        self.spectrogram = _spectrogram_of(audio)
        self._normalise = Normaliser(audio.normalisation)
        self._swap = isinstance(audio.feature, LogMelFeature) and audio.feature.layout == "time_mel"

    def tensor(self, samples: Samples) -> NDArray[np.float32]:
        """Samples [n_source_channels, n_samples] to the input's tensor, computed whole."""
        arranged = self.arrange(samples)
        return self.finish(arranged if self.spectrogram is None else self.spectrogram.hops(arranged))

    def arrange(self, samples: Samples) -> Samples:
        """Source channels to the input's: mono, or left and right, or those and their difference."""
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
        """All hops (or the arranged samples) to the tensor; `values` stays as it is."""
        if self.spectrogram is not None:
            values = self.spectrogram.relate(values)
        values = self._normalise(values)
        return np.ascontiguousarray(values.swapaxes(1, 2) if self._swap else values)


class _Incremental:
    """One audio input along a stream: keeps the last window's hops, before anything that relates them to each other."""

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
        """Every hop of the window: taken over where the last window held it, computed where it did not."""
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

        With pre-emphasis the first hop of a window depends on the cut: it is neither taken over nor given.
        """
        if self._samples is None or self._values is None or samples.shape != self._samples.shape:
            return 0, 0, 0
        shift, phase = divmod(start - self._start, spectrogram.hop_length)
        n = self._values.shape[2]
        first = max(0, -shift) + spectrogram.lead
        stop = min(n, n - shift)
        if phase or first >= stop:
            return 0, 0, 0
        # that positions are equal is the caller's word; that samples are, is seen here: padding and streams may differ
        low = first * spectrogram.hop_length - spectrogram.lead
        high = (stop - 1) * spectrogram.hop_length + spectrogram.span
        moved = shift * spectrogram.hop_length
        if not np.array_equal(samples[:, low:high], self._samples[:, low + moved : high + moved]):
            return 0, 0, 0
        return first, stop, shift

    def _compute(self, spectrogram: Spectrogram, samples: Samples, first: int, stop: int | None) -> Bands:
        """Hops [first, stop) of the window, or all from `first`."""
        low = first * spectrogram.hop_length
        lead = min(low, spectrogram.lead)
        high = None if stop is None else (stop - 1) * spectrogram.hop_length + spectrogram.span
        return spectrogram.hops(self.path.arrange(samples[:, low - lead : high]), lead)


@lru_cache(maxsize=64)
def _path_of(audio: AudioInput) -> _AudioPath:
    """One path an input description, shared by every caller."""
    return _AudioPath(audio)


def _spectrogram_of(audio: AudioInput) -> Spectrogram | None:
    """The feature's extractor; None for a waveform."""
    if isinstance(audio.feature, WaveformFeature):
        return None
    if isinstance(audio.feature, LogMelFeature):
        return LogMel(audio.feature, audio.sample_rate)
    return Gammatone(audio.feature, audio.sample_rate)
