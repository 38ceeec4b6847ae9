"""Opening what a child records: a camera of this machine, a stream of a network, a file that plays in real time."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import av
from av.container import InputContainer

from ascstream.capture.requests import MediaRequest, PictureRequest
from ascstream.errors import DecodeError, SourceError, SourceNotFoundError
from ascstream.sources.container import MAX_PIXELS, OpenedContainer, open_container
from ascstream.sources.inputs import redact, url_scheme

_NO_STAMPS = 0x0080
"""AVFMT_NOTIMESTAMPS: what FFmpeg gives out as stamps is made up."""
_STANDARD_SIZES = ((320, 240), (640, 480), (1280, 720), (1920, 1080), (3840, 2160))
"""What cameras have; below, many cut instead of scaling."""
_DEFAULT_SIZE = (640, 480)
_FRAME_RATE = "30"
"""What cameras have at every size; a slower one in the dark stays slow."""
_V4L2 = frozenset({"v4l2", "video4linux2", "video4linux2,v4l2"})
_CAMERA_PATHS = ("/dev/video", "/dev/v4l/")

_LIVE_OPTIONS = {"fpsprobesize": "0", "analyzeduration": "2000000"}
"""Look at the stream until its form is known, not for its frame rate, and for two seconds at most. What was read for
that is kept (no `nobuffer`): with the key frame in it, the picture begins up to a group of pictures earlier."""
_OPTIONS = {
    "rtsp": {"rtsp_transport": "tcp"},
    "rtsps": {"rtsp_transport": "tcp"},
    "udp": {"overrun_nonfatal": "1", "buffer_size": "1048576"},
    "srt": {"latency": "120000"},
}
"""By scheme. udp: what does not fit into its 5 MB is lost, rather than the end of the stream."""


@dataclass(frozen=True, slots=True)
class Medium:
    """Something open."""

    opened: OpenedContainer
    """Its tracks."""
    plays: bool
    """Whether it is a recording, which is read as fast as it can be, rather than something that comes in real time."""
    stamped: bool
    """Whether it has stamps of its own."""
    local: bool
    """Whether a driver of this machine stamps it."""


def open_medium(request: MediaRequest) -> Medium:
    """Open what a request names.

    Raises:
        SourceNotFoundError: There is no such thing, or nobody there.
        DecodeError: It has not what is wanted.
        SourceError: It cannot be opened.
    """
    form = request.format or ("v4l2" if request.where.startswith(_CAMERA_PATHS) else None)
    if form is not None:
        opened = _open_device(request, form)
        medium = Medium(opened, plays=False, stamped=True, local=True)
    else:
        medium = _open_stream(request)
    wanted = [request.sound and medium.opened.audio, request.picture is not None and medium.opened.video]
    if not any(wanted):
        missing = "sound" if request.sound and request.picture is None else "picture"
        if request.sound and request.picture is not None:
            missing = "sound or picture"
        medium.opened.close()
        raise DecodeError(f"no {missing} in {medium.opened.name}; give another source, or none")
    return medium


def _open_stream(request: MediaRequest) -> Medium:
    if request.where == "-":
        raise SourceError("standard input cannot be watched live; give a device, a URL or a file")
    scheme = url_scheme(request.where)
    network = scheme not in (None, "file")
    try:
        opened = open_container(
            request.where,
            open_timeout_seconds=request.open_seconds,
            read_timeout_seconds=request.read_seconds,
            options=_LIVE_OPTIONS | _OPTIONS.get(scheme or "", {}) if network else None,
        )
    except SourceError as error:
        raise _explain_network(error, redact(request.where), scheme or "") from error
    plays = scheme in ("http", "https") and opened.seconds is not None if network else opened.seekable
    stamped = not opened.container.format.flags & _NO_STAMPS or plays
    return Medium(opened, plays, stamped, local=False)


def _explain_network(error: SourceError, name: str, scheme: str) -> SourceError:
    """Say better what is known of the cause, and tell what is not there from what does not work."""
    cause = error.__cause__
    if isinstance(cause, av.error.ConnectionRefusedError):
        return SourceNotFoundError(str(error))
    if isinstance(cause, av.error.ProtocolNotFoundError):
        return SourceError(f"cannot open {name}: the FFmpeg of PyAV {av.__version__} has no {scheme}; give rtsp or udp")
    if isinstance(cause, av.FFmpegError) and cause.errno == errno.EIO and _has_address(name):
        return SourceError(f"{name} answers, but with nothing that FFmpeg can play; give the address of a stream")
    if isinstance(cause, av.FFmpegError) and cause.errno in _UNREACHABLE:
        return SourceNotFoundError(f"cannot reach {name}; check the host's name and the network")
    return error


_UNREACHABLE = frozenset({errno.EIO, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL})
"""EIO is what FFmpeg says of a host without an address, among others."""


def _has_address(url: str) -> bool:
    """Whether the host of an address is known."""
    import socket

    try:
        socket.getaddrinfo(urlsplit(url).hostname, None)
    except (OSError, ValueError):
        return False
    return True


def _open_device(request: MediaRequest, form: str) -> OpenedContainer:
    """A camera of this machine, in the form that is the least work."""
    name = redact(request.where)
    if form not in av.formats_available and not (form in _V4L2 and "video4linux2,v4l2" in av.formats_available):
        raise SourceError(f"cannot open {name}: the FFmpeg of PyAV {av.__version__} has no {form} here")
    problem: av.FFmpegError | None = None
    for options in device_options(form, request.picture):
        try:
            container = av.open(request.where, format=form, options={**options, "max_pixels": str(MAX_PIXELS)})
        except av.FFmpegError as error:
            problem = error
            if error.errno in _FINAL or (form in _V4L2 and not Path(request.where).exists()):
                break
            continue
        return _checked(container, name)
    raise explain_device(problem.errno if problem is not None else 0, name) from problem


def _checked(container: InputContainer, name: str) -> OpenedContainer:
    opened = OpenedContainer(container, name, None, b"")
    if opened.audio is None and opened.video is None:
        opened.close()
        raise DecodeError(f"{name} has neither a sound nor a picture track that can be decoded")
    return opened


_FINAL = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EBUSY, errno.EACCES, errno.EPERM, errno.ENOTTY})
"""Errors that no other form of the picture would help against."""


def device_options(form: str, picture: PictureRequest | None) -> Iterator[dict[str, str]]:
    """FFmpeg's options for a camera, to be tried in this order: from what is wanted to what its driver chooses.

    Motion JPEG first: it is what USB cameras send at full rate, and what need not be decoded until it is asked for.
    """
    width, height = camera_size(picture)
    size, rate = {"video_size": f"{width}x{height}"}, {"framerate": _FRAME_RATE}
    if form in _V4L2:
        # the kernel's own stamps, by the monotonic clock in every driver of today
        stamps = {"timestamps": "default"}
        yield {"input_format": "mjpeg", **size, **rate, **stamps}
        yield {**size, **rate, **stamps}
        yield {**size, **stamps}
        yield stamps
        return
    if form == "dshow":
        yield {"vcodec": "mjpeg", **size, **rate}
    yield {**size, **rate}
    yield rate
    yield {}


def camera_size(picture: PictureRequest | None) -> tuple[int, int]:
    """The smallest standard size, width and height, from which a picture can be made without enlarging it."""
    if picture is None:
        return _DEFAULT_SIZE
    need_width, need_height = picture.width, picture.height
    if picture.fit == "crop":
        short_side = picture.short_side or max(picture.width, picture.height)
        need_width, need_height = max(short_side, need_width), max(short_side, need_height)
    fitting = (size for size in _STANDARD_SIZES if size[0] >= need_width and size[1] >= need_height)
    return next(fitting, _STANDARD_SIZES[-1])


def explain_device(number: int | None, name: str) -> SourceError:
    """Say why a camera does not open, or gives no more, going by the system's error number."""
    if number in (errno.ENOENT, errno.ENXIO):
        return SourceNotFoundError(f"no such camera: {name}; type: ascstream devices")
    if number == errno.ENODEV:
        return SourceNotFoundError(f"{name} is no camera, or was unplugged; type: ascstream devices")
    if number == errno.ENOTTY:
        return SourceError(f"{name} is no camera; type: ascstream devices")
    if number == errno.EBUSY:
        return SourceError(f"{name} is in use by another program; end that first (type: fuser {name})")
    if number in (errno.EACCES, errno.EPERM):
        return SourceError(f"no permission to use {name}; type: sudo usermod -aG video $USER, and log in again")
    return SourceError(f"{name} does not work as a camera; unplug it and plug it in again, or type: ascstream devices")
