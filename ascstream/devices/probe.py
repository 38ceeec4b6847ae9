"""Checks that a device opens and delivers, by recording from it briefly in a separate process."""

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
"""Anything quieter is digital silence (muted, or nothing plugged in): even the quietest room is louder."""
_FLOOR_DBFS = -120.0
_DARK_LUMA = 16.0
"""Black level of limited-range video."""
_LOOK = PictureRequest(64, 48, "squash", None, "area")
"""Large enough to recognise a covered lens."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Probe:
    """The result of recording briefly from a device."""

    delivers: bool
    """Whether sound or pictures came."""
    problem: str | None = None
    """Why it did not open, or stopped delivering; None if nothing went wrong."""
    first_seconds: float | None = None
    """Time from the start of the recording process to the first data."""
    sample_rate: int | None = None
    """Sample rate delivered, in Hz."""
    n_channels: int | None = None
    """Number of channels delivered: at most two."""
    level_dbfs: float | None = None
    """RMS level of the sound over all channels, at least −120; None without sound."""
    width: int | None = None
    """Width of the pictures, in pixels."""
    height: int | None = None
    """Height of the pictures, in pixels."""
    frame_rate: float | None = None
    """Measured pictures per second; None without pictures, or with too few to tell."""
    dark: bool = False
    """Whether the last picture looked like a covered lens."""

    @property
    def silent(self) -> bool:
        """Whether the sound was digital silence."""
        return self.level_dbfs is not None and self.level_dbfs < SILENCE_DBFS


def request_of(device: Microphone | Camera) -> Request:
    """The request with which to record from a device."""
    if isinstance(device, Microphone):
        return MicrophoneRequest(device.name, device.host_api, device.portaudio_index)
    return MediaRequest(device.path, device.format)


def probe(request: Request, *, seconds: float = 2.0, deadline_seconds: float = 7.0, stop: Event | None = None) -> Probe:
    """Record briefly from a device.

    Args:
        request: What to record; a media request without sound is probed for pictures.
        seconds: How long to record, from the first data on.
        deadline_seconds: Time limit for the whole probe.
        stop: Set by the caller to end the probe early.
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
    """Record briefly from all devices: one microphone at a time, since several may share a card, alongside the cameras.

    Yields:
        Futures of the results for the microphones and for the cameras, in their order. At the end of the block, probes
        that have not started are cancelled, and a running one is stopped.
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
    """Describe a probe's result to the user in one line."""
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
    """Collects what has come so far."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.problem: str | None = None
        self._opened: Opened | None = None
        self._sound: Sound | None = None
        self._power, self._n_values = 0.0, 0
        self._seen: list[Seen] = []
        self._dark = False

    def take(self, message: Message) -> bool:
        """Count a message; returns whether it is data from the device."""
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
        """The result of the probe."""
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
        """Pictures per second, from the first `Seen` message to the last."""
        if len(self._seen) < 2 or self._seen[-1].stamp <= self._seen[0].stamp:
            return None
        n_frames = sum(seen.n_frames for seen in self._seen[1:])
        return round(n_frames / (self._seen[-1].stamp - self._seen[0].stamp), 2)


def _probe_camera(camera: Camera, stop: Event) -> Probe:
    """Probe a camera, but do not open one that is known to be unreadable."""
    if camera.unreadable is not None:
        return Probe(False, camera.unreadable)
    return probe(request_of(camera), stop=stop)
