"""The inputs a network takes from a window: features, samples or frames, each as the manifest describes it."""

from __future__ import annotations

from dataclasses import dataclass

from engines.manifest import AudioInput, VideoInput

FEATURES, WAVEFORM, FRAMES, PRESENCE = "features", "waveform", "frames", "presence"
"""Names of inputs, in batches and graphs; `embeddings` replaces `frames` where a separate graph encodes the frames."""
EMBEDDINGS = "embeddings"


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of one network; at least one is set."""

    audio: AudioInput | None = None
    """Features computed from the samples."""
    waveform: AudioInput | None = None
    """The raw samples; at the sample rate of `audio` if both are set."""
    video: VideoInput | None = None
    """Video frames."""

    @property
    def sound(self) -> AudioInput | None:
        """The input that determines sample rate and source channels; None if the network takes no sound."""
        both = [entry for entry in (self.audio, self.waveform) if entry is not None]
        return max(both, key=lambda entry: (entry.n_source_channels, entry.context_seconds), default=None)

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz; 0 if the network takes no sound."""
        return 0 if self.sound is None else self.sound.sample_rate

    @property
    def n_source_channels(self) -> int:
        """Channels a source has to deliver: 1 or 2; 0 if the network takes no sound."""
        return 0 if self.sound is None else self.sound.n_source_channels

    @property
    def context_seconds(self) -> float:
        """The longest context before a window."""
        return max((entry.context_seconds for entry in (self.audio, self.waveform) if entry is not None), default=0.0)

    def n_samples(self, seconds: float) -> int:
        """Number of samples in a window of `seconds`, including the context before it."""
        return round((seconds + self.context_seconds) * self.sample_rate)
