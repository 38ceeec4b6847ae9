"""Opens containers: what may be read from where, which streams are used, where to begin. Errors: failures.py."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

import av
from av.container import InputContainer
from av.stream import Disposition

from ascstream.errors import DecodeError, SourceError, SourceNotFoundError
from ascstream.sources.failures import explain, explain_opening, explain_reading
from ascstream.sources.inputs import redact, url_scheme
from ascstream.sources.pipe import PipeReader
from ascstream.sources.riff import HEAD_BYTES, announced_seconds

LIVE_SCHEMES = frozenset({"rtsp", "rtsps", "rtp", "udp", "srt", "rtmp", "rtmps"})
"""URL schemes of sources that deliver in real time."""
_NETWORK_SCHEMES = LIVE_SCHEMES | {"http", "https", "tcp", "tls"}
_NETWORK_PROTOCOLS = "http,https,httpproxy,tcp,tls,udp,rtp,rtmp,rtmps,srt,crypto,data"
"""What a network input may open: never a local file."""
_LOCAL_PROTOCOLS = "file,pipe,fd"
"""What a local input may open: never the network."""
_REFERRING_FORMATS = frozenset("concat concatf dash hls imf lavfi rtsp sap sdp webm_dash_manifest".split())  # noqa: SIM905
"""Local files of these formats may refer to any other file or address, so they are refused."""
_LISTENING_FORMATS = frozenset({"concat", "concatf", "imf", "lavfi", "sap", "sdp"})
"""Refused from the network: SDP and SAP would open a listening port, the others read files."""
_UNSTAMPED_FORMATS = frozenset("aac ac3 amr dts eac3 loas mp3 truehd".split())  # noqa: SIM905
"""Formats without timestamps of their own: after a seek, their times are guesses."""
_PREROLL_SECONDS = 1
"""Decoding begins this long before the start, since filters and codecs need preceding samples."""
_SEEK_MARGIN_SECONDS = Fraction(1, 2)
"""Extra margin for a seek: matching sound may lie some way from the key frame that a seek finds."""
_TRANSPORT_STREAM_MARGIN_SECONDS = Fraction(12)
"""The same for MPEG transport streams, where a seek finds any frame, not necessarily a key frame."""
_LENIENT: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
"""Before version 19, PyAV rejects a file with a non-UTF-8 title unless given this option, which 19 removed."""
_FIRST_BYTES = 64
"""Enough to tell file types apart, and soon available even from a slow pipe."""
_WAV_PROBE_BYTES = 1 << 16
"""By default FFmpeg searches the first 400 kB of a WAV for DTS, which takes seconds from a pipe fed in real time."""
MAX_PIXELS = 8192 * 4352
"""Cinema 8K. Without a limit, a file of a few bytes could announce a picture that exhausts memory."""
_DURATION_TAG = re.compile(r"(\d{1,6}):([0-5]\d):([0-5]\d(?:\.\d{1,9})?)", re.ASCII)
"""Matroska's duration tag, 00:00:20.021000000, counted from the container's time 0."""
_EXACT_LENGTHS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flac"})
"""Formats whose announced length is exact, not estimated from the file's size."""


class OpenedContainer:
    """An open container with the sound track and the picture track in use."""

    def __init__(self, container: InputContainer, name: str, pipe: PipeReader | None, head: bytes) -> None:
        self.container = container
        self.name = name
        self._head = head
        self.audio = _pick_audio(container)
        self.video = _pick_video(container)
        self._pipe = pipe

    @property
    def zero(self) -> Fraction:
        """Container time at which the earlier of the two tracks begins."""
        return min(
            (
                stream.start_time * (stream.time_base or Fraction(1, 1000))
                for stream in (self.audio, self.video)
                if stream is not None and stream.start_time is not None
            ),
            default=Fraction(0),
        )

    @property
    def seconds(self) -> Fraction | None:
        """The medium's length, if the container gives it."""
        length = self.container.duration
        return None if length is None or length <= 0 else Fraction(length, av.time_base)

    def announced_end(self, stream: av.AudioStream | av.VideoStream) -> Fraction | None:
        """Medium time at which a track ends according to the container; None if not given, or only estimated."""
        if self.container.format.name == "wav":
            return announced_seconds(self._head)
        if self.container.format.name not in _EXACT_LENGTHS:
            return None
        begin = (stream.start_time or 0) * (stream.time_base or Fraction(0)) - self.zero
        if stream.duration is not None and stream.time_base is not None:
            return begin + stream.duration * stream.time_base
        tagged = _DURATION_TAG.match(stream.metadata.get("DURATION", ""))
        if tagged is not None:
            hours, minutes, seconds = (Fraction(part) for part in tagged.groups())
            return 3600 * hours + 60 * minutes + seconds - self.zero
        return self.seconds if len(self.container.streams) == 1 else None

    def seek(self, start: Fraction) -> int:
        """Seek to a place from which `start` can be decoded.

        Args:
            start: Wanted medium time.

        Returns:
            Medium time at which decoding begins: a whole second, 0 if seeking is impossible or pointless.
        """
        begin = math.floor(start) - _PREROLL_SECONDS
        stream = self.video if self.video is not None and self.video.discard != av.stream.Discard.all else self.audio
        if begin <= 0 or stream is None or stream.time_base is None or not self._can_seek():
            return 0
        transport = self.container.format.name == "mpegts" and stream is self.video
        margin = _TRANSPORT_STREAM_MARGIN_SECONDS if transport else _SEEK_MARGIN_SECONDS
        target = self.zero + max(begin - margin, Fraction(0))
        try:
            self.container.seek(math.floor(target / stream.time_base), stream=stream)
        except (av.FFmpegError, OverflowError):  # OverflowError: too large for a timestamp
            return 0
        return begin

    def _can_seek(self) -> bool:
        unstamped = not _UNSTAMPED_FORMATS.isdisjoint(self.container.format.name.split(","))
        return not unstamped and self.seekable

    @property
    def seekable(self) -> bool:
        """Whether the input can be read again, unlike a pipe or a device."""
        return self._pipe is None or self._pipe.seekable()

    def explain_reading(self, error: av.FFmpegError, decoded: float, *, timeout_seconds: float) -> SourceError:
        """Explain why reading broke off after `decoded` seconds."""
        if self._pipe is not None and decoded == 0:
            return explain_opening(self._head, self.name, pipe=True)
        return explain_reading(error, self.name, decoded, timeout_seconds=timeout_seconds)

    def close(self) -> None:
        """Release the container; may be called twice."""
        try:
            self.container.close()
        finally:
            if self._pipe is not None:
                self._pipe.close()

    def raise_interrupt(self) -> None:
        """Raise the exception that interrupted reading from a pipe, if any."""
        if self._pipe is not None:
            self._pipe.raise_interrupt()


