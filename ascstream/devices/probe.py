"""Whether a device opens and delivers: recorded from for a moment, in a process of its own."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event

import numpy as np

from ascstream.capture.messages import Failed, Message, Opened, Picture, Seen, Sound
from ascstream.capture.recorder import Recorder
from ascstream.capture.requests import MediaRequest, MicrophoneRequest, PictureRequest, Request
from ascstream.devices.records import Camera, DeviceList, Microphone
from ascstream.features.usable import is_dark

SILENCE_DBFS = -90.0
"""Below it is digital silence: muted, or nothing plugged in; the quietest room is louder."""
_FLOOR_DBFS = -120.0
_DARK_LUMA = 16.0
"""Video's black."""
_LOOK = PictureRequest(64, 48, "squash", None, "area")
"""Enough to tell a covered lens."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of recording from a device for a moment."""

    delivers: bool
    """Whether sound or pictures came."""
    problem: str | None = None
    """Why it did not open, or gave nothing more; None where it delivers."""
    first_seconds: float | None = None
    """From the start of its process to the first data."""
    sample_rate: int | None = None
    """Hz, as it came."""
    n_channels: int | None = None
    """Channels that came: the first two at most."""
    level_dbfs: float | None = None
    """Level of the sound, RMS of all channels, at least −120; None without sound."""
    width: int | None = None
    """Of the pictures, in pixels."""
    height: int | None = None
    """Of the pictures, in pixels."""
    frame_rate: float | None = None
    """Pictures a second, measured; None without pictures, or with too few to tell."""
    dark: bool = False
    """Whether the last picture was as of a covered lens."""

    @property
    def silent(self) -> bool:
        """Whether the sound was digital silence."""
        return self.level_dbfs is not None and self.level_dbfs < SILENCE_DBFS


def request_of(device: Microphone | Camera) -> Request:
    """What to ask a recording process for."""
    if isinstance(device, Microphone):
        return MicrophoneRequest(device.name, device.host_api, device.portaudio_index)
    return MediaRequest(device.path, device.format)


def probe(request: Request, *, seconds: float = 2.0, deadline_seconds: float = 7.0, stop: Event | None = None) -> Probe:
    """Record from a device for a moment.

    Args:
        request: What to record; a picture is looked at where it does not want sound.
        seconds: How long, from the first data on.
        deadline_seconds: How long all of it may take.
        stop: Set by somebody who does not want to wait for it any more.
    """
    if isinstance(request, MediaRequest) and not request.sound:
        request = MediaRequest(request.where, request.format, picture=_LOOK)
    messages: SimpleQueue[Message] = SimpleQueue()
    tally = _Tally()
    start = time.monotonic()
    end = start + deadline_seconds
    recorder = Recorder(request, messages.put)
    try:
        while (now := time.monotonic()) < end and tally.problem is None and not (stop is not None and stop.is_set()):
            try:
                message = messages.get(timeout=min(0.1, end - now))
            except Empty:
                continue
            if tally.take(message) and tally.first is None:
                tally.first = time.monotonic()
                end = min(end, tally.first + seconds)
            if isinstance(message, Seen):
                recorder.ask(message.stamp)
        log = recorder.log
    finally:
        recorder.close()
    for line in log:
        _LOG.debug("%s", line)
    return tally.sum_up(start, deadline_seconds)


@contextmanager
def probe_all(devices: DeviceList) -> Iterator[tuple[list[Future[Probe]], list[Future[Probe]]]]:
    """Record from all devices: microphones one after the other, since names may share a card, cameras beside them.

    Yields:
        What comes of the microphones, and of the cameras, in their order. What has not begun at the end never does.
    """
    stop = Event()
    with ThreadPoolExecutor(1, "probe-mic") as hearing, ThreadPoolExecutor(1, "probe-camera") as seeing:
        mics = [hearing.submit(probe, request_of(mic), stop=stop) for mic in devices.microphones]
        cameras = [seeing.submit(_probe_camera, camera, stop) for camera in devices.cameras]
        try:
            yield mics, cameras
        finally:
            stop.set()
            for future in (*mics, *cameras):
                future.cancel()


def describe(probe: Probe) -> str:
    """A probe in a line for people."""
    if not probe.delivers:
        return f"does not work: {probe.problem}"
    words: list[str] = []
    if probe.level_dbfs is not None:
        channels = "" if probe.n_channels is None else f", {probe.n_channels} channel{'s' * (probe.n_channels > 1)}"
        level = "silent: muted, or nothing plugged in?" if probe.silent else f"{probe.level_dbfs:.0f} dBFS"
        words.append(f"{probe.sample_rate} Hz{channels}, {level}")
    if probe.width is not None:
        words.append(f"{probe.width}×{probe.height}")
    if probe.frame_rate is not None:
        words.append(f"{probe.frame_rate:.1f} pictures a second")
    if probe.dark:
        words.append("dark: is the lens covered?")
    if probe.first_seconds is not None:
        words.append(f"first after {probe.first_seconds:.2f} s")
    return f"works: {', '.join(words)}" + (f"; then: {probe.problem}" if probe.problem else "")


class _Tally:
    """What came so far."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.problem: str | None = None
        self._opened: Opened | None = None
        self._sound: Sound | None = None
        self._power, self._n_values = 0.0, 0
        self._seen: list[Seen] = []
        self._dark = False

    def take(self, message: Message) -> bool:
        """Count a message; whether it is data of the device."""
        if isinstance(message, Opened):
            self._opened = message
        elif isinstance(message, Sound):
            self._sound = message
            self._power += float(np.sum(np.square(message.samples, dtype=np.float64)))
            self._n_values += message.samples.size
            return True
        elif isinstance(message, Seen):
            self._seen.append(message)
            return True
        elif isinstance(message, Picture) and message.image is not None:
            self._dark = is_dark(message.image, _DARK_LUMA)
        elif isinstance(message, Failed):
            self.problem = message.message
        return False

    def sum_up(self, start: float, deadline_seconds: float) -> Probe:
        """What it comes to."""
        if self.first is None:
            what = "opened, but gave nothing" if self._opened is not None else "did not open"
            return Probe(False, self.problem or f"it {what} within {deadline_seconds:g} s; is it used elsewhere?")
        opened = self._opened
        level: float | None = None
        if self._n_values:
            level = max(_FLOOR_DBFS, 10 * math.log10(max(self._power / self._n_values, 1e-12)))
        return Probe(
            True,
            self.problem,
            round(self.first - start, 3),
            None if self._sound is None else self._sound.sample_rate,
            None if self._sound is None else len(self._sound.samples),
            None if level is None else round(level, 1),
            None if opened is None else opened.width,
            None if opened is None else opened.height,
            self._frame_rate(),
            self._dark,
        )

    def _frame_rate(self) -> float | None:
        """Pictures after the first word of them, by the time that they took."""
        if len(self._seen) < 2 or self._seen[-1].stamp <= self._seen[0].stamp:
            return None
        n_frames = sum(seen.n_frames for seen in self._seen[1:])
        return round(n_frames / (self._seen[-1].stamp - self._seen[0].stamp), 2)


def _probe_camera(camera: Camera, stop: Event) -> Probe:
    """One that is known to be unreadable is not opened."""
    if camera.unreadable is not None:
        return Probe(False, camera.unreadable)
    return probe(request_of(camera), stop=stop)
