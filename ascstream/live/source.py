"""A live stream as a source: a microphone, a camera, or one source of both, kept alive. flow.py runs it."""

from __future__ import annotations

import random as random_numbers
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from ascstream.capture.messages import Message
from ascstream.capture.requests import MediaRequest, MicrophoneRequest, PictureRequest, Request
from ascstream.errors import DecodeError, UsageError
from ascstream.live.clock import Clock
from ascstream.live.flow import Flow, Member
from ascstream.live.health import Device, Health
from ascstream.live.inbox import Inbox
from ascstream.live.presence import Presence, Watch, presence_of
from ascstream.live.supervised import RecorderLike
from ascstream.live.supervisor import Kind, Supervisor
from ascstream.records import StreamItem
from ascstream.sources.base import SourceInfo, VideoWants, Wants
from ascstream.sources.inputs import redact

__all__ = ["LiveSource", "open_live"]

Starter: TypeAlias = Callable[[Request, Callable[[Message], None]], RecorderLike]
"""Starts a recorder for a request; the recorder passes its messages to the given function."""
Finder: TypeAlias = Callable[[Request], Presence | None]
"""Returns how to check the presence of a request's device."""

EARLIEST_CAMERA_SECONDS, LATEST_CAMERA_SECONDS = -2.0, 0.4
"""Limits of the camera delay: windows wait half a second for a picture, so a later camera would never be seen."""
_CLOSE_SECONDS = 1.0
"""Time the thread that takes the items gets to notice that the stream is closed."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A device that was asked for."""

    device: Device
    """The device's role."""
    request: Request
    """What to record; `_join` adds the sound and picture the bundle wants."""

    @property
    def hears(self) -> bool:
        """Whether it has sound."""
        return self.device != "camera"

    @property
    def sees(self) -> bool:
        """Whether it has pictures."""
        return self.device != "microphone"

    @property
    def name(self) -> str:
        """Name for display."""
        if isinstance(self.request, MediaRequest):
            return redact(self.request.where)
        if self.request.portaudio_index is not None:
            return f"pa:{self.request.portaudio_index}"
        return self.request.name or "default microphone"


class LiveSource:
    """Devices that deliver in real time; they may come and go while the stream goes on. Create one with `open_live`."""

    def __init__(
        self,
        parts: Sequence[_Part],
        *,
        camera_delay_seconds: float,
        wait: bool,
        clock: Clock,
        start: Starter | None,
        find: Finder,
        pause: Callable[[float], None] | None,
        random: Callable[[], float],
    ) -> None:
        self._parts = tuple(parts)
        self._camera_delay = camera_delay_seconds
        self._wait = wait
        self._clock = clock
        self._start = start
        self._find = find
        self._inbox = Inbox()
        self._pause = pause or self._inbox.wait
        self._random = random
        self._supervisors: list[Supervisor] = []
        self._flow: Flow | None = None
        self._items: Generator[StreamItem, None, None] | None = None
        self._closing = threading.Lock()
        self._closed = False

    @property
    def info(self) -> SourceInfo:
        """What was asked for; the names are those given, and do not change."""
        return SourceInfo(
            name=" + ".join(part.name for part in self._parts),
            has_audio=any(part.hears for part in self._parts),
            has_video=any(part.sees for part in self._parts),
            duration_seconds=None,
            live=True,
        )

    def items(self, wants: Wants) -> Generator[StreamItem, None, None]:
        """Open the devices and yield what they deliver, until `stop`.

        Blocks come in real time and without holes. Stream second 0 is when every device has delivered.

        Raises:
            DecodeError: The bundle wants nothing that the devices deliver; or the first sound is mono, which the bundle
                refuses, and `wait` is off.
            SourceError: A device did not deliver within 5 s, and `wait` is off.
        """
        if self._items is not None or self._closed:
            raise RuntimeError("a source gives its items once; open it again")
        self._items = self._run(wants)
        return self._items

    def health(self) -> Health:
        """The devices' current health; callable from any thread."""
        return Health(()) if self._flow is None else self._flow.health

    def to_monotonic(self, stream_seconds: float) -> float:
        """Convert stream seconds to a moment; callable from any thread."""
        timeline = None if self._flow is None else self._flow.timeline
        return self._clock.monotonic() if timeline is None else timeline.to_moment(stream_seconds)

    def reopen(self) -> None:
        """Close and reopen every device; callable from any thread or a signal handler."""
        self._inbox.reopening = True
        self._inbox.ring()

    def stop(self) -> None:
        """Make `items` end within 0.1 s; callable from any thread or a signal handler."""
        self._inbox.stopping = True
        self._inbox.ring()

    def close(self) -> None:
        """End the stream and release the devices: no process, thread or pipe is left. May be called twice."""
        self.stop()
        with self._closing:
            self._closed = True
            self._end_items()
            for supervisor in self._supervisors:
                supervisor.kill()
            for supervisor in self._supervisors:
                supervisor.close()

    def __enter__(self) -> LiveSource:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _end_items(self) -> None:
        """Close the items generator, which another thread may be running."""
        deadline = time.monotonic() + _CLOSE_SECONDS
        while self._items is not None:
            try:
                self._items.close()
            except ValueError:  # another thread is inside the generator, and leaves it soon because it was stopped
                if time.monotonic() > deadline:
                    return
                time.sleep(0.005)
            else:
                return

    def _run(self, wants: Wants) -> Generator[StreamItem, None, None]:
        members = [member for part in self._parts if (member := self._join(part, wants)) is not None]
        if not members:
            raise DecodeError(f"{self.info.name}: it gives nothing that the bundle perceives")
        self._supervisors = [member.supervisor for member in members]
        self._flow = Flow(
            members,
            wants,
            self._inbox,
            self._clock,
            self._pause,
            camera_delay_seconds=self._camera_delay,
            wait=self._wait,
        )
        try:
            yield from self._flow.run()
        finally:
            for supervisor in self._supervisors:
                supervisor.kill()

    def _join(self, part: _Part, wants: Wants) -> Member | None:
        """Put a device under supervision; None if the bundle wants nothing from it."""
        hears = part.hears and wants.audio is not None
        sees = part.sees and wants.video is not None
        if not hears and not sees:
            return None
        request = part.request
        if isinstance(request, MediaRequest):
            request = replace(request, sound=hears, picture=_picture(wants.video) if sees else None)
        presence = self._find(request)
        kinds: list[Kind] = ["sound"] * hears + ["picture"] * sees  # type: ignore[assignment]
        supervisor = Supervisor(
            part.device,
            part.name,
            kinds,
            partial(self._start or _start_recorder, request),
            partial(self._inbox.put, part.device),
            watch=None if presence is None else Watch(presence),
            random=self._random,
        )
        return Member(supervisor, hears, sees)


