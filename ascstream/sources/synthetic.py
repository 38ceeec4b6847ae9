"""Sources that need no medium: exactly timed tones and colours, or a replay of given items. Public, for tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from math import ceil

import numpy as np
from numpy.typing import NDArray

from ascstream.errors import UsageError
from ascstream.records import AudioBlock, EndOfVideo, Image, Samples, StreamEvent, StreamItem, VideoFrame
from ascstream.sources.base import AudioWants, SourceInfo, Wants

_AMPLITUDE = 0.25
_GREY = (128, 128, 128)


@dataclass(frozen=True, slots=True)
class Segment:
    """A section of a synthetic stream."""

    seconds: float
    """Its length."""
    tones: tuple[tuple[float, ...], ...] = ((440.0,),)
    """Frequencies in Hz: one tuple each for left and right, or one for both; () is silence."""
    colour: tuple[int, int, int] = _GREY
    """Red, green and blue of the picture, 0…255."""
    lost: bool = False
    """Whether the samples of this section never come: zeros, marked lost."""
    noise: float = 0.0
    """Standard deviation of added white noise; the noise at a given position is always the same."""


class SyntheticSource:
    """Plays segments one after the other; every sample and pixel is a function of its time.

    Samples do not depend on the block size. Each event is yielded just before the block that reaches its time. With
    `sleep`, items come in real time by `clock`.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        *,
        block_samples: int = 1024,
        frame_rate: Fraction | int = 25,
        has_audio: bool = True,
        has_video: bool = True,
        events: Sequence[StreamEvent] = (),
        name: str = "synthetic",
        live: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        if block_samples < 1 or frame_rate <= 0 or any(segment.seconds < 0 for segment in segments):
            raise UsageError("expected blocks of 1 sample or more, a frame rate above 0 and no negative length")
        self._segments = tuple(segments)
        self._ends = np.cumsum([Fraction(s.seconds).limit_denominator(10**9) for s in segments] or [Fraction(0)])
        self._block_samples = block_samples
        self._frame_rate = Fraction(frame_rate)
        self._events = sorted(events, key=lambda event: event.time)
        self._clock = clock
        self._sleep = sleep
        self._info = SourceInfo(name, has_audio, has_video, float(self._ends[-1]), live=live)

    @property
    def info(self) -> SourceInfo:
        """Name, tracks and length."""
        return self._info

    def items(self, wants: Wants) -> Iterator[StreamItem]:
        """Yield blocks and frames; before a block, every wanted frame stamped before its end."""
        return _replay_in_time(self._unpaced(wants), self._clock, self._sleep)

    def _unpaced(self, wants: Wants) -> Iterator[StreamItem]:
        frames = self._frames(wants) if self._info.has_video else iter([EndOfVideo(0.0)])
        if wants.video is None:
            frames = iter([])
        if wants.audio is None:
            yield from frames
            return
        waiting: list[StreamItem] = []
        events = list(self._events)
        for block in self._blocks(wants.audio):
            while events and events[0].time < block.end:
                yield events.pop(0)
            for frame in chain(iter(waiting), frames):
                stamp = frame.time if isinstance(frame, (VideoFrame, EndOfVideo)) else 0.0
                if stamp > block.end:
                    waiting = [frame]
                    break
                yield frame
            else:
                waiting = []
            yield block
        yield from chain(events, waiting, frames)

    def _blocks(self, wants: AudioWants) -> Iterator[AudioBlock]:
        rate = wants.sample_rate
        borders = [round(end * rate) for end in self._ends]
        start, index = 0, 0
        while index < len(self._segments) and start < borders[-1]:
            while start >= borders[index]:
                index += 1
            # no block crosses a segment's end, so that lost sections begin and end exactly
            stop = min(start + self._block_samples - start % self._block_samples, borders[index])
            segment = self._segments[index]
            lost = segment.lost or not self._info.has_audio
            shape = (wants.n_channels, stop - start)
            samples = np.zeros(shape, np.float32) if lost else _sing(segment, start, stop, rate, wants.n_channels)
            yield AudioBlock(start / rate, samples, rate, lost)
            start = stop

    def _frames(self, wants: Wants) -> Iterator[StreamItem]:
        if wants.video is None:
            return
        n_yielded = 0
        n_frames = ceil(self._ends[-1] * self._frame_rate)
        for number in range(n_frames):
            at, until = number / self._frame_rate, (number + 1) / self._frame_rate
            if wants.video.schedule.wants(float(at), float(until) if number + 1 < n_frames else float("inf")):
                index = int(np.searchsorted(np.array(self._ends, dtype=float), float(at), side="right"))
                segment = self._segments[min(index, len(self._segments) - 1)]
                image = paint_bars(segment.colour, wants.video.height, wants.video.width)
                yield VideoFrame(float(at), image, float(until), n_yielded)
                n_yielded += 1
        yield EndOfVideo(float(self._ends[-1]))

    def close(self) -> None:
        """Nothing to give back."""

    def __enter__(self) -> SyntheticSource:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class ReplaySource:
    """Replays samples and frames given beforehand, in blocks of any size."""

    def __init__(
        self,
        samples: Samples,
        sample_rate: int,
        *,
        frames: Iterable[VideoFrame] = (),
        lost: Iterable[tuple[int, int]] = (),
        block_sizes: Iterable[int] = (1024,),
        name: str = "replay",
        live: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        """Set what to replay.

        Args:
            samples: [n_channels, n_samples].
            sample_rate: Sample rate in Hz; the stream must want this rate and this number of channels.
            frames: Frames in time order; all are yielded, whatever the schedule wants.
            lost: Each range [start, stop) of samples to mark lost, ascending.
            block_sizes: Sizes of the blocks, repeated cyclically until the end.
            name: Name of the source.
            live: Whether the stream should treat it as a live device.
            clock: Clock in seconds, for pacing with `sleep`.
            sleep: If given, called to pace the items in real time.
        """
        self._samples = samples
        self._rate = sample_rate
        self._frames = tuple(frames)
        self._lost = tuple(lost)
        self._sizes = tuple(block_sizes)
        if not self._sizes or min(self._sizes) < 1:
            raise UsageError("expected blocks of 1 sample or more")
        self._clock = clock
        self._sleep = sleep
        seconds = samples.shape[1] / sample_rate
        self._info = SourceInfo(name, has_audio=True, has_video=bool(self._frames), duration_seconds=seconds, live=live)

    @property
    def info(self) -> SourceInfo:
        """Name, tracks and length."""
        return self._info

    def items(self, wants: Wants) -> Iterator[StreamItem]:
        """Yield blocks and frames; before a block, every frame stamped before its end."""
        if wants.audio is not None and (wants.audio.sample_rate, wants.audio.n_channels) != (
            self._rate,
            self._samples.shape[0],
        ):
            raise UsageError(
                f"the stream wants {wants.audio.n_channels} channels at {wants.audio.sample_rate} Hz, "
                f"and {self._samples.shape[0]} at {self._rate} Hz were given to replay"
            )
        return _replay_in_time(self._unpaced(wants), self._clock, self._sleep)

    def _unpaced(self, wants: Wants) -> Iterator[StreamItem]:
        frames = list(self._frames) if wants.video is not None else []
        end = max([self._samples.shape[1] / self._rate, *(frame.until for frame in frames)])
        for block in self._blocks() if wants.audio is not None else ():
            while frames and frames[0].time <= block.end:
                yield frames.pop(0)
            yield block
        yield from frames
        if wants.video is not None:
            yield EndOfVideo(end)

    def _blocks(self) -> Iterator[AudioBlock]:
        total = self._samples.shape[1]
        borders = sorted({0, total, *chain.from_iterable(self._lost)})
        start = count = 0
        while start < total:
            size = self._sizes[count % len(self._sizes)]
            stop = min(start + size, min(border for border in borders if border > start))
            lost = any(first <= start < after for first, after in self._lost)
            piece = self._samples[:, start:stop]
            yield AudioBlock(start / self._rate, np.zeros_like(piece) if lost else piece, self._rate, lost)
            start, count = stop, count + 1

    def close(self) -> None:
        """Nothing to give back."""

    def __enter__(self) -> ReplaySource:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def paint_bars(colour: tuple[int, int, int], height: int, width: int) -> Image:
    """Eight vertical bars of one colour, from black at the left to full intensity: [height, width, 3]."""
    strength = (np.arange(width) * 8 // max(width, 1)) / 7
    row = np.rint(strength[:, None] * np.array(colour)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(row, (height, width, 3)))


def _sing(segment: Segment, start: int, stop: int, rate: int, n_channels: int) -> Samples:
    """Samples [start, stop) of a segment: [n_channels, n_samples]; a sum of sines of equal amplitude, plus noise."""
    if not segment.tones:
        tones: tuple[tuple[float, ...], ...] = ((),)
    else:
        tones = segment.tones
    left_right = [_sum_of_sines(tones[min(channel, len(tones) - 1)], start, stop, rate) for channel in range(2)]
    mixed = np.stack(left_right) if n_channels == 2 else (left_right[0] + left_right[1])[None] / 2
    if segment.noise:
        mixed = mixed + segment.noise * _white_noise(start, stop, n_channels)
    return mixed.astype(np.float32)


def _sum_of_sines(frequencies: Sequence[float], start: int, stop: int, rate: int) -> NDArray[np.float64]:
    positions = np.arange(start, stop)
    total = np.zeros(stop - start)
    for frequency in frequencies:
        total += np.sin(2 * np.pi * frequency * (positions / rate))
    return total * (_AMPLITUDE / max(len(frequencies), 1))


def _white_noise(start: int, stop: int, n_channels: int) -> NDArray[np.float64]:
    """Gaussian noise [n_channels, stop − start] that depends only on the sample's position."""
    page = 4096
    first = start // page
    pages = [
        np.random.default_rng(index).standard_normal((n_channels, page)) for index in range(first, -(-stop // page))
    ]
    return np.concatenate(pages, axis=1)[:, start - first * page : stop - first * page]


def _replay_in_time(
    items: Iterator[StreamItem], clock: Callable[[], float], sleep: Callable[[float], None] | None
) -> Iterator[StreamItem]:
    """Hold back each item until it is due (a block at its end), as a device would; without `sleep`, nothing waits."""
    begun = clock()
    for item in items:
        if sleep is not None:
            due = item.end if isinstance(item, AudioBlock) else item.time
            ahead = begun + due - clock()
            if ahead > 0:
                sleep(ahead)
        yield item
