"""The records that flow through the runtime: blocks and frames in, windows in between, predictions out.

All of them are frozen; the arrays in them are never modified once passed on.
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
    """A run of samples. A stream's blocks follow each other without gaps: samples that never came are a lost block."""

    start: float
    """Time of the first sample: seconds since the stream began."""
    samples: Samples
    """[n_channels, n_samples], finite; zeros where `lost`."""
    sample_rate: int
    """Sample rate in Hz."""
    lost: bool = False
    """Whether these samples never came and zeros stand in for them."""

    @property
    def n_samples(self) -> int:
        """Number of samples per channel."""
        return int(self.samples.shape[1])

    @property
    def end(self) -> float:
        """Time just after the last sample, in seconds."""
        return self.start + self.n_samples / self.sample_rate


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One picture, already scaled to the bundle's size."""

    time: float
    """Timestamp: seconds since the stream began."""
    image: Image
    """[height, width, 3] RGB."""
    until: float
    """The source guarantees that the next frame is not stamped before this; equals `time` if it cannot know."""
    index: int
    """Counts the frames that the source passed on; the key under which the frame's embedding is cached."""


@dataclass(frozen=True, slots=True)
class EndOfVideo:
    """No more frames will come, though samples still may."""

    time: float
    """Time at which the picture ended: seconds since the stream began."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """Something other than a prediction that a user should know: a timestamp jump, a packet that cannot be decoded."""

    time: float
    """Seconds since the stream began."""
    kind: str
    """One word: "jump", "corrupt", "overlap", "mono_source", "tail_dropped", "engine_fallback" …"""
    message: str
    """A sentence for the user."""
    seconds: float = 0.0
    """How much time it affects."""


@dataclass(frozen=True, slots=True)
class VideoProgress:
    """No new frame will be stamped before this time: windows need not wait for one. Live streams only."""

    time: float
    """Seconds since the stream began."""


StreamItem: TypeAlias = AudioBlock | VideoFrame | VideoProgress | EndOfVideo | StreamEvent
"""Anything a source yields."""


@dataclass(frozen=True, slots=True)
class Window:
    """The stretch of sound and picture that one prediction covers."""

    index: int
    """Number of the window in its stream, from 0."""
    start: float
    """Seconds since the stream began."""
    end: float
    """Seconds since the stream began."""
    start_sample: int
    """Position of `samples[:, 0]` in the stream: the window's start minus the context; may be negative at first."""
    samples: Samples | None
    """[n_channels, context + window] at the bundle's rate; None without audio. The window's own copy."""
    frames: tuple[VideoFrame | None, ...]
    """One slot for each of the manifest's `frame_times_seconds`; None where no frame is recent enough."""
    lost_seconds: float = 0.0
    """Duration of the samples in the window itself (not its context) that never came."""
    padded_seconds: float = 0.0
    """Duration of zero padding after the stream's end."""


@dataclass(frozen=True, slots=True)
class WindowScores:
    """Calibrated scores of one window, before smoothing."""

    probabilities: NDArray[np.float64] | None
    """[n_labels]; None if the window could not be scored."""
    modalities: tuple[Literal["audio", "video"], ...]
    """The modalities the probabilities are based on."""
    degraded: bool
    """Whether one of the bundle's modalities is missing, or samples were lost or padded."""
    reason: str | None = None
    """Why not: "silence", "gap", "no_audio", "lens_covered", "no_video", "no_input", "invalid_scores"; else None."""
    by_output: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Calibrated probabilities of every head that was evaluated."""
    missing: Mapping[Literal["audio", "video"], str] = field(default_factory=dict)
    """Why each unused modality of the bundle was not used: "silence", "gap", "no_audio", "lens_covered", "no_video";
    "alone" if it could be used, but the bundle cannot answer by it alone."""
    fallback: str | None = None
    """A sentence on why ONNX Runtime computed them instead of TensorRT; None if no fallback happened."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one window."""

    source: str
    """Path, URL or device of the stream, credentials removed."""
    start: float
    """Window's start: seconds since the stream began."""
    end: float
    """Window's end: seconds since the stream began."""
    label: str
    """A scene, a group, or "unknown"."""
    level: Level
    """What `label` is."""
    reason: str | None
    """Why the answer is "unknown" ("low_confidence", "silence", …); None otherwise."""
    score: float
    """Probability of `label` after smoothing; that of the best scene if unknown."""
    scores: Mapping[str, float]
    """Probability of every scene after smoothing."""
    raw_scores: Mapping[str, float]
    """Calibrated probability of every scene from this window alone; empty if it could not be scored."""
    modalities: tuple[Literal["audio", "video"], ...]
    """The modalities this window's scores are based on."""
    degraded: bool
    """Whether a modality was missing, or samples were lost or padded."""
    lost_seconds: float
    """Duration of the window's samples that never came."""
    padded_seconds: float
    """Duration of zero padding after the stream's end."""
    latency_seconds: float
    """Time from the window's completion to this prediction."""
    step_seconds: float
    """Time since the previous prediction's end (the window's length for the first): the time this answer adds."""
    time: str | None = None
    """UTC time of `end`, ISO 8601; live streams only."""
    lost: Mapping[str, float] = field(default_factory=dict)
    """For each device that is not delivering, for how many seconds it has been lost; live streams only."""
    by_output: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Each head's ("audio", "video", "fused") calibrated probability of every scene, from this window alone."""
    missing: Mapping[Literal["audio", "video"], str] = field(default_factory=dict)
    """Why each unused modality of the bundle was not used, see `WindowScores.missing`."""
    never_learnt: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Scenes that a head in `by_output` has not learnt, which makes its probabilities of them mere priors."""
    fallback: str | None = None
    """A sentence on why ONNX Runtime computed the scores instead of TensorRT; None if no fallback happened."""
