"""Turns a device's sound into the blocks of a stream: at the bundle's rate, without holes, every sample counted.

While a device delivers without a break, its samples are counted and never moved: the timeline follows them. A break
(an overflow, a new sample rate, a device that was away) ends a stretch; the next stretch is anchored at its timestamp.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ascstream.capture.messages import Sound
from ascstream.errors import DecodeError
from ascstream.live.timeline import Timeline
from ascstream.records import AudioBlock, Samples, StreamEvent
from ascstream.sources.base import AudioWants

if TYPE_CHECKING:
    from ascstream.sources.resampling import Resampler

LATE_SECONDS = 0.5
"""Sound that is later than this is replaced by lost blocks, and dropped if it arrives after all."""
PACE_SECONDS = 0.05
"""Length of the shortest lost block, which stands for sound that did not arrive."""
_GAP_SECONDS = 0.05
"""Timestamps that stay this far ahead of the sample count show that samples are missing."""
_FLAGGED_GAP_SECONDS = 0.01
"""The same threshold if the device itself reported missing samples."""
_STAY_SECONDS, _STAY_CHUNKS = 1.0, 10
"""For how long, and over how many chunks, timestamps have to stay ahead: a single late one is no gap."""
_LARGEST_BLOCK_SECONDS = 1
"""Longer gaps are emitted in pieces, so that memory stays bounded."""


class LiveSound:
    """Consecutive blocks from stream second 0 on, whatever arrives."""

    def __init__(self, wants: AudioWants, timeline: Timeline) -> None:
        """Deliver what `wants` asks for; `timeline` observes every timestamp."""
        self._wants = wants
        self._rate = wants.sample_rate
        self.timeline = timeline
        self._stretch: _Stretch | None = None
        self._mono_told = False
        self._next = 0
        self.n_lost = 0
        """Number of samples, at the bundle's rate, that never arrived or arrived too late."""
        self.n_delivered = 0
        """Number of samples, at the bundle's rate, that arrived in time."""

    @property
    def seconds(self) -> float:
        """How far the blocks have come, in stream seconds."""
        return self._next / self._rate

    def add(self, sound: Sound, now: float) -> Iterator[AudioBlock | StreamEvent]:
        """Process a chunk from the device; sound that is too late yields nothing.

        Raises:
            DecodeError: The sound is mono, and the bundle refuses that.
        """
        yield from self._check_channels(len(sound.samples))
        stamp = min(sound.stamp, now)
        at = self.timeline.to_stream(stamp)
        stretch = self._stretch
        if stretch is None:
            stretch = yield from self._anchor(sound, at)
        elif not stretch.fits(sound):
            yield from self.end_stretch()
            stretch = yield from self._anchor(sound, self.seconds if abs(at - self.seconds) <= _GAP_SECONDS else at)
        else:
            gap = stretch.find_gap(sound, at, replaced=stretch.seconds < self.seconds - 1 / self._rate)
            if gap > 0:
                anchor = stretch.seconds + gap
                if sound.lost:
                    yield StreamEvent(self.seconds, "overflow", "the machine was too slow for the sound", gap)
                else:
                    yield StreamEvent(self.seconds, "gap", "samples are missing in the sound", gap)
                yield from self.end_stretch()
                stretch = yield from self._anchor(sound, anchor)
        self.timeline.observe(stamp, stretch.seconds, now)
        yield from self._hand_on(stretch.position, stretch.push(self._mix(sound.samples)))

    def in_time(self) -> bool:
        """Whether the newest sound, or at least its end, arrived in time."""
        return self._stretch is not None and self._stretch.seconds >= self.seconds - 1 / self._rate

    def end_stretch(self) -> Iterator[AudioBlock]:
        """End the stretch because the device was lost: what comes next does not continue it."""
        stretch, self._stretch = self._stretch, None
        if stretch is not None:
            yield from self._hand_on(stretch.position, stretch.finish())

    def keep_pace(self, now: float, late_seconds: float) -> Iterator[AudioBlock]:
        """Yield lost blocks, up to `late_seconds` before now, for sound that did not arrive."""
        due = int(self.timeline.to_stream(now - late_seconds) * self._rate)
        if due - self._next >= PACE_SECONDS * self._rate:
            yield from self._lose_until(due)

    def pace_moment(self, late_seconds: float) -> float:
        """Moment at which `keep_pace` has to be called next if nothing arrives."""
        return self.timeline.to_moment(self.seconds + PACE_SECONDS) + late_seconds + 1e-3

    def _anchor(self, sound: Sound, seconds: float) -> Generator[AudioBlock, None, _Stretch]:
        """Begin a stretch at a stream second; the samples before it are lost."""
        position = round(seconds * self._rate)
        stretch = self._stretch = _Stretch(position, sound.sample_rate, len(sound.samples), self._wants)
        yield from self._lose_until(position)
        return stretch

    def _lose_until(self, position: int) -> Iterator[AudioBlock]:
        while self._next < position:
            n_samples = min(position - self._next, _LARGEST_BLOCK_SECONDS * self._rate)
            zeros = np.zeros((self._wants.n_channels, n_samples), np.float32)
            yield AudioBlock(self.seconds, zeros, self._rate, lost=True)
            self._next += n_samples
            self.n_lost += n_samples

    def _hand_on(self, position: int, samples: Samples) -> Iterator[AudioBlock]:
        """Yield samples that begin at `position`, except those already replaced by lost blocks."""
        kept = samples[:, max(self._next - position, 0) :]
        n_samples = kept.shape[1]
        if n_samples:
            yield AudioBlock(self.seconds, np.ascontiguousarray(kept), self._rate)
            self._next += n_samples
            self.n_delivered += n_samples

    def _mix(self, samples: Samples) -> Samples:
        """Mix [device's n_channels, n] to the bundle's channels: copy mono; average several, or take the first two."""
        if len(samples) == self._wants.n_channels:
            return samples
        if self._wants.n_channels == 1:
            mean: Samples = samples.mean(axis=0, keepdims=True, dtype=np.float32)
            return mean
        return np.repeat(samples, 2, axis=0) if len(samples) == 1 else samples[:2]

    def _check_channels(self, n_channels: int) -> Iterator[StreamEvent]:
        if n_channels > 1 or self._wants.n_channels == 1 or self._mono_told:
            return
        if self._wants.refuse_mono:
            raise DecodeError(
                "the sound is mono, and the bundle listens to left and right; give a microphone that has two channels"
            )
        self._mono_told = True
        yield StreamEvent(self.seconds, "mono_source", "the sound is mono: left and right are the same")


