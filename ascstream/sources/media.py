"""Files, URLs and pipes as sources: anything FFmpeg reads, decoded in step. Tracks: audio_track.py, video_track.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
from av.stream import Discard

from ascstream.errors import DecodeError, UsageError
from ascstream.records import AudioBlock, EndOfVideo, StreamItem
from ascstream.sources.audio_track import AudioTrack
from ascstream.sources.base import SourceInfo, Wants
from ascstream.sources.blocks import BlockMaker
from ascstream.sources.container import LIVE_SCHEMES, OpenedContainer, open_container
from ascstream.sources.failures import ends_early
from ascstream.sources.inputs import expand_inputs, redact, url_scheme
from ascstream.sources.packets import PacketReader
from ascstream.sources.span import Span
from ascstream.sources.video_track import VideoTrack

__all__ = ["MediaSource", "expand_inputs", "open_media", "redact"]

_PATIENCE_SECONDS = 10.0
"""How far apart matching sound and picture may lie in a file."""
_LIVE_PATIENCE_SECONDS = 0.2
"""The same for a source that delivers in real time."""
_SAME_END_SECONDS = Fraction(1, 10)
"""A picture that outlasts the sound by less than this counts as ending with it."""
_BEFORE_SECONDS = Fraction(1, 1000)
"""Lost blocks stay this far behind a frame that is still held, so that the frame is yielded before them."""
_MISSING_SECONDS = Fraction(1, 2)
"""A medium may fall short of its announced end by this much."""


class MediaSource:
    """A medium read through FFmpeg. Made by `open_media`."""

    def __init__(self, opened: OpenedContainer, span: Span, *, live: bool, read_timeout_seconds: float) -> None:
        self._opened = opened
        self._span = span
        self._live = live
        self._timeout = read_timeout_seconds
        self._closed = False
        self._begun = False

    @property
    def info(self) -> SourceInfo:
        """What is known about the medium; the duration is that of the selected part."""
        total = self._opened.seconds
        rest = None if total is None else max(total - self._span.start, Fraction(0))
        asked = self._span.seconds
        length = rest if asked is None else asked if rest is None else min(rest, asked)
        return SourceInfo(
            name=self._opened.name,
            has_audio=self._opened.audio is not None,
            has_video=self._opened.video is not None,
            duration_seconds=None if length is None else float(length),
            offset_seconds=float(self._span.start),
            live=self._live,
        )

    def items(self, wants: Wants) -> Iterator[StreamItem]:
        """Yield blocks and frames; before a block, every wanted frame stamped before the block's end.

        If sound is wanted but absent, or ends before the picture, lost blocks keep pace with the picture.

        Raises:
            DecodeError: The medium has none of the wanted tracks, or breaks off early (raised after everything that
                could be decoded was yielded).
            SourceError: The network does not answer.
        """
        if self._begun or self._closed:
            raise RuntimeError("a source gives its items once; open it again")
        self._begun = True
        audio_stream = self._opened.audio if wants.audio is not None else None
        video_stream = self._opened.video if wants.video is not None else None
        if audio_stream is None and video_stream is None:
            raise DecodeError(self._missing(wants))
        reader, span = self._start([stream for stream in (audio_stream, video_stream) if stream is not None])
        video = blocks = None
        if wants.video is not None:
            if video_stream is None:
                yield EndOfVideo(0.0)
            else:
                video = VideoTrack(video_stream, reader, span, wants.video)
        if wants.audio is not None:
            blocks = BlockMaker(span, wants.audio)
            audio = None if audio_stream is None else AudioTrack(audio_stream, reader, span, wants.audio, blocks)
            yield from _interleave(audio, video, blocks)
        elif video is not None:
            yield from (item for item in video.items() if item is not None)
        self._opened.raise_interrupt()
        ends: list[tuple[av.AudioStream | av.VideoStream, Fraction]] = []
        if audio_stream is not None and blocks is not None:
            ends.append((audio_stream, blocks.end))
        if video_stream is not None and video is not None:
            ends.append((video_stream, video.end))
        if reader.error is not None:
            decoded = float(max(end for _, end in ends))
            raise self._opened.explain_reading(reader.error, decoded, timeout_seconds=self._timeout)
        self._check_end(ends, jumped=reader.jumped)

    def _start(self, streams: list[av.AudioStream | av.VideoStream]) -> tuple[PacketReader, Span]:
        """Start reading only the wanted streams, from a place where the span's start can be decoded."""
        for stream in self._opened.container.streams:
            if all(stream.index != wanted.index for wanted in streams):
                stream.discard = Discard.all
        patience = _LIVE_PATIENCE_SECONDS if self._live else _PATIENCE_SECONDS
        span = replace(self._span, decode_from=0 if self._live else self._opened.seek(self._span.start))
        begin = span.zero + span.decode_from
        return PacketReader(self._opened.container, streams, begin=begin, patience_seconds=patience), span

    def _check_end(self, ends: list[tuple[av.AudioStream | av.VideoStream, Fraction]], *, jumped: bool) -> None:
        """Raise DecodeError if nothing was decoded, or clearly less than the container announces."""
        name, start = self._opened.name, self._span.start
        decoded = max(end for _, end in ends)
        total = self._opened.seconds
        if decoded <= start and start > 0:
            length = "" if total is None else f", and it lasts {float(total):.1f} s"
            raise DecodeError(
                f"nothing can be decoded from {float(start):g} s on in {name}{length}; give a smaller start"
            )
        if decoded <= start:
            raise DecodeError(f"{name} holds 0 s that can be decoded; record or copy it again")
        announced = max((self._opened.announced_end(stream) or Fraction(0) for stream, _ in ends), default=Fraction(0))
        if self._span.end is not None:
            announced = min(announced, self._span.end)
        if decoded < announced - _MISSING_SECONDS and not jumped:
            raise ends_early(name, float(decoded), float(announced))

    def _missing(self, wants: Wants) -> str:
        tracks = {"sound": wants.audio, "picture": wants.video}
        wanted = " or ".join(f"{name} track" for name, want in tracks.items() if want is not None)
        there = "sound" if self._opened.audio is not None else "a picture"
        return f"no {wanted} in {self._opened.name}: it has only {there}"

    def close(self) -> None:
        """Release the container; may be called twice."""
        self._closed = True
        self._opened.close()

    def __enter__(self) -> MediaSource:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _interleave(audio: AudioTrack | None, video: VideoTrack | None, blocks: BlockMaker) -> Iterator[StreamItem]:
    """Merge both tracks: the picture is known up to a block's end before the block is yielded."""
    frames = iter(()) if video is None else video.items()
    for item in iter(()) if audio is None else audio.items():
        if video is not None and (item is None or isinstance(item, AudioBlock)):
            # if the sound waits for the picture, the latter must get past the lost blocks that follow it
            due = blocks.end if item is not None else blocks.end + _BEFORE_SECONDS
            while not video.ended and video.known_until <= due:
                yield from _step(frames)
                if video.waiting:
                    break
            if item is None:
                yield from blocks.lose_until(_lost_until(video))
        if item is not None:
            yield item
    if video is None or blocks.full:
        return
    behind = audio is None
    for frame in frames:
        if frame is not None:
            yield frame
        known = _lost_until(video)
        behind |= known > blocks.end + _SAME_END_SECONDS
        if behind:
            yield from blocks.lose_until(known)


