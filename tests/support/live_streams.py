"""A live stream without devices: tones and colours on a clock that may run fast or jump, and an engine in trouble."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ascstream.classifier import Classifier
from ascstream.errors import SourceError
from ascstream.live.clock import Clock
from ascstream.live.health import DeviceHealth, Health
from ascstream.records import AudioBlock, StreamEvent, StreamItem
from ascstream.sources.base import SourceInfo, Wants
from ascstream.sources.synthetic import Segment, SyntheticSource
from engines.backends import Engines, load_engines
from engines.base import Array, Engine
from engines.bundle import open_bundle

EPOCH = datetime(2026, 6, 1, 12, 0, 0, tzinfo=timezone.utc)


class FastClock(Clock):
    """Runs `speed` times as fast as time; its wall clock begins at `EPOCH`, and `jump` moves that alone."""

    def __init__(self, speed: float = 10.0) -> None:
        self._speed = speed
        self._begun = time.monotonic()
        self._jumped = 0.0

    def monotonic(self) -> float:
        """Seconds since it was made, at its speed, plus a thousand."""
        return 1000.0 + (time.monotonic() - self._begun) * self._speed

    def utc(self) -> datetime:
        """Time of day."""
        return EPOCH + timedelta(seconds=self.monotonic() - 1000.0 + self._jumped)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back."""
        self._jumped += seconds

    def skip(self, seconds: float) -> None:
        """Let time pass in which nobody ran."""
        self._begun -= seconds / self._speed

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait that long by this clock; whether the event came."""
        return event.wait(max(0.0, seconds) / self._speed)


class SteppedClock(Clock):
    """Stands still: a test moves `now`, in seconds; its wall clock shows `EPOCH` at 0."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """`now`, plus a thousand."""
        return 1000.0 + self.now

    def utc(self) -> datetime:
        """Time of day."""
        return EPOCH + timedelta(seconds=self.now)


class SyntheticLive:
    """A microphone (and a camera) that plays segments in real time by its clock; it ends with the last of them.

    `lose` and `find` say what `health` shows.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        clock: FastClock,
        *,
        block_samples: int = 480,
        has_audio: bool = True,
        has_video: bool = False,
        events: Sequence[StreamEvent] = (),
        failure: SourceError | None = None,
        opening_seconds: float = 0.0,
    ) -> None:
        self._inner = SyntheticSource(
            segments, block_samples=block_samples, has_audio=has_audio, has_video=has_video, events=events
        )
        self.info = SourceInfo("synthetic", has_audio, has_video, duration_seconds=None, live=True)
        self._clock = clock
        self._failure = failure
        self._opening_seconds = opening_seconds
        self._stopped = threading.Event()
        self._begun = clock.monotonic()
        kinds = ("microphone", "camera") if has_video else ("microphone",)
        self._devices = {
            kind: DeviceHealth(kind, f"synthetic {kind}", "running", self._begun, details="24000 Hz, 1 channel")  # type: ignore[arg-type]
            for kind in kinds
        }
        self.n_reopened = 0

    def items(self, wants: Wants) -> Iterator[StreamItem]:
        if self._opening_seconds:
            kept = dict(self._devices)
            for kind in kept:
                self.lose(kind)
                self._devices[kind] = replace(self._devices[kind], state="opening", n_losses=0)
            if self._clock.wait(self._stopped, self._opening_seconds):
                return
            for kind in kept:
                self.find(kind)
                self._devices[kind] = replace(self._devices[kind], n_losses=0)
        self._begun = self._clock.monotonic()
        for item in self._inner.items(wants):
            due = self._begun + (item.end if isinstance(item, AudioBlock) else item.time)
            if self._clock.wait(self._stopped, due - self._clock.monotonic()):
                return
            yield item
        if self._failure is not None:
            raise self._failure

    def health(self) -> Health:
        return Health(tuple(self._devices.values()))

    def to_monotonic(self, stream_seconds: float) -> float:
        return self._begun + stream_seconds

    @property
    def stopped(self) -> bool:
        """Whether it was told to end."""
        return self._stopped.is_set()

    def stop(self) -> None:
        self._stopped.set()

    def reopen(self) -> None:
        self.n_reopened += 1

    def lose(self, kind: str) -> None:
        now = self._clock.monotonic()
        device = self._devices[kind]
        self._devices[kind] = replace(
            device, state="waiting", since=now, lost_since=now, problem="unplugged", n_losses=device.n_losses + 1
        )

    def find(self, kind: str) -> None:
        now = self._clock.monotonic()
        self._devices[kind] = replace(self._devices[kind], state="running", since=now, lost_since=None, problem=None)

    def close(self) -> None:
        self.stop()

    def __enter__(self) -> SyntheticLive:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class TroubledEngine(Engine):
    """Another engine, before whose n-th call (from 0) `trouble(n)` runs: it may raise, or wait."""

    def __init__(self, inner: Engine, trouble: Callable[[int], None]) -> None:
        super().__init__(inner.name, inner.backend, inner.inputs, inner.outputs)
        self._inner = inner
        self._trouble = trouble
        self.n_calls = 0

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:
        number, self.n_calls = self.n_calls, self.n_calls + 1
        self._trouble(number)
        return self._inner.infer(feeds)

    def close(self) -> None:
        super().close()
        self._inner.close()


def troubled(folder: Path, trouble: Callable[[int], None]) -> Classifier:
    """A classifier whose scene graph is in trouble."""
    bundle = open_bundle(folder)
    engines = load_engines(bundle)
    return Classifier(bundle, Engines(TroubledEngine(engines.scene, trouble), engines.frame, engines.precision))