def _pick_audio(container: InputContainer) -> av.AudioStream | None:
    best = container.streams.best("audio")
    if isinstance(best, av.AudioStream) and best.codec_context is not None:
        return best
    return next((stream for stream in container.streams.audio if stream.codec_context is not None), None)


def _pick_video(container: InputContainer) -> av.VideoStream | None:
    """The default picture track, else the largest; cover art and thumbnails do not count."""
    stills = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    tracks = [s for s in container.streams.video if s.codec_context is not None and not s.disposition & stills]
    return max(tracks, key=lambda s: (bool(s.disposition & Disposition.default), s.width * s.height), default=None)


def open_container(
    where: str | BinaryIO,
    *,
    open_timeout_seconds: float,
    read_timeout_seconds: float,
    options: Mapping[str, str] | None = None,
) -> OpenedContainer:
    """Open a path, a URL, or a binary file object.

    Args:
        where: What to open.
        open_timeout_seconds: Time limit for a URL to answer.
        read_timeout_seconds: Time limit for each read from a URL.
        options: Further FFmpeg options; they cannot override the restrictions on inputs made here.

    Raises:
        SourceNotFoundError: It does not exist.
        DecodeError: It is not media, or has neither sound nor picture.
        SourceError: It cannot be read.
    """
    pipe: PipeReader | None = None
    if isinstance(where, str) and url_scheme(where) == "file":
        where = unquote(urlsplit(where).path)
    scheme = url_scheme(where) if isinstance(where, str) else None
    name = redact(where) if isinstance(where, str) else "standard input"
    limits = {**(options or {}), "max_pixels": str(MAX_PIXELS)}
    chosen = limits | {"protocol_whitelist": _LOCAL_PROTOCOLS, "format_whitelist": _formats_but(_REFERRING_FORMATS)}
    timeout: tuple[float, float] | None = None
    target: str | PipeReader
    head = b""
    if scheme is not None:
        if scheme not in _NETWORK_SCHEMES:
            known = ", ".join(sorted(_NETWORK_SCHEMES))
            raise SourceError(f"cannot open {name}: {scheme}:// is not supported; expected a file or one of {known}")
        formats = _formats_but(_LISTENING_FORMATS)
        chosen = limits | {"protocol_whitelist": _NETWORK_PROTOCOLS, "format_whitelist": formats}
        timeout = (open_timeout_seconds, read_timeout_seconds)
        target = str(where)
    elif isinstance(where, str) and _is_plain(Path(where), name):
        head = _read_head(Path(where))
        target = f"file:{where}"
    else:
        # includes named pipes and devices: if FFmpeg read them itself, no signal could interrupt the wait
        target = pipe = PipeReader(where) if not isinstance(where, str) else PipeReader.open(Path(where), name)
        head = pipe.peek(_FIRST_BYTES)
        if head[:4] in (b"RIFF", b"RF64"):
            head = pipe.peek(HEAD_BYTES)
            chosen["probesize"] = str(_WAV_PROBE_BYTES)
    try:
        container = av.open(target, "r", options=chosen, timeout=timeout, buffer_size=1 << 17, **_LENIENT)
    except (av.FFmpegError, ValueError) as error:
        if pipe is not None:
            pipe.close()
            pipe.raise_interrupt()
            raise explain_opening(head, name, pipe=True) from error
        if scheme is None:
            raise explain_opening(head, name, pipe=False) from error
        raise explain(error, name, timeout_seconds=open_timeout_seconds) from error
    opened = OpenedContainer(container, name, pipe, head)
    if opened.audio is None and opened.video is None:
        opened.close()
        raise DecodeError(f"{name} has neither a sound nor a picture track that can be decoded")
    return opened


def _formats_but(refused: frozenset[str]) -> str:
    return ",".join(sorted(name for name in av.formats_available if name not in refused))


def _is_plain(path: Path, name: str) -> bool:
    """Whether a path is a plain file, not a pipe or a device; raises SourceError if it cannot be read."""
    try:
        if path.is_dir():
            raise DecodeError(f"{name} is a folder; expected a media file")
        if not path.exists():
            raise SourceNotFoundError(f"no such file: {name}; check the path")
        if path.is_file() and path.stat().st_size == 0:
            raise DecodeError(f"{name} is empty (0 bytes); record or copy it again")
        if path.is_file():
            path.open("rb").close()
            return True
    except SourceError:
        raise
    except PermissionError as error:
        raise SourceError(f"no permission to read {name}; change its rights with chmod, or copy it") from error
    except OSError as error:
        raise SourceError(f"cannot read {name}: {error.strerror}") from error
    return False


def _read_head(path: Path) -> bytes:
    """The first bytes of a plain file."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)
