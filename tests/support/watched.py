"""A recording child under test: what it said, and when."""

from __future__ import annotations

import time
from typing import TypeVar

from support.waiting import until

from ascstream.capture.messages import Failed, Message, Picture
from ascstream.capture.recorder import Recorder
from ascstream.capture.requests import PictureRequest, Request
from ascstream.records import Image

SMALL = PictureRequest(160, 120, "squash", None, "area")
"""A picture that keeps the shape of 640 × 480."""

Kind = TypeVar("Kind", bound=Message)


class Watched:
    """A child that records; everything it says is kept."""

    def __init__(self, request: Request) -> None:
        self.said: list[tuple[float, Message]] = []
        """Each message, after the moment at which it came."""
        self.recorder = Recorder(request, lambda message: self.said.append((time.monotonic(), message)))

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *exc: object) -> None:
        self.recorder.close(10)

    def all(self, kind: type[Kind], since: float = float("-inf")) -> list[Kind]:
        """What it said of a kind, from a moment on."""
        return [message for came, message in list(self.said) if isinstance(message, kind) and came >= since]

    def wait_for(self, kind: type[Kind], count: int = 1, *, since: float = float("-inf")) -> list[Kind]:
        """Wait until it has said so much of a kind from a moment on."""
        until(lambda: len(self.all(kind, since)) >= count or self.all(Failed))
        found = self.all(kind, since)
        assert len(found) >= count, self.all(Failed)
        return found

    def ask(self, moment: float | None = None) -> Picture:
        """Ask for the picture of a moment, the present one by default, and wait for the answer."""
        moment = round(time.monotonic() if moment is None else moment, 6)
        self.recorder.ask(moment)
        until(lambda: any(picture.moment == moment for picture in self.all(Picture)) or self.all(Failed))
        return next(picture for picture in self.all(Picture) if picture.moment == moment)

    def watch(self, seconds: float, rate: float = 60.0) -> None:
        """Ask for pictures at this rate for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.recorder.ask(time.monotonic())
            time.sleep(1 / rate)

    @property
    def shown(self) -> list[tuple[float, Image]]:
        """Stamps and images of the pictures that it sent."""
        pictures = self.all(Picture)
        return [(p.stamp, p.image) for p in pictures if p.image is not None and p.stamp is not None]
