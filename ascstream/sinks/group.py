"""Several sinks as one: all receive the same, and the failure of one does not affect the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ascstream.errors import OutputError
from ascstream.live.health import Health
from ascstream.records import Image, Prediction, StreamEvent
from ascstream.sinks.base import Sink
from ascstream.sources.base import SourceInfo
from ascstream.stats import StreamStats, StreamSummary


class SinkGroup(Sink):
    """Serves every sink before raising an error of one of them; that one is closed and left out from then on.

    If the reader of standard output is gone (`BrokenPipeError`), that is an error only if no other sink is left: files
    that were asked for are completed.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = list(sinks)

    def begin(self, info: SourceInfo, stats: StreamStats) -> None:
        """Begin a new input."""
        self._each(lambda sink: sink.begin(info, stats))

    def emit(self, prediction: Prediction) -> None:
        """Process a prediction."""
        self._each(lambda sink: sink.emit(prediction))

    def event(self, event: StreamEvent) -> None:
        """Process an event."""
        self._each(lambda sink: sink.event(event))

    def tick(self, health: Health, picture: Image | None = None) -> None:
        """Note that time has passed in a live stream."""
        self._each(lambda sink: sink.tick(health, picture))

    def reopen(self) -> None:
        """Continue in files of the same names."""
        self._each(lambda sink: sink.reopen())

    def pause(self) -> None:
        """Release the terminal for a while."""
        self._each(lambda sink: sink.pause())

    def end(self, summary: StreamSummary, error: str | None) -> None:
        """End the input."""
        self._each(lambda sink: sink.end(summary, error))

    def close(self) -> None:
        """Close all sinks; may be called twice."""
        sinks, self._sinks = self._sinks, []
        first: OSError | None = None
        for sink in sinks:
            try:
                sink.close()
            except (OutputError, BrokenPipeError) as error:
                first = first or error
        if first is not None:
            raise first

    def _each(self, call: Callable[[Sink], None]) -> None:
        """Run `call` on every sink; drop the sinks that fail, then raise the first error."""
        first: OutputError | None = None
        for sink in list(self._sinks):
            try:
                call(sink)
            except OutputError as error:
                first = first or self._drop(sink, error)
            except BrokenPipeError:
                if len(self._sinks) == 1:
                    raise
                self._sinks.remove(sink)
        if first is not None:
            raise first

    def _drop(self, sink: Sink, error: OutputError) -> OutputError:
        """Close a sink that failed; what it wrote before is kept."""
        self._sinks.remove(sink)
        try:
            sink.close()
        except (OutputError, BrokenPipeError) as second:
            error.__context__ = second
        return error
