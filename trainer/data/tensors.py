"""Read windows from clips and convert them to the tensors a network takes, with the runtime's own functions.

A `Stretch` holds what a window is made of: its samples with the lead and context before them, its frames, and which
modalities are usable. Sound that the runtime would call silent and pictures it would call dark count as absent here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ascstream.frontend import audio_tensor, image_tensor, is_dark, is_silent
from engines.manifest import AudioInput, InputSpec, Thresholds, WindowSpec, input_shape
from trainer.data.embeddings import EmbeddingStore
from trainer.data.store import ClipStore, Frames, Samples
from trainer.inputs import EMBEDDINGS, FEATURES, FRAMES, PRESENCE, WAVEFORM, Inputs

_TICKS = 1000
"""Positions per second where there is no sound to count samples of."""
_THRESHOLDS = Thresholds()


@dataclass(frozen=True, slots=True)
class Stretch:
    """One window's samples and frames, as they were decoded."""

    samples: Samples | None
    """[n_channels, lead + context + window]; None if no sound is needed."""
    frames: Frames | None
    """[n_frames, height, width, 3]; None if no picture is needed, or embeddings replace it."""
    audio: bool
    """Whether the sound is usable: there and not silent."""
    video: bool
    """Whether the picture is usable: there and not dark."""
    embeddings: NDArray[np.float32] | None = None
    """[n_frames, embedding_size] of frames that were encoded in advance."""


class StretchReader:
    """Reads windows of clips; safe to use from several threads."""

    def __init__(
        self,
        store: ClipStore,
        inputs: Inputs,
        window: WindowSpec,
        lead: int = 0,
        encoded: EmbeddingStore | None = None,
    ) -> None:
        """Set up reading from a store.

        Args:
            store: Decoded clips.
            inputs: The network's inputs.
            window: Length of a window.
            lead: Number of samples to read before the context.
            encoded: Embeddings to use instead of frames.
        """
        self._store = store
        self._encoded = encoded
        self._video = inputs.video
        self._has_sound = inputs.sound is not None
        self.rate = inputs.sample_rate or _TICKS
        """Positions per second."""
        self._n_window = round(window.seconds * self.rate)
        self._before = inputs.n_samples(window.seconds) - self._n_window + lead if self._has_sound else 0
        self._pad = round(window.pad_seconds * self.rate)

    def last_start(self, clip: int) -> int:
        """The last position at which a whole window of a clip can start; 0 if the clip is shorter than a window."""
        return max(0, round(self._store.seconds(clip) * self.rate) - self._n_window)

    def starts(self, clip: int, step_seconds: float | None = None) -> list[int]:
        """Start positions of the windows a clip is evaluated on, from its start; at least one, padded if necessary.

        Args:
            clip: Index of the clip.
            step_seconds: Time between two windows; None: the window's length.
        """
        step = self._n_window if step_seconds is None else max(1, round(step_seconds * self.rate))
        return list(range(0, self.last_start(clip) + self._pad + 1, step))

    def read(self, clip: int, start: int) -> Stretch:
        """Read the window that starts at a position."""
        samples = self.samples(clip, start) if self._has_sound else None
        audio = samples is not None and not is_silent(samples[:, self._before :], _THRESHOLDS.silence_dbfs)
        if self._video is None:
            return Stretch(samples, None, audio, video=False)
        times = [start / self.rate + time for time in self._video.frame_times_seconds]
        if self._encoded is not None:
            embeddings, present, dark = self._encoded.take(clip, times, self._video.max_age_seconds)
            nearest = _nearest(present)
            video = bool(present.any()) and not dark[nearest].all()
            return Stretch(samples, None, audio, video, embeddings[nearest])
        frames, present = self._store.frames(clip, times, self._video.max_age_seconds)
        frames = frames[_nearest(present)]
        video = bool(present.any()) and not all(is_dark(frame, _THRESHOLDS.dark_luma) for frame in frames)
        return Stretch(samples, frames, audio, video)

    def samples(self, clip: int, start: int) -> Samples:
        """Read only the sound of the window that starts at a position."""
        return self._store.samples(clip, start - self._before, self._before + self._n_window)


