"""The picture of a container as the frames that windows take: decoded in order; other frames are never scaled."""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Iterator
from fractions import Fraction

import av

from ascstream.records import EndOfVideo, StreamEvent, VideoFrame
from ascstream.sources.base import FrameSchedule, VideoWants
from ascstream.sources.container import MAX_PIXELS
from ascstream.sources.packets import JUMP_MESSAGE, Absence, PacketReader, Stamped
from ascstream.sources.picture import PictureMaker
from ascstream.sources.span import Span

_USUAL_FRAME_SECONDS = Fraction(1, 25)
_LONGEST_FRAME_SECONDS = 3600
"""A longer frame duration is ignored as invalid."""
_REORDERED_FRAMES = 64
"""More frames than any codec holds back for reordering."""
_SKIPPABLE_CODECS = frozenset({"h264", "hevc", "mpeg4", "mpeg2video"})
"""Codecs whose decoders, when told to, skip exactly those frames that no other frame refers to."""


class VideoTrack:
    """Decodes one video stream. A frame is held until the next one's timestamp shows how long it was displayed."""

    def __init__(self, stream: av.VideoStream, reader: PacketReader, span: Span, wants: VideoWants) -> None:
        self._stream = stream
        self._codec = stream.codec_context
        # threading would cost 4 to 9 % more CPU time
        self._codec.thread_type = "NONE"
        self._codec.thread_count = 1
        self._codec.options = {"max_pixels": str(MAX_PIXELS)}
        self._reader = reader
        self._span = span
        self._tick = stream.time_base or Fraction(1, 1000)
        self._chooser = FrameChooser(wants.schedule, span, self._tick, skip=self._codec.name in _SKIPPABLE_CODECS)
        self._pictures = PictureMaker(wants)
        rate = stream.average_rate or 0
        self._frame_seconds = 1 / rate if rate * _LONGEST_FRAME_SECONDS >= 1 else _USUAL_FRAME_SECONDS
        self._held: tuple[int, av.VideoFrame] | None = None
        self._n_yielded = 0
        self._n_corrupt = 0
        self._decoded = False
        self.known_until = Fraction(0)
        """Medium time before which all frames are known."""
        self.ended = False
        """Whether no more frames will come."""
        self.waiting = False
        """Whether the next packet is too far ahead in the file to be read yet."""

    def items(self) -> Iterator[VideoFrame | StreamEvent | EndOfVideo | None]:
        """Yield wanted frames, events, and at the end `EndOfVideo`; None after each step in between."""
        end = self._span.end
        finished = False
        while not finished:
            packet = self._reader.take(self._stream.index)
            self.waiting = packet is Absence.FAR
            if packet is Absence.FAR:
                yield None
                continue
            yield from self._decode(None if packet is Absence.ENDED else packet)
            finished = packet is Absence.ENDED or (end is not None and self.known_until > end)
            yield None
        if self._held is not None:
            stamp, frame = self._held
            shown = frame.duration if 0 < frame.duration * self._tick <= _LONGEST_FRAME_SECONDS else 0
            yield from self._show(stamp + (shown or round(self._frame_seconds / self._tick)), last=True)
        if not self._decoded:
            yield StreamEvent(0.0, "corrupt", "no frame of the picture could be decoded")
        if self._n_corrupt > 1:
            message = f"{self._n_corrupt} packets of the picture could not be decoded"
            yield StreamEvent(self._seconds(self.known_until), "corrupt", message)
        self.ended = True
        yield EndOfVideo(self._seconds(self.known_until if end is None else min(self.known_until, end)))

    def _decode(self, packet: Stamped | None) -> Iterator[VideoFrame | StreamEvent]:
        if packet is not None:
            jump = self._reader.straighten(packet)
            if jump is not None and jump.first:
                yield StreamEvent(self._seconds(self.known_until), "jump", JUMP_MESSAGE, abs(jump.seconds))
            self._codec.skip_frame = "NONREF" if self._chooser.can_skip(packet.pts) else "DEFAULT"
        try:
            frames = self._codec.decode(packet)
        except av.EOFError:
            return
        except av.FFmpegError:
            if self._decoded:  # a stream joined between key frames cannot be decoded before the next one
                yield from self._count_corrupt()
            return
        for frame in frames:
            self._decoded = True
            yield from self._take(frame)

    def _count_corrupt(self) -> Iterator[StreamEvent]:
        self._n_corrupt += 1
        if self._n_corrupt == 1:
            message = "a packet of the picture cannot be decoded and is left out; more are counted"
            yield StreamEvent(self._seconds(self.known_until), "corrupt", message)

    def _take(self, frame: av.VideoFrame) -> Iterator[VideoFrame | StreamEvent]:
        """Hold a frame, and release the one held before."""
        if frame.interlaced_frame:
            self._chooser.skip = False  # each field of a frame may come in a packet of its own
        stamp = frame.pts if frame.pts is not None else frame.dts
        if stamp is None:
            last = math.floor(self._span.zero / self._tick) if self._held is None else self._held[0]
            stamp = last + max(round(self._frame_seconds / self._tick), 1)
        if self._held is None:
            self.known_until = max(self.known_until, self._medium_time(stamp))
        elif stamp > self._held[0]:
            yield from self._show(stamp)
        elif stamp < self._held[0]:
            return  # too late to be yielded in order
        self._held = (stamp, frame)

    def _show(self, until: int, *, last: bool = False) -> Iterator[VideoFrame | StreamEvent]:
        """Yield the held frame if a window takes it before `until`; the last frame may also be taken later."""
        held, self._held = self._held, None
        self.known_until = max(self.known_until, self._medium_time(until))
        if held is None:
            return
        stamp, frame = held
        until = self._chooser.end_of(stamp, until)
        if self._chooser.is_wanted(stamp, None if last else until):
            try:
                image = self._pictures.make(frame, self._stream.sample_aspect_ratio or Fraction(1))
            except (av.FFmpegError, ValueError):
                yield from self._count_corrupt()
                return
            yield VideoFrame(self._chooser.time_of(stamp), image, self._chooser.time_of(until), self._n_yielded)
            self._n_yielded += 1

    @property
    def end(self) -> Fraction:
        """Medium time up to which the picture was decoded."""
        return self.known_until

    def _medium_time(self, stamp: int) -> Fraction:
        return stamp * self._tick - self._span.zero

    def _seconds(self, time: Fraction) -> float:
        return max(0.0, float(time - self._span.start))


