"""The newest pictures of a medium, and the answers to questions: scaled, and if possible decoded, only then."""

from __future__ import annotations

from bisect import insort
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from threading import Lock
from typing import TypeAlias

import av

from ascstream.capture.decoders import Decoder
from ascstream.capture.messages import Picture, Seen
from ascstream.capture.report import Report
from ascstream.capture.requests import PictureRequest
from ascstream.records import Image
from ascstream.sources.base import FrameSchedule, VideoWants
from ascstream.sources.picture import PictureMaker

_MOST_KEPT, _MOST_BYTES = 64, 64 << 20
_MOST_SECONDS = 1.0
"""Questions are about younger moments."""
_SEEN_SECONDS = 0.1
"""How often it is said that pictures come; a little less, so that ten a second are all told."""
_TRIAL_SECONDS = 0.2
"""How often packets are tried while they cannot be decoded."""
_NO_SCHEDULE = FrameSchedule(Fraction(1), (), 1.0)

Raw: TypeAlias = "av.Packet[av.VideoStream] | av.VideoFrame"
"""A picture as it is kept: undecoded where it stands alone."""


@dataclass(order=True, frozen=True, slots=True)
class _Kept:
    """A picture that may be asked for."""

    stamp: float
    """Its moment."""
    number: int
    """Counts them."""
    raw: Raw = field(compare=False)
    """It."""
    size: int = field(compare=False)
    """Bytes it takes."""


class Frames:
    """Keeps pictures, says that they come, and answers. One thread adds, another one asks."""

    def __init__(self, wanted: PictureRequest, decoder: Decoder, pixel_aspect: Fraction, report: Report) -> None:
        """Start with none.

        Args:
            wanted: The form of the answers.
            decoder: Decodes what is kept undecoded; used by nobody else then.
            pixel_aspect: Width by height of one pixel.
            report: Told what comes, and what cannot be decoded.
        """
        self._maker = PictureMaker(VideoWants(**asdict(wanted), schedule=_NO_SCHEDULE))
        self._decoder = decoder
        self._decoding = Lock()
        self._aspect = pixel_aspect
        self._report = report
        self._kept: list[_Kept] = []
        self._size = 0
        self._keeping = Lock()
        self._n_added = 0
        self._n_unseen = 0
        self._seen = float("-inf")
        self._sent: int | None = None
        self._asked = float("-inf")
        self._good = False
        self._tried = float("-inf")

    def add(self, raw: Raw, stamp: float, now: float) -> None:
        """Keep a picture.

        Args:
            raw: As a packet or decoded.
            stamp: Its moment.
            now: The present moment.
        """
        if isinstance(raw, av.VideoFrame):
            self._tell_size(raw)
            size = sum(plane.buffer_size for plane in raw.planes)
        else:
            size = raw.size
            if not self._good and not self._try(raw, now):
                return
        with self._keeping:
            insort(self._kept, _Kept(stamp, self._n_added, raw, size))
            self._n_added += 1
            self._size += size
            self._forget(max(self._asked, now - _MOST_SECONDS))
        self._n_unseen += 1
        if now - self._seen >= 0.9 * _SEEN_SECONDS:
            self._report.put(Seen(stamp, self._n_unseen))
            self._seen, self._n_unseen = now, 0

    def answer(self, moment: float) -> Picture:
        """The newest picture stamped at or before a moment; those that cannot be decoded are passed over."""
        self._asked = max(self._asked, moment)
        while True:
            with self._keeping:
                place = next((n for n in range(len(self._kept) - 1, -1, -1) if self._kept[n].stamp <= moment), None)
                if place is None:
                    return Picture(moment, None, None)
                kept = self._kept[place]
            if kept.number == self._sent:
                return Picture(moment, kept.stamp, None)
            image = self._make(kept.raw)
            if image is not None:
                self._sent = kept.number
                return Picture(moment, kept.stamp, image)
            with self._keeping:
                if kept in self._kept:
                    self._kept.remove(kept)
                    self._size -= kept.size

    def _forget(self, before: float) -> None:
        """Let go of what no question can be about any more: all but the newest up to a moment, and what is too much."""
        while len(self._kept) > 1 and (
            self._kept[1].stamp <= before or len(self._kept) > _MOST_KEPT or self._size > _MOST_BYTES
        ):
            self._size -= self._kept.pop(0).size

    def _make(self, raw: Raw) -> Image | None:
        """The wanted picture; None where it cannot be made."""
        frame = raw if isinstance(raw, av.VideoFrame) else self._decode(raw)
        if frame is None:
            return None
        try:
            return self._maker.make(frame, self._aspect)
        except (av.FFmpegError, ValueError):
            self._report.corrupt("a picture")
            return None

    def _decode(self, packet: av.Packet[av.VideoStream]) -> av.VideoFrame | None:
        """A picture that stands alone; None, counted, where it is damaged: pictures then count only if one is whole."""
        with self._decoding:
            try:
                frames = self._decoder.decode(packet)
            except av.FFmpegError:
                frames = []
        if not frames:
            self._good = False
            self._report.corrupt("a picture")
            return None
        self._tell_size(frames[-1])
        return frames[-1]

    def _try(self, packet: av.Packet[av.VideoStream], now: float) -> bool:
        """Whether pictures can be decoded again: a camera that sends rubbish is one that sends nothing."""
        if now - self._tried < _TRIAL_SECONDS:
            return False
        self._tried = now
        self._good = self._decode(packet) is not None
        return self._good

    def _tell_size(self, frame: av.VideoFrame) -> None:
        self._report.update(width=frame.width, height=frame.height)
