"""Runs a live stream: one thread listens, one infers, and answers are given in time whatever happens to either.

Nothing here blocks for longer than 0.1 s, so signals take effect at once.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from ascstream.classifier import Classifier
from ascstream.errors import UsageError
from ascstream.live.clock import Clock, utc_text
from ascstream.live.drops import Drops
from ascstream.live.engine import EngineThread
from ascstream.live.gather import Gatherer, LiveStream
from ascstream.live.health import DeviceHealth, Health
from ascstream.pipeline import Judge, StreamSettings, describe_fallback, require_input
from ascstream.records import Image, Prediction, StreamEvent, Window, WindowScores
from ascstream.stats import StreamStats
from ascstream.windows import LIVE_PATIENCE_SECONDS, Windower
from engines.errors import BackendError

__all__ = ["LiveStream", "stream_live"]

_TURN_SECONDS = 0.1
"""Longest wait of the caller's thread per turn."""
_TICK_SECONDS = 0.2
"""Time between two calls of `on_tick`."""
_LONGEST_TURN_SECONDS = 0.5
"""Most time a turn counts for: a process that was suspended has not been waiting for its engine."""
_STOP_SECONDS = 0.4
"""Time both threads get to end; after that they are left behind."""
_MOST_ERRORS = 10
"""Number of consecutive failed inferences that ends the stream."""
_NO_ENGINE = WindowScores(None, (), degraded=True, reason="engine")


def stream_live(
    classifier: Classifier,
    source: LiveStream,
    settings: StreamSettings | None = None,
    *,
    stats: StreamStats | None = None,
    on_event: Callable[[StreamEvent], None] | None = None,
    on_tick: Callable[[Health, Image | None], None] | None = None,
    clock: Clock | None = None,
    deadline_seconds: float = 2.0,
    give_up_seconds: float = 30.0,
) -> Generator[Prediction, None, None]:
    """Classify what devices hear and see for as long as they deliver; close the generator to end the stream.

    A window that cannot be judged is "unknown", with a reason, and the stream goes on: either nothing was heard or seen
    ("no_input", "gap" …), or the inference failed or did not return ("engine"). If inference is too slow, at most two
    windows wait; older ones are dropped and counted. If TensorRT fails or hangs, ONNX Runtime takes over. The loop adds
    these events: "started" once the devices deliver, "windows_dropped" when dropping begins and when it ends,
    "engine_error", "engine_late", "engine_back", "engine_fallback".

    Args:
        classifier: Scores the windows; is reset first. Must not be used elsewhere until the stream has ended.
        source: An open source; it is stopped when the stream ends, but not closed.
        settings: Step, smoothing and thresholds.
        stats: Statistics to update, if given.
        on_event: Called with every event, in the thread that takes the predictions.
        on_tick: Called about five times a second in the same thread, whether or not there are predictions, with the
            stream's health and the newest picture.
        clock: Provides monotonic time, for latencies and deadlines, and the time of day.
        deadline_seconds: An inference that takes longer is reported, and the stream goes on without it.
        give_up_seconds: An inference that takes longer ends the stream.

    Yields:
        One prediction per window, as soon as it is judged.

    Raises:
        UsageError: A setting is invalid.
        SourceError: The devices never opened, or deliver nothing that the bundle uses.
        engines.errors.EngineError: Ten inferences in a row failed, or one took longer than `give_up_seconds`.
    """
    if not 0 < deadline_seconds <= give_up_seconds:
        raise UsageError(f"expected a deadline above 0 and at most {give_up_seconds:g} s, got {deadline_seconds:g} s")
    told = _Told(stats, on_event, on_tick)
    loop = _Loop(classifier, source, settings or StreamSettings(), told, clock or Clock())
    try:
        yield from loop.run(deadline_seconds, give_up_seconds)
    finally:
        loop.stop()


@dataclass(frozen=True, slots=True)
class _Told:
    """The statistics and callbacks to inform."""

    stats: StreamStats | None
    """Statistics to update."""
    event: Callable[[StreamEvent], None] | None
    """Called with events."""
    tick: Callable[[Health, Image | None], None] | None
    """Called about five times a second."""