def open_live(
    microphone: MicrophoneRequest | MediaRequest | str | None = None,
    camera: MediaRequest | str | None = None,
    *,
    source: MediaRequest | str | None = None,
    camera_delay_seconds: float = 0.0,
    wait: bool = False,
    clock: Clock | None = None,
    start: Starter | None = None,
    find: Finder = presence_of,
    pause: Callable[[float], None] | None = None,
    random: Callable[[], float] = random_numbers.random,
) -> LiveSource:
    """Create a live stream from devices, which are opened when its items are taken.

    Args:
        microphone: Source of sound: a request, or what `--mic` takes ("0", "default", a name); None: no sound.
        camera: Source of pictures: a request, or what `--camera` takes ("0", "/dev/video0", a URL); None: no pictures.
        source: Source of both, instead of the other two: a request, or what `--source` takes (a URL or a file).
        camera_delay_seconds: How much later the camera shows something than the microphone hears it.
        wait: Whether to begin without a device that does not deliver within 5 s, and to keep trying it.
        clock: Provides the time; tests may substitute their own.
        start: Starts a recorder; None: in a process of its own (`capture/recorder.py`).
        find: Returns how to check a device's presence while it is waited for.
        pause: Waits for so many seconds, or until a recorder sends something; None: the real wait.
        random: Random numbers from 0 to 1 for the jitter between attempts.

    Raises:
        UsageError: No device is given, `source` is combined with another, or the delay is out of range.
        SourceError: A name matches no device; the message lists the devices present.
    """
    if source is not None and (microphone is not None or camera is not None):
        raise UsageError("a source has both sound and picture: leave out microphone and camera, or the source")
    if not EARLIEST_CAMERA_SECONDS <= camera_delay_seconds <= LATEST_CAMERA_SECONDS:
        raise UsageError(
            f"camera delay: expected {EARLIEST_CAMERA_SECONDS:g} to {LATEST_CAMERA_SECONDS:g} s, "
            f"got {camera_delay_seconds:g}"
        )
    asked: tuple[tuple[Device, Request | None], ...] = (
        ("microphone", _resolved("microphone", microphone, wait=wait)),
        ("camera", _resolved("camera", camera, wait=wait)),
        ("source", _resolved("source", source, wait=wait)),
    )
    parts = [_Part(device, request) for device, request in asked if request is not None]
    if not parts:
        raise UsageError("expected a microphone, a camera, or a source of both, got none")
    return LiveSource(
        parts,
        camera_delay_seconds=camera_delay_seconds,
        wait=wait,
        clock=clock or Clock(),
        start=start,
        find=find,
        pause=pause,
        random=random,
    )


def _resolved(device: Device, named: Request | str | None, *, wait: bool) -> Request | None:
    """The request itself, or the one its text resolves to."""
    if not isinstance(named, str):
        return named
    from ascstream.live.addresses import resolve_camera, resolve_microphone, resolve_source

    if device == "source":
        return resolve_source(named)
    return resolve_camera(named, wait=wait) if device == "camera" else resolve_microphone(named, wait=wait)


def _start_recorder(request: Request, deliver: Callable[[Message], None]) -> RecorderLike:
    from ascstream.capture.recorder import Recorder

    return Recorder(request, deliver)


def _picture(wants: VideoWants | None) -> PictureRequest | None:
    if wants is None:
        return None
    return PictureRequest(wants.width, wants.height, wants.fit, wants.short_side, wants.interpolation)
