"""Microphones and cameras that exist in a test's own time: nothing sleeps, every fault comes when it is told to.

A `World` is the clock; `open_live(…, start=world.start, pause=world.pause, clock=world)` runs a stream in it.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta, timezone

import numpy as np

from ascstream.capture.messages import Failed, Message, Opened, Picture, Seen, Sound
from ascstream.capture.requests import MediaRequest, Request
from ascstream.live.clock import Clock
from ascstream.live.presence import Presence

Deliver = Callable[[Message], None]


class World(Clock):
    """A clock that stands still but for `pause`, and what is to happen in it."""

    def __init__(self, now: float = 5000.0) -> None:
        self.now = now
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.devices: list[FakeDevice] = []
        """A request is answered by the first device whose `serves` says so."""

    def monotonic(self) -> float:
        return self.now

    def utc(self) -> datetime:
        return datetime(2026, 6, 1, tzinfo=timezone.utc) + timedelta(seconds=self.now)

    def at(self, moment: float, act: Callable[[], None]) -> None:
        """Let something happen at a moment; at once, where that has passed."""
        heapq.heappush(self._due, (max(moment, self.now), next(self._numbers), act))

    def pause(self, seconds: float) -> None:
        """Let time pass: to the next thing that happens, at most so far."""
        until = self.now + max(seconds, 1e-4)
        if self._due and self._due[0][0] <= until:
            moment, _, act = heapq.heappop(self._due)
            self.now = max(self.now, moment)
            act()
        else:
            self.now = until

    def start(self, request: Request, deliver: Deliver) -> FakeRecorder:
        """What `open_live` takes for `start`."""
        device = next(device for device in self.devices if device.serves(request))
        return FakeRecorder(self, device, deliver)

    def find(self, request: Request) -> Presence:
        """What `open_live` takes for `find`; looked at by a real thread."""
        device = next(device for device in self.devices if device.serves(request))

        def look(stopped: threading.Event) -> Hashable | None:
            return True if device.plugged else None

        return Presence(look)


class FakeDevice:
    """What microphones and cameras have in common. Attributes may be set at any time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.plugged = True
        """Without: attempts fail, and what runs goes silent."""
        self.frozen = False
        """Open, and silent."""
        self.opening_seconds = 0.3
        """From the start of a recorder to `Opened`."""
        self.recorders: list[FakeRecorder] = []
        """All that were started."""
        world.devices.append(self)

    @property
    def delivers(self) -> bool:
        return self.plugged and not self.frozen

    def serves(self, request: Request) -> bool:
        raise NotImplementedError

    def begin(self, recorder: FakeRecorder) -> None:
        raise NotImplementedError

    def fail(self, message: str) -> None:
        """The newest recorder ends by itself."""
        self.recorders[-1].say(Failed(message))
        self.recorders[-1].running = False


class FakeRecorder:
    """A process that records, without the process."""

    def __init__(self, world: World, device: FakeDevice, deliver: Deliver) -> None:
        self._world, self._device, self._deliver = world, device, deliver
        self.running = True
        self.closed = False
        self.log: tuple[str, ...] = ()
        self.asked: list[float] = []
        device.recorders.append(self)
        world.at(world.now + device.opening_seconds, self._open)

    def _open(self) -> None:
        if not self.running:
            return
        if not self._device.plugged:
            self.say(Failed("there is no such device; plug it in", missing=True))
            self.running = False
            return
        self._device.begin(self)

    def say(self, message: Message) -> None:
        if self.running:
            self._deliver(message)

    def ask(self, moment: float) -> None:
        self.asked.append(moment)
        if self.running and isinstance(self._device, FakeCamera):
            self._device.answer(self, moment)

    def kill(self) -> None:
        self.running = False

    def close(self, timeout_seconds: float = 0.5) -> None:
        self.kill()
        self.closed = True


