"""What a sink is: something that takes predictions. Each format has a file of its own; `open_sink` picks one."""

from __future__ import annotations

from typing import Protocol

from ascstream.live.health import Health
from ascstream.records import Image, Prediction, StreamEvent
from ascstream.sources.base import SourceInfo
from ascstream.stats import StreamStats, StreamSummary


class Sink(Protocol):
    """Takes the predictions of one or several inputs, one input after the other.

    `begin`, then any number of `emit`, `event`, `tick`, `reopen` and `pause`, then `end`, for each input; `close` once.
    Every method may raise `OutputError` (full disk, no permission); what was written before stays.
    """

    def begin(self, info: SourceInfo, stats: StreamStats) -> None:
        """A new input starts; `stats` may be asked for a summary while it runs."""
        ...

    def emit(self, prediction: Prediction) -> None:
        """Take one prediction."""
        ...

    def event(self, event: StreamEvent) -> None:
        """Take one event."""
        ...

    def tick(self, health: Health, picture: Image | None = None) -> None:  # noqa: ARG002 - by default nothing
        """Time passes in a live stream: called about five times a second, predictions or not.

        Args:
            health: How the devices are.
            picture: The newest frame, [height, width, 3]; None where there is none. It is shown, never stored.
        """
        return

    def reopen(self) -> None:
        """Close the file, which somebody may have moved away, and go on in one of the same name."""
        return

    def pause(self) -> None:
        """Give the terminal back until something is drawn again: the user is about to use it (Ctrl-Z)."""
        return

    def end(self, summary: StreamSummary, error: str | None) -> None:
        """The input is over; `error` says why it broke off, None where it did not."""
        ...

    def close(self) -> None:
        """Flush, rename into place, give back; may be called twice, and after an error or an interrupt too."""
        ...
