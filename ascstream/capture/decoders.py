"""Decoding the pictures of a live medium: without delay, on one thread, in hardware where that pays off."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Literal, cast

import av
from av.codec.hwaccel import HWAccel, hwdevices_available

from ascstream.capture.report import Report
from ascstream.sources.container import MAX_PIXELS
from ascstream.sources.packets import Stamped

_HARDWARE = {"darwin": ("videotoolbox",), "win32": ("d3d11va", "cuda")}
_HARDWARE_ELSEWHERE = ("cuda", "vaapi")
"""FFmpeg's names of hardware devices, best first. Trying one that is absent costs a few milliseconds."""
_HARDWARE_CODECS = frozenset({"h264", "hevc", "vp9", "av1"})
_HARDWARE_PIXELS = 1280 * 720
"""Smaller pictures decode faster in software than they copy back from a device, which also takes 100 MB or more."""
_PATIENCE_PACKETS = 50
"""A device that has produced no picture after this many packets is given up."""
_BUSY_SECONDS = 2.0
_BUSY = 0.9
"""A decoder that is busy for more than this fraction of `_BUSY_SECONDS` does not keep up."""
_EASIER: tuple[Literal["DEFAULT", "NONREF", "NONKEY"], ...] = ("DEFAULT", "NONREF", "NONKEY")
"""FFmpeg's `skip_frame` levels: skip nothing; skip non-reference frames; skip all but key frames."""


class Decoder:
    """Decodes the pictures of one stream. Used by one thread at a time."""

    def __init__(
        self, stream: av.VideoStream, report: Report, beside: Sequence[str] = (), *, hardware: bool = True
    ) -> None:
        """Choose between hardware and software.

        Args:
            stream: The stream whose packets will be decoded.
            report: Receives the decoder's name, and a note if it is too slow.
            beside: Further details to report along with the name.
            hardware: Whether a hardware device may decode; one does not report a picture's rotation.
        """
        self._stream = stream
        self._report = report
        self._beside = beside
        self.intra = stream.codec_context.codec.intra_only
        """Whether each packet is a whole picture that can be decoded on its own."""
        self._device = ""
        self._codec = (self._hardware() if hardware else None) or self._software()
        self._n_waiting = 0
        self._works = False
        self._since = time.monotonic()
        self._busy = 0.0
        self._ease = 0
        self._describe()

    def decode(self, packet: Stamped | None) -> list[av.VideoFrame]:
        """Decode a packet; None flushes the decoder at the end.

        Returns:
            The pictures that it completes, without damaged ones.

        Raises:
            av.FFmpegError: It cannot be decoded.
        """
        begin = time.monotonic()
        try:
            frames = self._codec.decode(packet)
        except av.FFmpegError:
            self._wait_for_device()
            raise
        finally:
            self._watch(begin, time.monotonic())
        whole = [frame for frame in frames if not frame.is_corrupt]
        if self._works and len(whole) < len(frames):
            self._report.corrupt("a picture")
        self._works |= bool(whole)
        if not whole:
            self._wait_for_device()
        return whole

    def _software(self) -> av.VideoCodecContext:
        codec = self._stream.codec_context
        # frame threading would add a delay of one picture per thread; one thread is fast enough for a live stream
        codec.thread_type = "SLICE"
        codec.thread_count = 1
        codec.options = {"max_pixels": str(MAX_PIXELS)}
        return codec

    def _hardware(self) -> av.VideoCodecContext | None:
        """A hardware decoder; None if there is none, or if it would not pay off."""
        model = self._stream.codec_context
        if model.name not in _HARDWARE_CODECS or model.width * model.height < _HARDWARE_PIXELS:
            return None
        there = hwdevices_available()
        for device in _HARDWARE.get(sys.platform, _HARDWARE_ELSEWHERE):
            if device not in there:
                continue
            try:
                hwaccel = HWAccel(device, allow_software_fallback=True)
                hwaccel.create(av.Codec(model.name, "r"))  # `CodecContext.create` succeeds even without a device
                codec = cast(av.VideoCodecContext, av.CodecContext.create(model.name, "r", hwaccel=hwaccel))
                codec.extradata = model.extradata
                codec.width, codec.height = model.width, model.height
                codec.options = {"max_pixels": str(MAX_PIXELS)}
                codec.open()
            except (av.FFmpegError, OSError, NotImplementedError, ValueError, RuntimeError):
                continue
            if codec.is_hwaccel:
                self._device = device
                return codec
        return None

    def _wait_for_device(self) -> None:
        """Count a packet that gave no picture, and switch to software if the device has not produced any."""
        self._n_waiting += 1
        if self._device and not self._works and self._n_waiting > _PATIENCE_PACKETS:
            self._device = ""
            self._codec = self._software()
            self._describe()

    def _describe(self) -> None:
        codec = self._stream.codec_context
        words = [codec.name, codec.pix_fmt, f"decoded by {self._device}" if self._device else "", *self._beside]
        self._report.update(details=", ".join(word for word in words if word))

    def _watch(self, begin: float, end: float) -> None:
        """Track the decoder's load, and skip more frames if it does not keep up."""
        self._busy += end - begin
        if end - self._since < _BUSY_SECONDS:
            return
        if self._busy > _BUSY * (end - self._since) and self._ease < len(_EASIER) - 1 and not self.intra:
            self._ease += 1
            self._codec.skip_frame = _EASIER[self._ease]
            self._report.note(
                "slow", "this machine cannot decode all pictures in time and leaves some out; choose a smaller size"
            )
        self._since, self._busy = end, 0.0
