"""What travels through the runtime: blocks and frames in, windows between, predictions out.

All of it is frozen; the arrays inside are never written to after they were handed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.float32]
"""[n_channels, n_samples] float32, −1…1."""

Image: TypeAlias = NDArray[np.uint8]
"""[height, width, 3] uint8, RGB."""

Level = Literal["scene", "group", "unknown"]
"""How specific an answer is."""


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """A stretch of samples. Blocks of one stream follow each other without a hole: what never came is a lost block."""

    start: float
    """Time of the first sample: seconds since the stream began."""
    samples: Samples
    """[n_channels, n_samples], finite; zeros where `lost`."""
    sample_rate: int
    """Rate in Hz."""
    lost: bool = False
    """Whether these samples never came and zeros stand in for them."""

    @property
    def n_samples(self) -> int:
        """Samples a channel."""
        return int(self.samples.shape[1])

    @property
    def end(self) -> float:
        """Time just after the last sample, in seconds."""
        return self.start + self.n_samples / self.sample_rate


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One picture, already at the size the bundle wants."""

    time: float
    """When it was shown: seconds since the stream began."""
    image: Image
    """[height, width, 3] RGB."""
    until: float
    """The source knows that no newer frame is stamped before this; equals `time` where it cannot know."""
    index: int
    """Counts the frames of a stream that were handed on: the key under which an embedding is kept."""


@dataclass(frozen=True, slots=True)
class EndOfVideo:
    """No frame will come any more, while samples may."""

    time: float
    """When the picture ended: seconds since the stream began."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """Something a user should know that is no prediction: a jump in the stamps, a packet that could not be decoded."""

    time: float
    """Seconds since the stream began."""
    kind: str
    """A word: "gap", "jump", "corrupt", "ended_early", "mono_source", "tail_dropped" …"""
    message: str
    """A sentence for people."""
    seconds: float = 0.0
    """How much time it concerns."""


@dataclass(frozen=True, slots=True)
class VideoProgress:
    """Nothing newer was seen up to a moment: windows need not wait for pictures before it. Live streams only."""

    time: float
    """Seconds since the stream began."""


StreamItem: TypeAlias = AudioBlock | VideoFrame | VideoProgress | EndOfVideo | StreamEvent
"""What a source yields."""


@dataclass(frozen=True, slots=True)
class Window:
    """What one prediction is about."""

    index: int
    """Counts the windows of a stream, from 0."""
    start: float
    """Seconds since the stream began."""
    end: float
    """Seconds since the stream began."""
    start_sample: int
    """Position of `samples[:, 0]` in the stream: the window's start less the context; may be negative at the start."""
    samples: Samples | None
    """[n_channels, context + window] at the bundle's rate; None without audio. A copy, the window's own."""
    frames: tuple[VideoFrame | None, ...]
    """A slot each of the manifest's `frame_times_seconds`; None where no frame is young enough."""
    lost_seconds: float = 0.0
    """Samples of the window itself (not its context) that never came."""
    padded_seconds: float = 0.0
    """Zeros after the stream's end."""


@dataclass(frozen=True, slots=True)
class WindowScores:
    """What the networks say of one window, calibrated, before any smoothing."""

    probabilities: NDArray[np.float64] | None
    """[n_labels]; None where nothing usable was heard or seen."""
    modalities: tuple[Literal["audio", "video"], ...]
    """What the probabilities rest on."""
    degraded: bool
    """Whether a modality the bundle has is missing, or samples were lost or padded."""
    reason: str | None = None
    """Why there are none: "silence", "gap", "no_audio", "lens_covered", "no_video", "no_input", "invalid_scores"."""
    by_output: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Calibrated probabilities of every head that was asked."""
    fallback: str | None = None
    """Why ONNX Runtime gave them, in a sentence, where TensorRT should have; None otherwise."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one window."""

    source: str
    """Where the stream comes from, credentials removed."""
    start: float
    """Window's start: seconds since the stream began."""
    end: float
    """Window's end: seconds since the stream began."""
    label: str
    """A scene, a group, or "unknown"."""
    level: Level
    """What `label` is."""
    reason: str | None
    """Why it is unknown ("low_confidence", "silence", …); None otherwise."""
    score: float
    """Probability of `label` after smoothing; of the best scene where unknown."""
    scores: Mapping[str, float]
    """Probability of every scene after smoothing."""
    raw_scores: Mapping[str, float]
    """Probability of every scene by this window alone, calibrated; empty where nothing usable came."""
    modalities: tuple[Literal["audio", "video"], ...]
    """What this window's scores rest on."""
    degraded: bool
    """Whether something was missing."""
    lost_seconds: float
    """Samples of the window that never came."""
    padded_seconds: float
    """Zeros after the stream's end."""
    latency_seconds: float
    """Moment of emission less the moment the window was complete."""
    step_seconds: float
    """Time since the previous prediction's end; the window's length for the first. What this answer adds."""
    time: str | None = None
    """UTC time of `end`, ISO 8601; live streams only."""
    lost: Mapping[str, float] = field(default_factory=dict)
    """Seconds for which each device that does not deliver has been lost; live streams only."""
    by_output: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What each head said of this window alone, calibrated, scene by scene: "audio", "video", "fused"."""
    fallback: str | None = None
    """Why ONNX Runtime gave the scores, in a sentence, where TensorRT should have; None otherwise."""
