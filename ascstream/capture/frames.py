"""Keeps a medium's newest pictures and answers requests for one; only then is it scaled and, if possible, decoded."""

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
"""Requests are never about a time further back than this."""
_SEEN_SECONDS = 0.1
"""Interval of `Seen` messages; 10 % less in practice, so that at ten pictures a second each one is reported."""
_TRIAL_SECONDS = 0.2
"""Interval at which decoding is retried while packets cannot be decoded."""
_NO_SCHEDULE = FrameSchedule(Fraction(1), (), 1.0)

Raw: TypeAlias = "av.Packet[av.VideoStream] | av.VideoFrame"
"""A picture as it is kept: as a packet if it can be decoded on its own, else decoded."""


@dataclass(order=True, frozen=True, slots=True)
class _Kept:
    """A picture that may be requested."""

    stamp: float
    """When it was seen, by `time.monotonic`."""
    number: int
    """Running number of the picture."""
    raw: Raw = field(compare=False)
    """The picture itself."""
    size: int = field(compare=False)
    """Its size in bytes."""


class Frames:
    """Keeps pictures, reports that they come, and answers requests. One thread calls `add`, another one `answer`."""

    def __init__(self, wanted: PictureRequest, decoder: Decoder, pixel_aspect: Fraction, report: Report) -> None:
        """Start without pictures.

        Args:
            wanted: The form of the answers.
            decoder: Decodes packets that are kept undecoded; nobody else may use it in that case.
            pixel_aspect: Width of a pixel divided by its height.
            report: Told of pictures that come and of those that cannot be decoded.
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
            raw: The picture, as a packet or decoded.
            stamp: When it was seen, by `time.monotonic`.
            now: The current time.
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
        """The newest picture stamped at or before `moment`, skipping any that cannot be decoded."""
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
        """Drop pictures that no request can need: older than the newest one at `before`, or beyond the size limits."""
        while len(self._kept) > 1 and (
            self._kept[1].stamp <= before or len(self._kept) > _MOST_KEPT or self._size > _MOST_BYTES
        ):
            self._size -= self._kept.pop(0).size

    def _make(self, raw: Raw) -> Image | None:
        """The picture in the wanted form; None if it cannot be decoded or scaled."""
        frame = raw if isinstance(raw, av.VideoFrame) else self._decode(raw)
        if frame is None:
            return None
        try:
            return self._maker.make(frame, self._aspect)
        except (av.FFmpegError, ValueError):
            self._report.corrupt("a picture")
            return None

    def _decode(self, packet: av.Packet[av.VideoStream]) -> av.VideoFrame | None:
        """Decode a packet on its own; None (reported) if damaged, after which `add` waits for one that decodes."""
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
        """Whether pictures can be decoded again; a camera that sends garbage counts as one that sends nothing."""
        if now - self._tried < _TRIAL_SECONDS:
            return False
        self._tried = now
        self._good = self._decode(packet) is not None
        return self._good

    def _tell_size(self, frame: av.VideoFrame) -> None:
        self._report.update(width=frame.width, height=frame.height)