class FakeMicrophone(FakeDevice):
    """Plays `signal` of the true moment; its crystal is off by `drift_ppm`, its stamps late by `jitter()` seconds."""

    def __init__(
        self,
        world: World,
        *,
        sample_rate: int = 48000,
        n_channels: int = 1,
        chunk_seconds: float = 0.02,
        drift_ppm: float = 0.0,
        jitter: Callable[[], float] = lambda: 0.0,
        delay: Callable[[], float] = lambda: 0.01,
        signal: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        super().__init__(world)
        self.sample_rate, self.n_channels, self.chunk_seconds = sample_rate, n_channels, chunk_seconds
        self.drift_ppm, self.jitter, self.delay, self.signal = drift_ppm, jitter, delay, signal
        self.n_dropped = 0
        """Chunks to lose from now on: the next one that is delivered says so."""
        self.says_lost = True
        """Whether it says so."""
        self.n_samples = 0
        """Delivered so far, at its own rate."""

    def serves(self, request: Request) -> bool:
        return not isinstance(request, MediaRequest) or request.sound

    def begin(self, recorder: FakeRecorder) -> None:
        recorder.say(Opened("fake microphone", self.sample_rate, self.n_channels, self.n_channels))
        self._record(recorder, self.world.now, 0, self.sample_rate, dropped=False)

    def _record(self, recorder: FakeRecorder, begun: float, n_before: int, rate: int, *, dropped: bool) -> None:
        """Deliver the chunk that begins with sample `n_before`, when its last one was in the air."""
        true_rate = rate * (1 + self.drift_ppm * 1e-6)
        n = max(1, round(rate * self.chunk_seconds))
        first = begun + n_before / true_rate

        def deliver() -> None:
            lost = dropped
            if not recorder.running:
                return
            if self.n_dropped > 0:
                self.n_dropped -= 1
                lost = True
            elif self.delivers:
                moments = first + np.arange(n) / true_rate
                wave = np.zeros(n) if self.signal is None else self.signal(moments)
                samples = np.repeat(wave[None].astype(np.float32), self.n_channels, axis=0)
                sound = Sound(first + self.jitter(), samples, rate, lost=lost and self.says_lost)
                self.n_samples += n
                self.world.at(self.world.now + self.delay(), lambda: recorder.say(sound))
                lost = False
            self._record(recorder, begun, n_before + n, rate, dropped=lost)

        self.world.at(first + n / true_rate, deliver)


class FakeCamera(FakeDevice):
    """A picture at each whole 1/`frame_rate` of the clock; its pixels tell its moment (`shown_moment`)."""

    def __init__(self, world: World, *, frame_rate: float = 25.0, answer_seconds: float = 0.004) -> None:
        super().__init__(world)
        self.frame_rate, self.answer_seconds = frame_rate, answer_seconds
        self._froze: float | None = None
        self._sent: dict[int, float] = {}

    def serves(self, request: Request) -> bool:
        return isinstance(request, MediaRequest) and not request.sound

    def begin(self, recorder: FakeRecorder) -> None:
        recorder.say(Opened("fake camera", width=640, height=480, frame_rate=self.frame_rate))
        self._see(recorder)

    def _see(self, recorder: FakeRecorder) -> None:
        if not recorder.running:
            return
        if self.delivers:
            self._froze = None
            recorder.say(Seen(self._newest(self.world.now), max(1, round(self.frame_rate / 10))))
        elif self._froze is None:
            self._froze = self.world.now
        self.world.at(self.world.now + 0.1, lambda: self._see(recorder))

    def _newest(self, moment: float) -> float:
        return int(moment * self.frame_rate + 1e-6) / self.frame_rate

    def answer(self, recorder: FakeRecorder, moment: float) -> None:
        stamp = self._newest(min(moment, self.world.now, self._froze or np.inf))
        same = self._sent.get(id(recorder)) == stamp
        self._sent[id(recorder)] = stamp
        number = round(stamp * self.frame_rate)
        image = np.full((4, 4, 3), (number >> 16 & 255, number >> 8 & 255, number & 255), np.uint8)
        picture = Picture(moment, stamp, None if same else image)
        self.world.at(self.world.now + self.answer_seconds, lambda: recorder.say(picture))


def shown_moment(image: np.ndarray, frame_rate: float = 25.0) -> float:
    """The moment that a fake camera's picture shows."""
    red, green, blue = (int(value) for value in image[0, 0])
    return (red << 16 | green << 8 | blue) / frame_rate