def _lost_until(video: VideoTrack) -> Fraction:
    """Medium time up to which lost blocks may follow the picture."""
    return video.known_until if video.ended else video.known_until - _BEFORE_SECONDS


def _step(frames: Iterator[StreamItem | None]) -> Iterator[StreamItem]:
    """Advance by one step, yielding its item if there is one."""
    item = next(frames, None)
    if item is not None:
        yield item


def open_media(
    where: str | Path | BinaryIO,
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    open_timeout_seconds: float = 10.0,
    read_timeout_seconds: float = 10.0,
) -> MediaSource:
    """Open a file, a URL (http, https, rtsp, udp, and so on), "-" for standard input, or a binary file object.

    Args:
        where: What to open. A local file or pipe cannot make FFmpeg open anything else.
        start_seconds: Where in the medium the stream begins; its times count from there.
        duration_seconds: Length of the stream; None: to the medium's end.
        open_timeout_seconds: Time limit for a URL to answer.
        read_timeout_seconds: Time limit for each read from a URL.

    Raises:
        UsageError: The start or the duration is invalid.
        SourceNotFoundError: There is no such file.
        DecodeError: The file exists, but is not media.
        SourceError: It cannot be read.
    """
    if not 0 <= start_seconds < float("inf"):
        raise UsageError(f"expected a start of 0 s or more, got {start_seconds:g}")
    if duration_seconds is not None and not 0 < duration_seconds < float("inf"):
        raise UsageError(f"expected a duration above 0 s, got {duration_seconds:g}")
    target: str | BinaryIO = str(where) if isinstance(where, (str, Path)) else where
    if target == "-":
        target = sys.stdin.buffer
    opened = open_container(
        target, open_timeout_seconds=open_timeout_seconds, read_timeout_seconds=read_timeout_seconds
    )
    span = Span(
        zero=opened.zero,
        start=Fraction(start_seconds).limit_denominator(10**9),
        seconds=None if duration_seconds is None else Fraction(duration_seconds).limit_denominator(10**9),
        decode_from=0,
    )
    live = isinstance(target, str) and url_scheme(target) in LIVE_SCHEMES
    return MediaSource(opened, span, live=live, read_timeout_seconds=read_timeout_seconds)
