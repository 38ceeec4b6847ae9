"""Runs inside a child: records a camera, a network stream, or a file in real time. For microphones: microphone.py."""

from __future__ import annotations

from ascstream.capture.child import Outbox, watch_stdin
from ascstream.capture.film import play
from ascstream.capture.follow import follow
from ascstream.capture.frames import Frames
from ascstream.capture.messages import Failed, Picture
from ascstream.capture.opening import open_medium
from ascstream.capture.requests import MediaRequest
from ascstream.capture.tracks import Tracks
from ascstream.errors import SourceError, SourceNotFoundError


def record(request: MediaRequest, outbox: Outbox) -> None:
    """Record until the medium ends, which is reported as `Failed`, or until this process is ended."""
    desk = _Desk(outbox)
    watch_stdin(desk.ask)
    try:
        medium = open_medium(request)
        tracks = Tracks(request, medium, outbox)
        desk.frames = tracks.frames
        if medium.plays:
            play(request, medium, tracks)
        else:
            follow(request, medium, tracks)
    except SourceError as error:
        outbox.put(Failed(str(error), missing=isinstance(error, SourceNotFoundError)))


class _Desk:
    """Receives the parent's requests for pictures, even before there are any."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.frames: Frames | None = None

    def ask(self, moment: float) -> None:
        frames = self.frames
        self._outbox.put(Picture(moment, None, None) if frames is None else frames.answer(moment))
