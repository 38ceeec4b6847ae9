"""Blocks and frames in, windows out: assembles windows and computes their sample positions.

How samples are placed on the stream's time line is up to `live/sound.py` for a device, `sources/blocks.py` for a file.

Window k covers [k·step, k·step + window). Its samples are cut at integer positions computed exactly (with fractions,
not by summing floats), so a stream gives the same windows whatever the size of its blocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from ascstream.records import AudioBlock, EndOfVideo, Samples, VideoFrame, VideoProgress, Window
from engines.manifest import Manifest, seconds_to_samples

_STAMP_SECONDS = 1e-6
"""Tolerance for comparing times that were computed in different ways."""
PATIENCE_SECONDS = 20.0
"""How much more sound may arrive while a window waits for a late picture: twice the expected offset of a file's tracks
(see `sources/media.py`)."""
LIVE_PATIENCE_SECONDS = 0.5
"""The same for a live stream: the longest that a stalled camera can delay an answer."""


class SampleRing:
    """A buffer of the samples that windows still need, addressed by position in the stream.

    Holds the samples from the last `discard_before` position to the end; grows only while windows wait for a picture.
    """

    def __init__(self, n_channels: int, capacity: int) -> None:
        """Start with room for `capacity` samples of `n_channels` channels."""
        self._buffer = np.zeros((n_channels, max(1, capacity)), np.float32)
        self._base = 0
        self._low = 0
        self._end = 0
        self._lost: deque[tuple[int, int]] = deque()

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return int(self._buffer.shape[0])

    @property
    def end(self) -> int:
        """Position after the last sample: the number of samples that the stream has delivered."""
        return self._end

    def append(self, samples: Samples, *, lost: bool = False) -> None:
        """Append samples [n_channels, n]; `lost` marks them as a stand-in for samples that never came."""
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
            IndexError: Some of these samples were already discarded.
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
        """Number of samples in [start, stop) that never came."""
        return sum(max(0, min(stop, b) - max(start, a)) for a, b in self._lost)

    def discard_before(self, position: int) -> None:
        """Allow samples before `position` to be discarded: they will not be read again."""
        self._low = max(self._low, min(position, self._end))
        while self._lost and self._lost[0][1] <= self._low:
            self._lost.popleft()

    def _make_room(self, n: int) -> None:
        """Make room for `n` more samples: move the kept ones to the front, and enlarge the buffer if needed."""
        kept = self._buffer[:, self._low - self._base : self._end - self._base]
        capacity = self._buffer.shape[1]
        while capacity < kept.shape[1] + n:
            capacity *= 2
        # a buffer that stays more than half full would be moved again every few blocks: grow it instead
        if capacity < 2 * (kept.shape[1] + n):
            capacity *= 2
        target = self._buffer if capacity <= self._buffer.shape[1] else np.empty((kept.shape[0], capacity), np.float32)
        target[:, : kept.shape[1]] = kept.copy() if target is self._buffer else kept
        self._buffer = target
        self._base = self._low


class FrameBuffer:
    """The frames that windows still need, in time order."""

    def __init__(self, max_age_seconds: float) -> None:
        """Start empty; a frame more than `max_age_seconds` older than a slot's time does not fill that slot."""
        self._max_age_seconds = max_age_seconds
        self._frames: deque[VideoFrame] = deque()
        self._settled = float("-inf")

    @property
    def settled(self) -> float:
        """Time up to which the frames are final: no frame that is still to come is stamped before it."""
        return self._settled

    def add(self, frame: VideoFrame) -> None:
        """Add a frame; raises ValueError if it is stamped before its predecessor, which is a bug in the source."""
        if self._frames and frame.time < self._frames[-1].time:
            raise ValueError(f"frames out of order: {frame.time:g} s after {self._frames[-1].time:g} s")
        self._frames.append(frame)
        self.settle(max(frame.time, frame.until))

    def settle(self, time: float) -> None:
        """Declare that no frame still to come is stamped before `time`."""
        self._settled = max(self._settled, time)

    def finish(self) -> None:
        """Declare that no more frames will come."""
        self.settle(float("inf"))

    def newest_at(self, time: float) -> VideoFrame | None:
        """The newest frame stamped at or before `time`; None if there is none or it is too old."""
        for frame in reversed(self._frames):
            if frame.time <= time + _STAMP_SECONDS:
                return frame if time - frame.time <= self._max_age_seconds + _STAMP_SECONDS else None
        return None

    def discard_before(self, time: float) -> None:
        """Discard frames not needed for times from `time` on; the newest one at `time` is kept."""
        while len(self._frames) > 1 and self._frames[1].time <= time + _STAMP_SECONDS:
            self._frames.popleft()


class Windower:
    """Collects blocks and frames, and returns each window as soon as it is complete."""

    def __init__(
        self, manifest: Manifest, step_seconds: Fraction, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Cut windows as the manifest says.

        Args:
            manifest: Defines the length of a window and what it contains.
            step_seconds: Time from one window to the next.
            patience_seconds: How much more sound may arrive while a window waits for its picture, before it takes the
                frames that are there. Bounds memory and delay when the picture stalls.

        Raises:
            ValueError: The step is not above 0, or exceeds a window's length.
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
        """End, in seconds, of the first window that was cut before its picture was final; None if none was."""
        self.dropped_tail_seconds = 0.0
        """After `finish`: length of the stream's end that was too short for a window of its own."""

    @property
    def step_seconds(self) -> Fraction:
        """Time from one window to the next."""
        return self._step

    def push(self, item: AudioBlock | VideoFrame | VideoProgress | EndOfVideo) -> None:
        """Take one item from the source.

        Raises:
            ValueError: A block does not directly follow the last one, or its sample rate or channel count is wrong; or
                a frame is out of order. Each is a bug in the source.
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
        """Yield each window that is now complete, in order."""
        while self._is_complete():
            if self.missed_frames_at is None and not self._knows_picture():
                self.missed_frames_at = float(self._end_of(self._index))
            yield self._cut(padded_seconds=0.0)

    def finish(self) -> Iterator[Window]:
        """End the stream and yield the remaining windows.

        The last window is padded with zeros if it is the first one too, if it is at most `pad_seconds` short, or if
        the tail (what comes after the previous window's end) is at least `tail_fraction` of a window; otherwise the
        tail is dropped and its length stored in `dropped_tail_seconds`.
        """
        if self._frames is not None:
            if self._video_end is None:  # the source broke off: no more frames will come
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
        """How far the stream has come, in seconds: by its samples, or by its picture if the bundle takes no sound."""
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
        """Whether the next window's frames are final: no frame still to come could fill one of its slots."""
        if self._frames is None:
            return True
        last_slot = float(self._start_of(self._index) + self._offsets[-1])
        return self._frames.settled > last_slot + _STAMP_SECONDS

    def _first_sample(self, index: int) -> int:
        """Position of the window's first sample after the context; exact halves are rounded to even."""
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
