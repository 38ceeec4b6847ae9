"""Blocks and frames in, windows out: where the samples of windows are counted.

What a device's samples are to a stream, `live/sound.py` counts; a file's, `sources/media.py`.

Window k covers [k·step, k·step + window). Its samples are cut at whole positions computed exactly (fractions, never
summed floats), so the same stream gives the same windows whatever the size of its blocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from ascstream.records import AudioBlock, EndOfVideo, Samples, VideoFrame, VideoProgress, Window
from engines.manifest import Manifest, seconds_to_samples

_STAMP_SECONDS = 1e-6
"""Slack when two times that were computed differently are compared."""
PATIENCE_SECONDS = 20.0
"""How much sound windows wait through for a late picture: twice what a file's tracks are expected to lie apart."""
LIVE_PATIENCE_SECONDS = 0.5
"""The same for a live stream: what a stalled camera delays an answer by, at most."""


class SampleRing:
    """The samples that windows still need, addressed by their position in the stream.

    Holds what lies between `discard_before` and the end; grows only as long as windows wait for a late picture.
    """

    def __init__(self, n_channels: int, capacity: int) -> None:
        """Make room for `capacity` samples of `n_channels` channels to begin with."""
        self._buffer = np.zeros((n_channels, max(1, capacity)), np.float32)
        self._base = 0
        self._low = 0
        self._end = 0
        self._lost: deque[tuple[int, int]] = deque()

    @property
    def n_channels(self) -> int:
        """Channels of the samples."""
        return int(self._buffer.shape[0])

    @property
    def end(self) -> int:
        """Position after the last sample: how many the stream has given."""
        return self._end

    def append(self, samples: Samples, *, lost: bool = False) -> None:
        """Add samples [n_channels, n] at the end; `lost` marks them as never having come."""
        n = samples.shape[1]
        if self._end + n - self._base > self._buffer.shape[1]:
            self._make_room(n)
        at = self._end - self._base
        self._buffer[:, at : at + n] = samples
        if lost and n:
            if self._lost and self._lost[-1][1] == self._end:
                self._lost[-1] = (self._lost[-1][0], self._end + n)
            else:
                self._lost.append((self._end, self._end + n))
        self._end += n

    def read(self, start: int, stop: int) -> Samples:
        """Copy [n_channels, stop − start]; positions before the stream or after its end are zeros.

        Raises:
            IndexError: Something between was discarded already.
        """
        if max(start, 0) < self._low:
            raise IndexError(f"samples from {start} were asked for, but those before {self._low} are gone")
        out = np.zeros((self._buffer.shape[0], stop - start), np.float32)
        first, last = max(start, 0), min(stop, self._end)
        if first < last:
            source = self._buffer[:, first - self._base : last - self._base]
            out[:, first - start : last - start] = source
        return out

    def lost_between(self, start: int, stop: int) -> int:
        """How many samples of [start, stop) never came."""
        return sum(max(0, min(stop, b) - max(start, a)) for a, b in self._lost)

    def discard_before(self, position: int) -> None:
        """Say that nothing before `position` will be read again."""
        self._low = max(self._low, min(position, self._end))
        while self._lost and self._lost[0][1] <= self._low:
            self._lost.popleft()

    def _make_room(self, n: int) -> None:
        """Move what is kept to the front, and double the buffer where that is not enough."""
        kept = self._buffer[:, self._low - self._base : self._end - self._base]
        capacity = self._buffer.shape[1]
        while capacity < kept.shape[1] + n:
            capacity *= 2
        # a buffer that is mostly kept would be moved at every block: grow it instead
        if capacity < 2 * (kept.shape[1] + n):
            capacity *= 2
        target = self._buffer if capacity <= self._buffer.shape[1] else np.empty((kept.shape[0], capacity), np.float32)
        target[:, : kept.shape[1]] = kept.copy() if target is self._buffer else kept
        self._buffer = target
        self._base = self._low


