"""Several sinks as one: all get the same, and one that fails does not cost the others anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ascstream.errors import OutputError
from ascstream.live.health import Health
from ascstream.records import Image, Prediction, StreamEvent
from ascstream.sinks.base import Sink
from ascstream.sources.base import SourceInfo
from ascstream.stats import StreamStats, StreamSummary


class SinkGroup(Sink):
    """Serves every sink before it raises what one of them raised; that one is closed and left out from then on.

    A reader of standard output that went away (`BrokenPipeError`) is an error only where no other sink is left: files
    that were asked for are finished.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = list(sinks)

    def begin(self, info: SourceInfo, stats: StreamStats) -> None:
        """A new input starts."""
        self._each(lambda sink: sink.begin(info, stats))

    def emit(self, prediction: Prediction) -> None:
        """Take one prediction."""
        self._each(lambda sink: sink.emit(prediction))

    def event(self, event: StreamEvent) -> None:
        """Take one event."""
        self._each(lambda sink: sink.event(event))

    def tick(self, health: Health, picture: Image | None = None) -> None:
        """Time passes in a live stream."""
        self._each(lambda sink: sink.tick(health, picture))

    def reopen(self) -> None:
        """Go on in files of the same names."""
        self._each(lambda sink: sink.reopen())

    def pause(self) -> None:
        """Give the terminal back for a while."""
        self._each(lambda sink: sink.pause())

    def end(self, summary: StreamSummary, error: str | None) -> None:
        """The input is over."""
        self._each(lambda sink: sink.end(summary, error))

    def close(self) -> None:
        """Close all; may be called twice."""
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
        """Call it for all; drop the sinks that fail, then raise what the first of them raised."""
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