class _Loop:
    """One stream, run in the thread that takes its predictions."""

    def __init__(
        self,
        classifier: Classifier,
        source: LiveStream,
        settings: StreamSettings,
        told: _Told,
        clock: Clock,
    ) -> None:
        manifest = classifier.manifest
        step = settings.step(manifest)
        self._judge = Judge(manifest, settings, source.info, clock.monotonic)
        require_input(source.info, manifest)
        classifier.reset()
        self._classifier = classifier
        self._fell_back = classifier.fell_back
        self._successor: Classifier | None = None
        self._source = source
        self._told = told
        self._stats = told.stats
        self._clock = clock
        self._ticked = -math.inf
        self._drops = Drops()
        self._n_errors = 0
        self._engine_problem: str | None = None
        self._started = False
        self._changed = threading.Condition()
        self._engine = EngineThread(classifier, self._changed)
        windower = Windower(manifest, step, patience_seconds=LIVE_PATIENCE_SECONDS)
        self._gatherer = Gatherer(source, classifier.wants(step), windower, self._changed)

    def run(self, deadline_seconds: float, give_up_seconds: float) -> Iterator[Prediction]:
        """Hand windows to the engine one by one; answer "unknown" for those it does not score in time."""
        asked: Window | None = None
        waited = 0.0
        before = self._clock.monotonic()
        while True:
            late = asked is None and self._engine.busy
            self._wait(late=late)
            self._tell_news()
            now = self._clock.monotonic()
            waited += min(now - before, _LONGEST_TURN_SECONDS)
            before = now
            self._tick(now)
            if self._engine.busy:
                answer = self._engine.take()
                if answer is not None:
                    self._note_answer(answer.error, waited if late else None)
                    if asked is not None:
                        yield self._predict(asked, answer.scores)
                    asked, late = None, False
                elif late and waited > give_up_seconds:
                    raise BackendError(
                        f"{self._classifier.backend}: expected an answer within {give_up_seconds:g} s, got none; "
                        "the engine hangs: start ascstream again"
                    )
                elif asked is not None and waited > deadline_seconds and self._go_over(waited):
                    yield self._predict(asked, None)
                    asked = None
                elif asked is not None and waited > deadline_seconds:
                    self._engine_problem = f"no answer for {deadline_seconds:g} s"
                    self._tell("engine_late", f"the engine has not answered for {waited:.1f} s: no window is judged")
                    yield self._predict(asked, None)
                    asked, late = None, True
            if late:
                while (window := self._gatherer.take_window()) is not None:
                    yield self._predict(window, None)
            elif not self._engine.busy and (window := self._gatherer.take_window()) is not None:
                asked, waited = window, 0.0
                self._engine.start(window)
            if self._gatherer.ended and asked is None and not self._gatherer.n_waiting:
                break
        self._finish()

    def stop(self) -> None:
        """End both threads, or leave behind those that hang."""
        self._engine.stop(0.0)
        self._gatherer.stop(_STOP_SECONDS / 2)
        self._engine.stop(_STOP_SECONDS / 2)
        if self._successor is not None:
            self._successor.close()

    def _go_over(self, waited: float) -> bool:
        """Leave a hanging TensorRT call behind, with its thread; return whether there was a fallback to go over to.

        The thread ends when the call returns, if it ever does; its answer is discarded.
        """
        successor = self._classifier.abandon(f"no answer for {waited:.1f} s")
        if successor is None:
            return False
        self._engine.stop(0.0)
        self._classifier = self._successor = successor
        self._engine = EngineThread(successor, self._changed)
        self._tell_fallback()
        return True

    def _tell_fallback(self) -> None:
        """Report, once, that TensorRT has failed."""
        if self._classifier.fell_back != self._fell_back:
            self._fell_back = self._classifier.fell_back
            self._tell("engine_fallback", describe_fallback(self._fell_back))

    def _wait(self, *, late: bool) -> None:
        """Wait until there is something to do, at most for one turn."""
        gatherer, engine = self._gatherer, self._engine

        def ready() -> bool:
            takes = late or not engine.busy
            return engine.answered or gatherer.has_news or (takes and (gatherer.ended or gatherer.n_waiting > 0))

        with self._changed:
            self._changed.wait_for(ready, _TURN_SECONDS)

    def _note_answer(self, error: Exception | None, late_seconds: float | None) -> None:
        """Report that the engine answers again, or that it failed.

        Raises:
            Exception: `error`, if it is the tenth in a row.
        """
        if error is not None:
            self._n_errors += 1
            if self._n_errors >= _MOST_ERRORS:
                raise error
            self._engine_problem = str(error) or type(error).__name__
            self._tell("engine_error", f"an inference failed: {self._engine_problem}")
            return
        self._tell_fallback()
        if late_seconds is not None:
            self._tell("engine_back", f"the engine answers again, after {late_seconds:.1f} s", late_seconds)
        elif self._n_errors:
            noun = "one failed" if self._n_errors == 1 else f"{self._n_errors} failed"
            self._tell("engine_back", f"the engine answers again, after {noun}")
        self._n_errors, self._engine_problem = 0, None

    def _predict(self, window: Window, scores: WindowScores | None) -> Prediction:
        """The prediction for a window; scores of None mean that the engine gave no answer."""
        health = self._note_health()
        moment = self._source.to_monotonic(window.end)
        now = self._clock.monotonic()
        end = self._clock.utc() - timedelta(seconds=now - moment)
        prediction = self._judge(
            window,
            _NO_ENGINE if scores is None else scores,
            moment,
            time=utc_text(end),
            lost={device.device: max(0.0, now - _lost_since(device)) for device in health.lost},
        )
        if self._stats is not None:
            self._stats.add(prediction)
        return prediction

    def _note_health(self) -> Health:
        """The stream's current health; also recorded in the statistics once the stream has started."""
        health = replace(
            self._source.health(),
            n_dropped_windows=self._drops.total,
            n_waiting_windows=self._gatherer.n_waiting,
            engine_problem=self._engine_problem,
        )
        if self._stats is not None and self._started:
            self._stats.health(health)
        return health

    def _tick(self, now: float) -> None:
        """Call `on_tick` if it is due."""
        if self._told.tick is not None and now - self._ticked >= _TICK_SECONDS:
            self._ticked = now
            self._told.tick(self._note_health(), self._gatherer.picture)

    def _tell_news(self) -> None:
        """Report what the gathering thread noted: the start, events, lost samples, dropped windows."""
        if not self._started and self._has_started():
            self._started = True
            if self._told.event is not None:  # statistics have no use for a start
                begun = self._source.info.offset_seconds
                self._told.event(StreamEvent(begun, "started", describe(self._source.health())))
        events, lost_seconds, n_dropped = self._gatherer.take_news()
        for event in events:
            self._pass_on(replace(event, time=event.time + self._source.info.offset_seconds))
        if self._stats is not None and lost_seconds:
            self._stats.add_lost(lost_seconds)
        if self._stats is not None and n_dropped:
            self._stats.dropped(n_dropped)
        now = self._clock.monotonic()
        begins = self._drops.add(n_dropped, now)
        if begins is not None:
            self._tell("windows_dropped", begins)
        self._tell_drops_over(now, ended=False)

    def _has_started(self) -> bool:
        """Whether the source delivers, and either no device is still opening or a window is already waiting."""
        if not self._gatherer.begun:
            return False
        opening = any(device.state == "opening" for device in self._source.health().devices)
        return not opening or self._gatherer.n_waiting > 0

    def _tell_drops_over(self, now: float, *, ended: bool) -> None:
        over = self._drops.over(now, ended=ended)
        if over is not None:
            self._tell("windows_dropped", *over)

    def _tell(self, kind: str, message: str, seconds: float = 0.0) -> None:
        """Report an event of the loop itself, at the time the stream has reached."""
        self._pass_on(StreamEvent(self._judge.end_seconds + self._source.info.offset_seconds, kind, message, seconds))

    def _pass_on(self, event: StreamEvent) -> None:
        if self._stats is not None:
            self._stats.event(event)
        if self._told.event is not None:
            self._told.event(event)

    def _finish(self) -> None:
        """Report what remains once the source has ended or failed.

        Raises:
            BaseException: The error that ended the source, if any.
        """
        self._tell_news()
        self._tell_drops_over(self._clock.monotonic(), ended=True)
        self._note_health()
        if self._gatherer.failure is not None:
            raise self._gatherer.failure
        if self._stats is not None:
            self._stats.finish()


def describe(health: Health) -> str:
    """List the devices on one line for display: `microphone USB Audio, 48000 Hz, 2 channels; camera …`."""
    return "; ".join(
        (device.name if device.name == f"default {device.device}" else f"{device.device} {device.name}")
        + (f", {device.details}" if device.details else "")
        for device in health.devices
    )


def _lost_since(device: DeviceHealth) -> float:
    """Moment from which a device counts as lost; if it never delivered, its last change of state."""
    return device.since if device.lost_since is None else device.lost_since
