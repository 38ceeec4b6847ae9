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
from engines.manifest import AudioInput, InputSpec, Thresholds, VideoInput, WindowSpec, input_shape
from trainer.data.store import ClipStore, Frames, Samples
from trainer.inputs import FEATURES, FRAMES, PRESENCE, WAVEFORM, Inputs

_TICKS = 1000
"""Positions a second where there is no sound to count in."""
_THRESHOLDS = Thresholds()


@dataclass(frozen=True, slots=True)
class Stretch:
    """One window's samples and frames, as they were decoded."""

    samples: Samples | None
    """[n_channels, lead + context + window]; None where no sound is wanted."""
    frames: Frames | None
    """[n_frames, height, width, 3]; None where no picture is wanted."""
    audio: bool
    """Whether there is anything to hear."""
    video: bool
    """Whether there is anything to see."""


class StretchReader:
    """Reads windows of clips; several threads may use it."""

    def __init__(self, store: ClipStore, inputs: Inputs, window: WindowSpec, lead: int = 0) -> None:
        """Take a store and what is wanted of it.

        Args:
            store: Decoded clips.
            inputs: What the network takes.
            window: How long a window is.
            lead: Samples to read before the context.
        """
        self._store = store
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
        frames, video = None, False
        if self._video is not None:
            frames, there = self._frames(clip, start / self.rate, self._video)
            video = there and not all(is_dark(frame, _THRESHOLDS.dark_luma) for frame in frames)
        audio = samples is not None and not is_silent(samples[:, self._before :], _THRESHOLDS.silence_dbfs)
        return Stretch(samples, frames, audio, video)

    def samples(self, clip: int, start: int) -> Samples:
        """Sound alone of the window that begins at a position."""
        return self._store.samples(clip, start - self._before, self._before + self._n_window)

    def _frames(self, clip: int, start: float, video: VideoInput) -> tuple[Frames, bool]:
        """Frames of a window, an empty slot taking the nearest one that is filled; and whether any is."""
        times = [start + time for time in video.frame_times_seconds]
        frames, present = self._store.frames(clip, times, video.max_age_seconds)
        filled = np.flatnonzero(present)
        if 0 < filled.size < len(times):
            distances = np.abs(np.arange(len(times))[:, None] - filled)
            nearest = filled[distances.argmin(axis=1)]  # of two alike the earlier one
            frames = frames[nearest]
        return frames, filled.size > 0


class TensorMaker:
    """Makes what a network takes of stretches; several threads may use it."""

    def __init__(self, inputs: Inputs, window: WindowSpec, names: Sequence[str]) -> None:
        """Take the inputs, statistics filled in, and the names of those the network takes."""
        self._inputs = inputs
        self.names = tuple(names)
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
        return {name: np.zeros((n, *shape), np.float32) for name, shape in self._shapes.items()}

    def fill(self, tensors: dict[str, NDArray[np.float32]], item: int, stretch: Stretch) -> None:
        """Put one window into its place; where the network takes flags, an absent modality stays zero.

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
        if name == FRAMES:
            video = self._inputs.video
            if video is None:
                raise ValueError("expected a picture among the inputs, got none")
            return (len(video.frame_times_seconds), 3, video.height, video.width)
        return input_shape(InputSpec(name, audio=self._entry(name)), window)