class FrameBuffer:
    """The frames that windows still need, in order of time."""

    def __init__(self, max_age_seconds: float) -> None:
        """Keep frames; one older than `max_age_seconds` at a slot's time is not taken for it."""
        self._max_age_seconds = max_age_seconds
        self._frames: deque[VideoFrame] = deque()
        self._settled = float("-inf")

    @property
    def settled(self) -> float:
        """No frame will come any more that is newest at a time before this."""
        return self._settled

    def add(self, frame: VideoFrame) -> None:
        """Add a frame; one stamped before its predecessor is a source's bug."""
        if self._frames and frame.time < self._frames[-1].time:
            raise ValueError(f"frames out of order: {frame.time:g} s after {self._frames[-1].time:g} s")
        self._frames.append(frame)
        self.settle(max(frame.time, frame.until))

    def settle(self, time: float) -> None:
        """Say that no frame will come any more that is newest at a time before this."""
        self._settled = max(self._settled, time)

    def finish(self) -> None:
        """Say that no frame will come any more."""
        self.settle(float("inf"))

    def newest_at(self, time: float) -> VideoFrame | None:
        """The newest frame stamped at or before `time`, unless it is too old."""
        for frame in reversed(self._frames):
            if frame.time <= time + _STAMP_SECONDS:
                return frame if time - frame.time <= self._max_age_seconds + _STAMP_SECONDS else None
        return None

    def discard_before(self, time: float) -> None:
        """Say that no time before `time` will be asked for again; the frame that is newest then stays."""
        while len(self._frames) > 1 and self._frames[1].time <= time + _STAMP_SECONDS:
            self._frames.popleft()