class _Stretch:
    """A run of sound without a break: where it began, and how much has arrived since."""

    def __init__(self, position: int, sample_rate: int, n_channels: int, wants: AudioWants) -> None:
        from ascstream.sources.resampling import Resampler

        self._start = position / wants.sample_rate
        self._rate = sample_rate
        self._n_channels = n_channels
        self._n_samples = 0
        self._resampler: Resampler = Resampler(sample_rate, wants.sample_rate, wants.n_channels)
        self._ahead: list[tuple[float, float]] = []
        """Stream seconds of timestamps ahead of the count, and by how much, since one last was not."""
        self.position = position
        """Where the next output sample belongs, counted in samples at the bundle's rate."""

    @property
    def seconds(self) -> float:
        """Where the next input sample belongs by the sample count, in stream seconds."""
        return self._start + self._n_samples / self._rate

    def fits(self, sound: Sound) -> bool:
        """Whether the sound has the stretch's sample rate and number of channels."""
        return sound.sample_rate == self._rate and len(sound.samples) == self._n_channels

    def find_gap(self, sound: Sound, at: float, *, replaced: bool) -> float:
        """Return how many seconds are missing before `sound`; 0 if it follows on.

        Args:
            sound: The chunk that arrived.
            at: Stream second of its timestamp.
            replaced: Whether lost blocks already fill the place it would have by the count.
        """
        ahead = at - self.seconds
        if ahead <= (_FLAGGED_GAP_SECONDS if sound.lost else _GAP_SECONDS):
            self._ahead.clear()
            return 0.0
        if sound.lost or replaced:
            return ahead
        self._ahead.append((at, ahead))
        if len(self._ahead) < _STAY_CHUNKS or at - self._ahead[0][0] < _STAY_SECONDS:
            return 0.0
        return min(ahead for _, ahead in self._ahead)

    def push(self, samples: Samples) -> Samples:
        """Take mixed samples and return resampled ones; advances `position`."""
        self._n_samples += samples.shape[1]
        return self._count(self._resampler.push(samples))

    def finish(self) -> Samples:
        """Return the resampler's remaining samples."""
        return self._count(self._resampler.finish())

    def _count(self, samples: Samples) -> Samples:
        self.position += samples.shape[1]
        return samples
