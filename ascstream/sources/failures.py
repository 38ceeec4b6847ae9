"""Plain sentences for what goes wrong with a medium, without FFmpeg's own messages, which may reveal secrets."""

from __future__ import annotations

import av

from ascstream.errors import DecodeError, SourceError, SourceNotFoundError


def explain_opening(head: bytes, name: str, *, pipe: bool) -> DecodeError:
    """Explain by its first bytes why local input is not media."""
    if not head:
        return DecodeError(f"{name} is empty (0 bytes); check the command that feeds it")
    if head[4:8] == b"ftyp" and pipe:
        return DecodeError(
            f"{name} is an MP4 whose index (moov) is not at its beginning, and a pipe cannot go back for it; give the "
            "file's path, or remux it first: ffmpeg -i IN.mp4 -c copy -movflags +faststart OUT.mp4"
        )
    if head[4:8] == b"ftyp":
        return DecodeError(
            f"{name} is an incomplete MP4: its index (moov) is missing, as when a recording or a copy was broken off; "
            "record or copy it again"
        )
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith((b"#EXTM3U", b"ffconcat", b"v=0")):
        return DecodeError(f"{name} is a playlist, which is not followed; give the media files that it names")
    return DecodeError(f"{name} is not media that FFmpeg can read; expected sound or video such as .wav or .mp4")


def explain(error: Exception, name: str, *, timeout_seconds: float) -> SourceError:
    """Explain why a URL cannot be opened."""
    if isinstance(error, (av.error.ExitError, av.error.TimeoutError)):
        return SourceError(f"{name} did not answer within {timeout_seconds:g} s; check the address and the network")
    if isinstance(error, (av.error.HTTPNotFoundError, av.error.FileNotFoundError)):
        return SourceNotFoundError(f"there is nothing at {name}; check the address")
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError, av.error.PermissionError)):
        return SourceError(f"no permission to read {name}; check user name, password and rights")
    if isinstance(error, av.error.ConnectionRefusedError):
        return SourceError(f"{name} refused the connection; check that the server runs and the port is right")
    if isinstance(error, av.error.InvalidDataError) or not isinstance(error, av.FFmpegError):
        return DecodeError(f"{name} is not media that FFmpeg can read, or is damaged")
    return SourceError(f"cannot read {name}: {error.strerror or type(error).__name__}")


def explain_reading(error: av.FFmpegError, name: str, decoded: float, *, timeout_seconds: float) -> SourceError:
    """Explain why reading broke off after `decoded` seconds."""
    if isinstance(error, (av.error.ExitError, av.error.TimeoutError)):
        return SourceError(
            f"{name} gave nothing more for {timeout_seconds:g} s, after {decoded:.1f} s; check the network"
        )
    return DecodeError(
        f"{name} breaks off: decoded {decoded:.1f} s, then {_lower(error.strerror)}; what came before is kept"
    )


def _lower(reason: str | None) -> str:
    return (reason or "an error")[:1].lower() + (reason or "an error")[1:]


def ends_early(name: str, decoded: float, announced: float) -> DecodeError:
    """Report that a medium stops before its announced end."""
    return DecodeError(
        f"{name} ends early: decoded {decoded:.1f} of {announced:.1f} s; what came before is kept, the rest is missing "
        "or damaged: copy or record it again"
    )