class Windower:
    """Gathers blocks and frames and gives back each window as soon as all of it is there."""

    def __init__(
        self, manifest: Manifest, step_seconds: Fraction, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Cut windows as the manifest says.

        Args:
            manifest: Says how long a window is, and what is in it.
            step_seconds: Time between two windows.
            patience_seconds: How much more sound may come while a window waits for its picture; then it takes the
                frames that are there. Bounds both memory and delay where a picture stalls.

        Raises:
            ValueError: The step is not above 0 and at most a window long.
        """
        spec = manifest.window
        self._window = Fraction(str(spec.seconds))
        if not 0 < step_seconds <= self._window:
            raise ValueError(f"expected a step above 0 and at most {spec.seconds:g} s, got {float(step_seconds):g} s")
        self._step = step_seconds
        self._patience = Fraction(patience_seconds)
        self._pad_seconds = Fraction(str(spec.pad_seconds))
        self._tail_seconds = Fraction(str(spec.tail_fraction)) * self._window
        self._rate = manifest.sample_rate
        self._ring: SampleRing | None = None
        self._context = 0
        if self._rate is not None:
            self._context = seconds_to_samples(manifest.context_seconds, self._rate)
            self._n_window = seconds_to_samples(spec.seconds, self._rate)
            self._ring = SampleRing(manifest.n_source_channels, 4 * (self._context + self._n_window))
        video = manifest.video_input
        self._offsets: tuple[Fraction, ...] = ()
        self._frames: FrameBuffer | None = None
        if video is not None:
            self._offsets = tuple(Fraction(str(time)) for time in video[1].frame_times_seconds)
            self._frames = FrameBuffer(video[1].max_age_seconds)
        self._video_end: float | None = None
        self._index = 0
        self.missed_frames_at: float | None = None
        """When a window first had to do without knowing its picture: its end, in seconds."""
        self.dropped_tail_seconds = 0.0
        """After `finish`: the end of the stream that was too short for a window of its own."""

    @property
    def step_seconds(self) -> Fraction:
        """Time between two windows."""
        return self._step

    def push(self, item: AudioBlock | VideoFrame | VideoProgress | EndOfVideo) -> None:
        """Take one item.

        Raises:
            ValueError: A block does not follow its predecessor, or has another rate or channel count: a source's bug.
        """
        if isinstance(item, AudioBlock):
            self._push_block(item)
        elif self._frames is not None:
            if isinstance(item, VideoFrame):
                self._frames.add(item)
            elif isinstance(item, VideoProgress):
                self._frames.settle(item.time)
            else:
                self._frames.finish()
                self._video_end = item.time

    def ready(self) -> Iterator[Window]:
        """Give back each window that is complete now, in order."""
        while self._is_complete():
            if self.missed_frames_at is None and not self._knows_picture():
                self.missed_frames_at = float(self._end_of(self._index))
            yield self._cut(padded_seconds=0.0)

    def finish(self) -> Iterator[Window]:
        """Say that the stream is over, and give back what is left of it.

        A stream shorter than a window, a window short of `pad_seconds`, and a tail of at least `tail_fraction` of a
        window are padded with zeros; less is dropped and counted in `dropped_tail_seconds`.
        """
        if self._frames is not None:
            if self._video_end is None:  # the source broke off: what is known of the picture is all there will be
                self._video_end = float(self._progress())
            self._frames.finish()
        yield from self.ready()
        end = self._progress()
        missing = self._end_of(self._index) - end
        tail = end - self._end_of(self._index - 1) if self._index else end
        if tail <= 0:
            return
        if self._index == 0 or missing <= self._pad_seconds or tail >= self._tail_seconds:
            yield self._cut(padded_seconds=float(missing))
        else:
            self.dropped_tail_seconds = float(tail)

    def _push_block(self, block: AudioBlock) -> None:
        if self._ring is None or self._rate is None:
            return
        if block.sample_rate != self._rate:
            raise ValueError(f"expected blocks at {self._rate} Hz, got {block.sample_rate} Hz")
        if len(block.samples) != self._ring.n_channels:
            raise ValueError(f"expected blocks of {self._ring.n_channels} channels, got {len(block.samples)}")
        expected = self._ring.end / self._rate
        if abs(block.start - expected) * self._rate > 0.5:
            raise ValueError(f"expected a block at {expected:.6f} s, got one at {block.start:.6f} s")
        self._ring.append(block.samples, lost=block.lost)

    def _progress(self) -> Fraction:
        """How far the stream has come, in seconds: by its samples, or by its picture where there are none."""
        if self._ring is not None and self._rate is not None:
            return Fraction(self._ring.end, self._rate)
        if self._video_end is not None:
            return Fraction(self._video_end).limit_denominator(1_000_000)
        settled = self._frames.settled if self._frames is not None else float("-inf")
        return Fraction(settled).limit_denominator(1_000_000) if settled > 0 and np.isfinite(settled) else Fraction(0)

    def _start_of(self, index: int) -> Fraction:
        return index * self._step

    def _end_of(self, index: int) -> Fraction:
        return index * self._step + self._window

    def _is_complete(self) -> bool:
        if self._ring is not None:
            if self._ring.end < self._first_sample(self._index) + self._n_window:
                return False
        elif self._progress() < self._end_of(self._index):
            return False
        return self._knows_picture() or self._progress() >= self._end_of(self._index) + self._patience

    def _knows_picture(self) -> bool:
        """Whether no frame can come any more that a slot of the next window would take."""
        if self._frames is None:
            return True
        last_slot = float(self._start_of(self._index) + self._offsets[-1])
        return self._frames.settled > last_slot + _STAMP_SECONDS

    def _first_sample(self, index: int) -> int:
        """Position of the window's first sample, context apart; a half is rounded to even, the same way every time."""
        return round(self._start_of(index) * (self._rate or 0))

    def _cut(self, padded_seconds: float) -> Window:
        index = self._index
        start = self._start_of(index)
        samples: Samples | None = None
        lost_seconds = 0.0
        first = self._first_sample(index)
        if self._ring is not None and self._rate is not None:
            stop = first + self._n_window
            samples = self._ring.read(first - self._context, stop)
            lost_seconds = self._ring.lost_between(first, stop) / self._rate
            self._ring.discard_before(self._first_sample(index + 1) - self._context)
        frames: tuple[VideoFrame | None, ...] = ()
        if self._frames is not None:
            frames = tuple(self._frames.newest_at(float(start + offset)) for offset in self._offsets)
            self._frames.discard_before(float(self._start_of(index + 1) + self._offsets[0]))
        self._index += 1
        return Window(
            index=index,
            start=float(start),
            end=float(start + self._window),
            start_sample=first - self._context,
            samples=samples,
            frames=frames,
            lost_seconds=lost_seconds,
            padded_seconds=padded_seconds,
        )
