"""The work of `ascstream live`: runs one stream of devices into sinks, the log and the service manager."""

from __future__ import annotations

import gc
import sys
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Protocol

from ascstream.capture.requests import MediaRequest, MicrophoneRequest
from ascstream.classifier import Classifier
from ascstream.cli.exits import hangup_calls, suspend, suspend_calls
from ascstream.cli.file import tell_running, tell_summary
from ascstream.errors import AscstreamError, DegradedError
from ascstream.live.clock import Clock
from ascstream.live.gather import LiveStream
from ascstream.live.health import Health
from ascstream.live.log import Log, LogLevel
from ascstream.live.loop import stream_live
from ascstream.live.notify import Notifier
from ascstream.pipeline import StreamSettings
from ascstream.records import Image, Prediction, StreamEvent
from ascstream.sinks import Sink, SinkGroup, check_targets, open_sink
from ascstream.sinks.console import describe_degraded
from ascstream.stats import StreamStats
from ascstream.stopping import raise_stopped
from engines.errors import EngineError


@dataclass(frozen=True, slots=True)
class Request:
    """The user's request, except for what to run on which devices."""

    format: str
    """Format of stdout."""
    out: tuple[str, ...]
    """Targets of --out."""
    rotate: float | None
    """Seconds after which new files are begun; None: never."""
    duration: float | None
    """Seconds after which the stream ends; None: never."""
    top: int | None
    """Number of scenes to report; None: all."""
    min_score: float | None
    """Least probability of a scene to be reported; None: any."""
    strict: bool
    """Whether to end the run as soon as anything is missing."""
    wait: bool
    """Whether to wait for devices that are absent."""
    level: LogLevel
    """Least severe level to log."""
    camera_delay: float
    """How many seconds later pictures come than sound."""


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices to open."""

    microphone: MicrophoneRequest | MediaRequest | None
    """Source of sound."""
    camera: MediaRequest | None
    """Source of pictures."""
    source: MediaRequest | None
    """Source of both, instead of the other two."""


class Reopenable(LiveStream, Protocol):
    """A live stream whose devices can be reopened."""

    def reopen(self) -> None:
        """Close and reopen every device."""
        ...


def listen(classifier: Classifier, devices: Devices, settings: StreamSettings, request: Request) -> None:
    """Check everything that can be checked, then open the devices and follow them.

    Raises:
        SourceError: The devices cannot be opened.
        OutputError: Results cannot be written.
        BrokenPipeError: The reader of the results is gone.
        DegradedError: Something is missing and --strict was given.
        engines.errors.EngineError: Inference failed for good.
    """
    from ascstream.live.source import open_live

    about = f"bundle {classifier.manifest.name} {classifier.manifest.version}, {classifier.backend}"
    sink = open_sinks(request, about)
    gc.collect()  # see `gc.freeze` below
    with closing(sink):
        source = open_live(
            devices.microphone,
            devices.camera,
            source=devices.source,
            camera_delay_seconds=request.camera_delay,
            wait=request.wait,
        )
        with source:
            follow(classifier, source, settings, sink, request)


def open_sinks(request: Request, about: str) -> SinkGroup:
    """Make the sinks of stdout and --out; no file is created yet."""
    check_targets(["-", *request.out], ())

    def of(target: str, format: str | None = None) -> Sink:  # noqa: A002 - the command line's word
        return open_sink(
            target,
            format,
            live=True,
            quiet=True,  # events are logged instead
            rotate_seconds=request.rotate,
            top=request.top,
            min_score=request.min_score,
            about=about,
        )

    return SinkGroup([of("-", request.format), *map(of, request.out)])


def follow(
    classifier: Classifier,
    source: Reopenable,
    settings: StreamSettings,
    sink: Sink,
    request: Request,
    clock: Clock | None = None,
) -> None:
    """Follow a stream to its end, and keep sinks, log and service manager informed.

    Raises:
        The same errors as `listen`.
    """
    clock = clock or Clock()
    with closing(Log(request.level, clock=clock)) as log, closing(Notifier(clock=clock)) as notifier:
        run = _Run(classifier, source, settings, sink, request, log)
        try:
            ctrl_z = suspend_calls(run.ask_to_suspend) if request.format == "view" else nullcontext()
            with hangup_calls(run.ask_to_reopen), ctrl_z:
                run.follow(notifier, clock)
        finally:
            gc.unfreeze()
            notifier.stopping()


class _Run:
    """One stream and what is done with its predictions."""

    def __init__(
        self,
        classifier: Classifier,
        source: Reopenable,
        settings: StreamSettings,
        sink: Sink,
        request: Request,
        log: Log,
    ) -> None:
        self._classifier = classifier
        self._source = source
        self._settings = settings
        self._sink = sink
        self._request = request
        self._log = log
        self._step = float(settings.step(classifier.manifest))
        self._begun = False
        self._early: list[StreamEvent] = []
        self._reopen = False
        self._suspend = False
        # do not write over the view
        self._logs_events = request.format != "view" or not sys.stderr.isatty()

    def ask_to_reopen(self) -> None:
        """Request that files and devices be reopened soon; for signal handlers."""
        self._reopen = True

    def ask_to_suspend(self) -> None:
        """Request that the terminal be released and the process stopped soon; for signal handlers."""
        self._suspend = True

    def follow(self, notifier: Notifier, clock: Clock) -> None:
        """Take predictions until something ends the stream."""
        stats = StreamStats(self._source.info.name, clock=clock.monotonic)
        live = stream_live(
            self._classifier,
            self._source,
            self._settings,
            stats=stats,
            on_event=lambda event: self._tell(event, stats),
            on_tick=self._tick,
            clock=clock,
        )
        try:
            with closing(live):
                for prediction in live:
                    if self._is_beyond(prediction.end):  # if the last window within the duration was dropped
                        break
                    self._sink.emit(prediction)
                    notifier.judged(prediction)
                    raise_stopped()
                    self._require_whole(prediction)
                    if self._is_beyond(prediction.end + self._step):
                        break
            stats.finish()
        except BrokenPipeError:  # the reader is gone
            raise
        except (AscstreamError, EngineError) as error:
            self._end(stats, str(error))
            raise
        except KeyboardInterrupt:  # the usual end of a live stream
            stats.finish()
            self._end(stats, None)
            raise
        except BaseException:
            self._end(stats, "interrupted")
            raise
        self._end(stats, None)

    def _tell(self, event: StreamEvent, stats: StreamStats) -> None:
        """Pass an event on; "started" begins the output."""
        if event.kind == "started":
            self._announce(event.message)
            self._sink.begin(self._source.info, stats)
            self._begun = True  # a signal may come earlier: what has not begun has no end either
            gc.freeze()  # objects loaded by now stay: collecting them would delay answers by 20 ms and more
            for early in self._early:
                self._sink.event(early)
        elif self._logs_events:
            self._log.event(event)
        if self._begun:
            self._sink.event(event)
        else:
            self._early.append(event)
        if self._request.strict and event.kind == "windows_dropped":
            raise DegradedError(f"expected every window, since --strict was given; got an event: {event.message}")

    def _announce(self, devices: str) -> None:
        """State what is running, on stderr."""
        if self._request.level in ("warning", "error"):
            return
        tell_running(self._classifier, self._step, devices)

    def _tick(self, health: Health, picture: Image | None) -> None:
        """Inform sinks and log that time has passed; suspend, or reopen files and devices, if requested."""
        raise_stopped()
        if self._begun:
            self._sink.tick(health, picture)
        self._log.tick()
        if self._suspend:
            self._suspend = False
            self._sink.pause()
            suspend()
        if self._reopen:
            self._reopen = False
            self._log.write("info", "SIGHUP: files and devices are opened anew")
            self._sink.reopen()
            self._source.reopen()

    def _require_whole(self, prediction: Prediction) -> None:
        """With --strict, raise if a window is degraded, or was scored by ONNX Runtime after TensorRT failed."""
        if self._request.strict and prediction.fallback is not None:
            raise DegradedError(
                f"expected TensorRT for every window, since --strict was given; got one at {prediction.end:g} s from "
                f"ONNX Runtime: {prediction.fallback}; the results are kept"
            )
        if not (self._request.strict and prediction.degraded):
            return
        reason = (prediction.reason or "").replace("_", " ") if prediction.level == "unknown" else ""
        why = ", ".join(part for part in (reason, describe_degraded(prediction)) if part)
        raise DegradedError(
            f"expected every window whole, since --strict was given; got one at {prediction.end:g} s "
            f"that is degraded ({why}); the results are kept"
        )

    def _is_beyond(self, seconds: float) -> bool:
        """Whether a window that ends at `seconds` reaches past the duration."""
        duration = self._request.duration
        return duration is not None and seconds > duration + 1e-6

    def _end(self, stats: StreamStats, error: str | None) -> None:
        """Tell the sinks and the user how the stream went, if it had begun."""
        if not self._begun:
            return
        summary = stats.summary()
        self._sink.end(summary, error)
        self._log.close()
        if self._request.level not in ("warning", "error") and self._request.format != "view" and summary.n_windows:
            tell_summary(summary, error)
