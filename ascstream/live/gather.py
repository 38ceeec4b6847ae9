"""The gathering thread: cuts a source's items into windows and keeps the newest two."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from ascstream.live.health import Health
from ascstream.records import AudioBlock, Image, StreamEvent, StreamItem, VideoFrame, Window
from ascstream.sources.base import Source, Wants
from ascstream.windows import Windower

MOST_WINDOWS = 2
"""Most windows that wait for the engine; beyond that, the oldest is dropped."""
_MOST_EVENTS = 256


class LiveStream(Source, Protocol):
    """A source that runs in real time."""

    def health(self) -> Health:
        """The devices' current health; callable from any thread."""
        ...

    def to_monotonic(self, stream_seconds: float) -> float:
        """Convert stream seconds to a moment of `Clock.monotonic`; callable from any thread."""
        ...

    def stop(self) -> None:
        """Make `items` end within 0.1 s; callable from any thread."""
        ...


class Gatherer:
    """Reads a source in a daemon thread and never waits for whoever takes the windows."""

    def __init__(self, source: LiveStream, wants: Wants, windower: Windower, changed: threading.Condition) -> None:
        """Start the thread.

        Args:
            source: Its `items` are read to their end, or until `stop`.
            wants: What to request of the source.
            windower: Cuts the windows; belongs to the thread from now on.
            changed: Notified when there is something to take; guards the shared state.
        """
        self._source = source
        self._wants = wants
        self._windower = windower
        self._changed = changed
        self._stopped = False
        self._windows: deque[Window] = deque()
        self._events: deque[StreamEvent] = deque(maxlen=_MOST_EVENTS)
        self._lost_seconds = 0.0
        self._n_dropped = 0
        self.picture: Image | None = None
        """The newest frame; None before the first."""
        self.begun = False
        """Whether the source has given any block or frame yet."""
        self.ended = False
        """Whether the source has ended, so nothing more will come."""
        self.failure: BaseException | None = None
        """The exception that ended the source, if any."""
        self._thread = threading.Thread(target=self._run, name="ascstream-gather", daemon=True)
        self._thread.start()

    @property
    def n_waiting(self) -> int:
        """Number of windows waiting."""
        return len(self._windows)

    @property
    def has_news(self) -> bool:
        """Whether there are events, losses or drops to take."""
        return bool(self._events) or self._n_dropped > 0 or self._lost_seconds > 0

    def take_window(self) -> Window | None:
        """Take the oldest waiting window; None if there is none."""
        with self._changed:
            return self._windows.popleft() if self._windows else None

    def take_news(self) -> tuple[list[StreamEvent], float, int]:
        """Take the events, the seconds of lost samples and the number of dropped windows since the last call."""
        with self._changed:
            news = list(self._events), self._lost_seconds, self._n_dropped
            self._events.clear()
            self._lost_seconds, self._n_dropped = 0.0, 0
            return news

    def stop(self, timeout_seconds: float) -> bool:
        """End the source and the thread; return whether the thread ended in time."""
        self._stopped = True
        self._source.stop()
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            self._read(self._source.items(self._wants))
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for windows
            failure = error
        with self._changed:
            self.ended, self.failure = True, failure
            self._changed.notify_all()

    def _read(self, items: Iterator[StreamItem]) -> None:
        told_late = False
        for item in items:
            if self._stopped:
                return
            if isinstance(item, StreamEvent):
                self._tell(item)
                continue
            if not self.begun:
                with self._changed:
                    self.begun = True
                    self._changed.notify_all()
            if isinstance(item, AudioBlock) and item.lost:
                with self._changed:
                    self._lost_seconds += item.n_samples / item.sample_rate
            if isinstance(item, VideoFrame):
                self.picture = item.image
            self._windower.push(item)
            for window in self._windower.ready():
                self._put(window)
            if self._windower.missed_frames_at is not None and not told_late:
                told_late = True
                message = "no picture came in time: windows no longer wait for it"
                self._tell(StreamEvent(self._windower.missed_frames_at, "picture_late", message))

    def _tell(self, event: StreamEvent) -> None:
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def _put(self, window: Window) -> None:
        with self._changed:
            self._windows.append(window)
            if len(self._windows) > MOST_WINDOWS:
                self._windows.popleft()
                self._n_dropped += 1
            self._changed.notify_all()
