"""A line a prediction for people, where there is no terminal to draw on: pipes, logs, `TERM=dumb`."""

from __future__ import annotations

import sys
from typing import TextIO

from ascstream.records import Prediction, StreamEvent
from ascstream.sinks.base import Sink
from ascstream.sinks.output import Destination, printable
from ascstream.sources.base import SourceInfo
from ascstream.stats import StreamStats, StreamSummary

_GROUP_WIDTH = 14
"""Columns a label gets at least: "transportation", so that groups do not break the column."""


class LinesSink(Sink):
    """Writes `   12.0 s  street_traffic   87 %  degraded (no picture)`; events go to standard error."""

    def __init__(
        self, target: str = "-", *, headings: bool = False, quiet: bool = False, notes: TextIO | None = None
    ) -> None:
        """Prepare the sink.

        Args:
            target: A path, or "-" for standard output.
            headings: Whether the name of each input is written above its lines.
            quiet: Whether events are left out.
            notes: Where events go; standard error by default.
        """
        self._destination = Destination(target)
        self._headings = headings
        self._quiet = quiet
        self._notes = notes
        self._decimals = 1
        self._n_inputs = 0
        self._source = ""

    def begin(self, info: SourceInfo, stats: StreamStats) -> None:  # noqa: ARG002 - a line needs no running totals
        """A new input starts."""
        self._source = printable(info.name)
        self._destination.begin(info.name)
        if self._headings:
            gap = "\n" if self._n_inputs else ""
            self._destination.write(f"{gap}==> {self._source} <==\n", keep=False)
        self._n_inputs += 1

    def emit(self, prediction: Prediction) -> None:
        """Write a prediction."""
        self._decimals = max(self._decimals, _decimals(prediction.end))
        self._destination.write(to_line(prediction, self._decimals))

    def event(self, event: StreamEvent) -> None:
        """Tell of an event."""
        if self._quiet:
            return
        notes = sys.stderr if self._notes is None else self._notes
        notes.write(f"{self._source}: {event.time:.1f} s: {printable(event.message)}\n")
        notes.flush()

    def end(self, summary: StreamSummary, error: str | None) -> None:  # noqa: ARG002 - summaries go to standard error
        """The input is over."""
        self._destination.end()

    def close(self) -> None:
        """Place the file, if it is one."""
        self._destination.close()


def to_line(prediction: Prediction, decimals: int = 1) -> str:
    """A prediction as a line for people, newline included."""
    widest = max((len(label) for label in prediction.scores), default=0)
    width = max(widest, _GROUP_WIDTH, len(prediction.label))
    parts = [f"{prediction.end:{8 + decimals - 1}.{decimals}f} s", f"{printable(prediction.label):<{width}}"]
    if prediction.level == "unknown":
        parts.append(f"        {describe_unknown(prediction)}")
    else:
        parts.append(f"{100 * prediction.score:4.0f} %")
    missing = describe_degraded(prediction)
    if missing:
        parts.append(f"degraded ({missing})")
    return "  ".join(parts).rstrip() + "\n"


def describe_unknown(prediction: Prediction) -> str:
    """Why there is no answer, and what came closest: `low confidence, best: park 41 %`."""
    reason = (prediction.reason or "unknown").replace("_", " ")
    if prediction.reason != "low_confidence" or not prediction.scores:
        return reason
    best = max(prediction.scores, key=lambda label: prediction.scores[label])
    return f"{reason}, best: {best} {100 * prediction.scores[best]:.0f} %"


def describe_degraded(prediction: Prediction) -> str:
    """What the window lacked: `0.40 s lost`, `no picture`; empty where it lacked nothing."""
    if not prediction.degraded:
        return ""
    parts = []
    if prediction.lost_seconds > 0:
        parts.append(f"{prediction.lost_seconds:.2f} s lost")
    if prediction.padded_seconds > 0:
        parts.append(f"{prediction.padded_seconds:.2f} s padded")
    if not parts:
        lacks = {"audio": "no picture", "video": "no sound"}
        parts.append(lacks.get("+".join(prediction.modalities), "nothing heard or seen"))
    return ", ".join(parts)


def _decimals(seconds: float) -> int:
    """The fewest decimals, one to three, that show a time exactly."""
    return next((n for n in (1, 2) if abs(seconds * 10**n - round(seconds * 10**n)) < 1e-6), 3)
