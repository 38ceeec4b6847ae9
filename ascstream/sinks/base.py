"""The sink interface: what receives predictions. Each format has its own module; `open_sink` picks one."""

from __future__ import annotations

from typing import Protocol

from ascstream.live.health import Health
from ascstream.records import Image, Prediction, StreamEvent
from ascstream.sources.base import SourceInfo
from ascstream.stats import StreamStats, StreamSummary


class Sink(Protocol):
    """Receives the predictions of one or several inputs, one input after the other.

    For each input, `begin` is called, then any number of `emit`, `event`, `tick`, `reopen` and `pause`, then `end`;
    `close` is called once at the very end. Every method may raise `OutputError` (full disk, no permission); what was
    written before stays.
    """

    def begin(self, info: SourceInfo, stats: StreamStats) -> None:
        """Begin a new input; `stats` can provide a summary while it runs."""
        ...

    def emit(self, prediction: Prediction) -> None:
        """Process a prediction."""
        ...

    def event(self, event: StreamEvent) -> None:
        """Process an event."""
        ...

    def tick(self, health: Health, picture: Image | None = None) -> None:  # noqa: ARG002 - by default nothing
        """Note that time has passed in a live stream: called about five times a second, predictions or not.

        Args:
            health: The devices' health.
            picture: The newest frame, [height, width, 3], or None if there is none. It is displayed, never stored.
        """
        return

    def reopen(self) -> None:
        """Close the file, which may have been moved away, and continue in one of the same name."""
        return

    def pause(self) -> None:
        """Release the terminal until the next drawing: the user is about to use it (Ctrl-Z)."""
        return

    def end(self, summary: StreamSummary, error: str | None) -> None:
        """End the input; `error` says why it failed, None if it did not."""
        ...

    def close(self) -> None:
        """Flush, rename files into place, release resources; may be called twice, and after an error or interrupt."""
        ...
