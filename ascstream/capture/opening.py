"""Opens what a child records: a local camera, a network stream, or a file that is played in real time."""

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
"""AVFMT_NOTIMESTAMPS: the timestamps that FFmpeg reports for such a format are made up."""
_STANDARD_SIZES = ((320, 240), (640, 480), (1280, 720), (1920, 1080), (3840, 2160))
"""Sizes that cameras support; at smaller ones, many crop instead of scaling."""
_DEFAULT_SIZE = (640, 480)
_FRAME_RATE = "30"
"""A rate that cameras support at every size; one that slows down in the dark still does."""
_V4L2 = frozenset({"v4l2", "video4linux2", "video4linux2,v4l2"})
_CAMERA_PATHS = ("/dev/video", "/dev/v4l/")

_LIVE_OPTIONS = {"fpsprobesize": "0", "analyzeduration": "2000000"}
"""Probe the stream only until its format is known, without measuring its frame rate, for two seconds at most. The
packets read are kept (no `nobuffer`): they may hold a key frame, so the picture starts up to one GOP earlier."""
_OPTIONS = {
    "rtsp": {"rtsp_transport": "tcp"},
    "rtsps": {"rtsp_transport": "tcp"},
    "udp": {"overrun_nonfatal": "1", "buffer_size": "1048576"},
    "srt": {"latency": "120000"},
}
"""FFmpeg options by URL scheme. udp: an overrun of FFmpeg's 5 MB buffer loses data instead of ending the stream."""


@dataclass(frozen=True, slots=True)
class Medium:
    """An open medium and what kind it is."""

    opened: OpenedContainer
    """The open container."""
    plays: bool
    """Whether it is a recording, which can be read faster than real time, rather than a live stream."""
    stamped: bool
    """Whether it has timestamps of its own."""
    local: bool
    """Whether a driver on this machine stamps it."""


def open_medium(request: MediaRequest) -> Medium:
    """Open the medium that a request names.

    Raises:
        SourceNotFoundError: It does not exist or cannot be reached.
        DecodeError: It has none of the wanted tracks.
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
    """Improve the message if the cause is known, and tell a missing source from one that does not work."""
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
"""FFmpeg reports EIO for an unresolvable host name, among other things."""


def _has_address(url: str) -> bool:
    """Whether the host name of a URL resolves."""
    import socket

    try:
        socket.getaddrinfo(urlsplit(url).hostname, None)
    except (OSError, ValueError):
        return False
    return True


def _open_device(request: MediaRequest, form: str) -> OpenedContainer:
    """Open a local camera in the mode that costs the least work."""
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
"""Errors for which trying another mode is pointless."""


def device_options(form: str, picture: PictureRequest | None) -> Iterator[dict[str, str]]:
    """FFmpeg options for a camera, in the order to try: from the preferred mode to whatever the driver chooses.

    Motion JPEG comes first: USB cameras send it at full rate, and it need not be decoded until a picture is requested.
    """
    width, height = camera_size(picture)
    size, rate = {"video_size": f"{width}x{height}"}, {"framerate": _FRAME_RATE}
    if form in _V4L2:
        # the kernel's timestamps: all current drivers take them from the monotonic clock
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
    """The smallest standard size (width, height) from which the picture can be made without upscaling."""
    if picture is None:
        return _DEFAULT_SIZE
    need_width, need_height = picture.width, picture.height
    if picture.fit == "crop":
        short_side = picture.short_side or max(picture.width, picture.height)
        need_width, need_height = max(short_side, need_width), max(short_side, need_height)
    fitting = (size for size in _STANDARD_SIZES if size[0] >= need_width and size[1] >= need_height)
    return next(fitting, _STANDARD_SIZES[-1])


def explain_device(number: int | None, name: str) -> SourceError:
    """Explain by the system's error number why a camera does not open, or has stopped."""
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