class TensorMaker:
    """Converts stretches to the tensors a network takes; safe to use from several threads."""

    def __init__(
        self, inputs: Inputs, window: WindowSpec, names: Sequence[str], encoded: EmbeddingStore | None = None
    ) -> None:
        """Set up the tensors of a network.

        Args:
            inputs: The inputs, with their normalisation statistics.
            window: Length of a window.
            names: Names of the inputs that the network takes.
            encoded: The store of the stretches' embeddings; tensors then have `embeddings` instead of `frames`.
        """
        self._inputs = inputs
        self._encoded = encoded
        self.names = tuple(EMBEDDINGS if encoded is not None and name == FRAMES else name for name in names)
        self._has_presence = PRESENCE in self.names
        self._shapes = {name: self._shape(name, window) for name in self.names}
        self._contexts = {
            name: round(entry.context_seconds * entry.sample_rate)
            for name, entry in ((FEATURES, inputs.audio), (WAVEFORM, inputs.waveform))
            if entry is not None
        }
        self._n_window = round(window.seconds * inputs.sample_rate)

    def empty(self, n: int) -> dict[str, NDArray[np.float32]]:
        """Tensors for `n` windows, to be filled."""
        tensors = {name: np.zeros((n, *shape), np.float32) for name, shape in self._shapes.items()}
        if self._encoded is not None and EMBEDDINGS in tensors:
            tensors[EMBEDDINGS][:] = self._encoded.nothing
        return tensors

    def fill(self, tensors: dict[str, NDArray[np.float32]], item: int, stretch: Stretch) -> None:
        """Fill one window; if the network takes presence flags, an absent modality keeps the values set by `empty`.

        If no modality is usable, the runtime gives no answer; here the window is used as it is.
        """
        audio, video = stretch.audio, stretch.video
        if not self._has_presence or not (audio or video):
            audio = video = True
        for name in self.names:
            out = tensors[name][item]
            if name == PRESENCE:
                out[:] = audio, video
            elif name == FRAMES and video and stretch.frames is not None and self._inputs.video is not None:
                for slot, frame in enumerate(stretch.frames):
                    out[slot] = image_tensor(frame, self._inputs.video)
            elif name == EMBEDDINGS and video and stretch.embeddings is not None:
                out[:] = stretch.embeddings
            elif name in self._contexts and audio and stretch.samples is not None:
                length = self._contexts[name] + self._n_window
                out[:] = audio_tensor(stretch.samples[:, -length:], self._entry(name))

    def _entry(self, name: str) -> AudioInput:
        """The description of an input made from samples."""
        entry = self._inputs.audio if name == FEATURES else self._inputs.waveform
        if entry is None:
            raise ValueError(f"expected an input {name!r}, got none")
        return entry

    def _shape(self, name: str, window: WindowSpec) -> tuple[int, ...]:
        """Shape of one window's tensor."""
        if name == PRESENCE:
            return (2,)
        if name in (FRAMES, EMBEDDINGS):
            video = self._inputs.video
            if video is None:
                raise ValueError("expected a picture among the inputs, got none")
            if self._encoded is not None:
                return (len(video.frame_times_seconds), self._encoded.nothing.size)
            return (len(video.frame_times_seconds), 3, video.height, video.width)
        return input_shape(InputSpec(name, audio=self._entry(name)), window)


def _nearest(present: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each slot, the index of the nearest filled one, the earlier of two; its own index if none is filled."""
    slots, filled = np.arange(len(present)), np.flatnonzero(present)
    if filled.size == 0:
        return slots
    nearest: NDArray[np.int64] = filled[np.abs(slots[:, None] - filled).argmin(axis=1)]
    return nearest
