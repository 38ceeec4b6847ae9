"""Stretches of a clip, and the tensors a network takes of them: made by the runtime's own functions.

A stretch is what a window is made of: its samples with all that has to come before them, its frames, and which
modality is usable. Sound that the runtime would call silent and a picture it would call dark are absent here, too.
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
"""Positions a second where there is no sound to count in."""
_THRESHOLDS = Thresholds()


@dataclass(frozen=True, slots=True)
class Stretch:
    """One window's samples and frames, as they were decoded."""

    samples: Samples | None
    """[n_channels, lead + context + window]; None where no sound is wanted."""
    frames: Frames | None
    """[n_frames, height, width, 3]; None where no picture is wanted, or embeddings are in its place."""
    audio: bool
    """Whether there is anything to hear."""
    video: bool
    """Whether there is anything to see."""
    embeddings: NDArray[np.float32] | None = None
    """[n_frames, embedding_size] of frames that were encoded beforehand."""


class StretchReader:
    """Reads windows of clips; several threads may use it."""

    def __init__(
        self,
        store: ClipStore,
        inputs: Inputs,
        window: WindowSpec,
        lead: int = 0,
        encoded: EmbeddingStore | None = None,
    ) -> None:
        """Take a store and what is wanted of it.

        Args:
            store: Decoded clips.
            inputs: What the network takes.
            window: How long a window is.
            lead: Samples to read before the context.
            encoded: Embeddings to take in place of frames.
        """
        self._store = store
        self._encoded = encoded
        self._video = inputs.video
        self._has_sound = inputs.sound is not None
        self.rate = inputs.sample_rate or _TICKS
        """Positions a second."""
        self._n_window = round(window.seconds * self.rate)
        self._before = inputs.n_samples(window.seconds) - self._n_window + lead if self._has_sound else 0
        self._pad = round(window.pad_seconds * self.rate)

    def last_start(self, clip: int) -> int:
        """The last position a whole window of a clip begins at; 0 where the clip is shorter than one."""
        return max(0, round(self._store.seconds(clip) * self.rate) - self._n_window)

    def starts(self, clip: int, step_seconds: float | None = None) -> list[int]:
        """Positions of the windows a clip is judged by, from its start on; at least one, padded.

        Args:
            clip: Its number.
            step_seconds: Time between two windows; None: a window's length.
        """
        step = self._n_window if step_seconds is None else max(1, round(step_seconds * self.rate))
        return list(range(0, self.last_start(clip) + self._pad + 1, step))

    def read(self, clip: int, start: int) -> Stretch:
        """The window that begins at a position."""
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
        """Sound alone of the window that begins at a position."""
        return self._store.samples(clip, start - self._before, self._before + self._n_window)


class TensorMaker:
    """Makes what a network takes of stretches; several threads may use it."""

    def __init__(
        self, inputs: Inputs, window: WindowSpec, names: Sequence[str], encoded: EmbeddingStore | None = None
    ) -> None:
        """Take the inputs, statistics filled in, and the names of those the network takes.

        Args:
            inputs: What they are.
            window: How long a window is.
            names: Of those that are made.
            encoded: Where stretches have their embeddings from; tensors then have `embeddings` in place of `frames`.
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
        """Tensors of `n` windows, to be filled."""
        tensors = {name: np.zeros((n, *shape), np.float32) for name, shape in self._shapes.items()}
        if self._encoded is not None and EMBEDDINGS in tensors:
            tensors[EMBEDDINGS][:] = self._encoded.nothing
        return tensors

    def fill(self, tensors: dict[str, NDArray[np.float32]], item: int, stretch: Stretch) -> None:
        """Put one window into its place; where the network takes flags, an absent modality stays as `empty` has it.

        Where nothing at all is usable the runtime gives no answer; here the window is taken as it is.
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
        """The description of an input made of samples."""
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
    """For each slot the nearest one that is filled, of two alike the earlier one; itself where none is."""
    slots, filled = np.arange(len(present)), np.flatnonzero(present)
    if filled.size == 0:
        return slots
    nearest: NDArray[np.int64] = filled[np.abs(slots[:, None] - filled).argmin(axis=1)]
    return nearest