class FrameChooser:
    """Decides which frames windows take, and which need not even be decoded. Stamps are in ticks of the stream."""

    def __init__(self, schedule: FrameSchedule, span: Span, tick: Fraction, *, skip: bool) -> None:
        self._schedule = schedule
        self._tick = tick
        self._begin = span.zero + span.start
        self._end = math.inf if span.seconds is None else float(span.seconds)
        self.skip = skip
        """Whether frames may be skipped at all."""
        self._sent: list[int] = []
        """Stamps of the newest packets sent to the decoder, ascending."""
        self._skipped: list[int] = []
        """Stamps of packets that need not be decoded, ascending."""
        self._slot = (math.inf, -math.inf)
        """Cache: a time, and the first slot at or after it."""

    def time_of(self, stamp: int) -> float:
        """Stream time of a stamp, in seconds."""
        return float(stamp * self._tick - self._begin)

    def is_wanted(self, stamp: int, until: int | None) -> bool:
        """Whether a window takes a frame displayed from `stamp` to `until`; None: indefinitely."""
        time = self.time_of(stamp)
        if time > self._end:
            return False
        end = math.inf if until is None else self.time_of(until)
        asked, slot = self._slot
        if not asked <= time <= slot:
            slot = self._schedule.next_slot(time)
            self._slot = (time, slot)
        return self._schedule.reaches(slot, time, end)

    def can_skip(self, stamp: int | None) -> bool:
        """Whether no window can take a packet's frame. To be called for each packet in decoding order.

        If a packet decoded earlier is displayed later, this packet's frame ends no later than that one begins.
        """
        if not self.skip or stamp is None:
            return False
        later = bisect_right(self._sent, stamp)
        until = self._sent[later] if later < len(self._sent) else None
        insort(self._sent, stamp)
        del self._sent[:-_REORDERED_FRAMES]
        if until is None or self.is_wanted(stamp, until):
            return False
        insort(self._skipped, stamp)
        return True

    def end_of(self, stamp: int, until: int) -> int:
        """Where the frame at `stamp` really ends, given the next decoded one at `until`: at a skipped one, if any."""
        later = bisect_right(self._skipped, stamp)
        end = min(until, self._skipped[later]) if later < len(self._skipped) else until
        del self._skipped[:later]
        return end
