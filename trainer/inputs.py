"""What a network takes of a window: features, samples, frames; each as the manifest describes it."""

from __future__ import annotations

from dataclasses import dataclass

from engines.manifest import AudioInput, VideoInput

FEATURES, WAVEFORM, FRAMES, PRESENCE = "features", "waveform", "frames", "presence"
"""Names of inputs, in batches as in graphs; `embeddings` stands for `frames` where a graph of its own encodes them."""
EMBEDDINGS = "embeddings"


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of one network; at least one is there."""

    audio: AudioInput | None = None
    """Features made of the samples."""
    waveform: AudioInput | None = None
    """The samples themselves; at the rate of `audio` where both are there."""
    video: VideoInput | None = None
    """Frames."""

    @property
    def sound(self) -> AudioInput | None:
        """The input that says at which rate and in how many channels samples are wanted; None: none are."""
        both = [entry for entry in (self.audio, self.waveform) if entry is not None]
        return max(both, key=lambda entry: (entry.n_source_channels, entry.context_seconds), default=None)

    @property
    def sample_rate(self) -> int:
        """In Hz; 0 where no samples are wanted."""
        return 0 if self.sound is None else self.sound.sample_rate

    @property
    def n_source_channels(self) -> int:
        """Channels a source delivers: 1 or 2; 0 where no samples are wanted."""
        return 0 if self.sound is None else self.sound.n_source_channels

    @property
    def context_seconds(self) -> float:
        """The longest context before a window."""
        return max((entry.context_seconds for entry in (self.audio, self.waveform) if entry is not None), default=0.0)

    def n_samples(self, seconds: float) -> int:
        """Samples of a window of `seconds`, the context before it included."""
        return round((seconds + self.context_seconds) * self.sample_rate)
