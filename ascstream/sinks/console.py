"""One readable line per prediction, for output without a terminal to draw on: pipes, logs, `TERM=dumb`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TextIO

from ascstream.explain import explain
from ascstream.live.clock import Clock
from ascstream.records import Prediction, StreamEvent
from ascstream.sinks.base import Sink
from ascstream.sinks.growing import Growth
from ascstream.sinks.output import Destination, printable
from ascstream.sinks.selection import Selection
from ascstream.sources.base import SourceInfo
from ascstream.stats import StreamStats, StreamSummary

_GROUP_WIDTH = 14
"""Least width of a label in columns: that of "transportation", so that group names stay aligned."""
_LACKS = {"audio": "no picture", "video": "no sound", "": "nothing heard or seen"}
"""What a window lacked, keyed by the modalities it had."""
_NONE: Mapping[str, float] = MappingProxyType({})


class LinesSink(Sink):
    """Writes `   12.0 s  street_traffic   87 %  degraded (0.25 s lost)`; events go to standard error.

    For a live stream, a line begins with the time of day: `15:04:05.2  park   87 %  degraded (camera lost 12 s)`.
    Missing sound or picture is reported only where it begins, and its end as `whole again`.
    """

    def __init__(
        self,
        target: str = "-",
        *,
        headings: bool = False,
        quiet: bool = False,
        notes: TextIO | None = None,
        growth: Growth | None = None,
        selection: Selection | None = None,
        explained: bool = False,
        clock: Clock | None = None,
    ) -> None:
        """Prepare the sink.

        Args:
            target: A path, or "-" for standard output.
            headings: Whether to write each input's name above its lines.
            quiet: Whether to leave out events.
            notes: Where events go; standard error by default.
            growth: How a live stream's file grows.
            selection: Which scenes to report besides the answer; None: none.
            explained: Whether to add lines with each modality's scores for the window.
            clock: Tells the time of day.
        """
        self._destination = Destination(target, growth=growth)
        self._headings = headings
        self._quiet = quiet
        self._notes = notes
        self._selection = None if selection is None or selection.everything else selection
        self._explained = explained
        self._clock = Clock() if clock is None else clock
        self._decimals = 1
        self._n_inputs = 0
        self._source = ""
        self._live = False
        self._lacking = ""

    def begin(self, info: SourceInfo, stats: StreamStats) -> None:  # noqa: ARG002 - a line needs no running totals
        """Begin a new input."""
        self._source, self._live, self._lacking = printable(info.name), info.live, ""
        self._destination.begin(info.name)
        if self._headings:
            gap = "\n" if self._n_inputs else ""
            self._destination.write(f"{gap}==> {self._source} <==\n", keep=False)
        self._n_inputs += 1

    def emit(self, prediction: Prediction) -> None:
        """Write a prediction."""
        self._decimals = max(self._decimals, _decimals(prediction.end))
        others = {} if self._selection is None else self._selection.scores(prediction)
        lines = to_line(prediction, self._decimals, others, self._remark(prediction))
        if self._explained:
            lines += "".join(f"{'':14}{printable(line)}\n" for line in explain(prediction))
        self._destination.write(lines)

    def _remark(self, prediction: Prediction) -> str:
        """The remark about missing data; a lasting lack is mentioned once."""
        missing, before = describe_degraded(prediction), self._lacking
        if missing in _LACKS.values():
            self._lacking = missing
            return "" if missing == before else f"degraded ({missing})"
        if missing:
            return f"degraded ({missing})"
        self._lacking = ""
        return "whole again" if before else ""

    def event(self, event: StreamEvent) -> None:
        """Write an event to standard error."""
        if self._quiet:
            return
        notes = sys.stderr if self._notes is None else self._notes
        when = f"{self._clock.utc().astimezone():%H:%M:%S}" if self._live else f"{self._source}: {event.time:.1f} s"
        notes.write(f"{when}: {printable(event.message)}\n")
        notes.flush()

    def reopen(self) -> None:
        """Continue in a file of the same name."""
        self._destination.reopen()

    def end(self, summary: StreamSummary, error: str | None) -> None:  # noqa: ARG002 - summaries go to standard error
        """End the input."""
        self._destination.end()

    def close(self) -> None:
        """Put the file in place, if it is one."""
        self._destination.close()


def to_line(
    prediction: Prediction, decimals: int = 1, others: Mapping[str, float] = _NONE, remark: str | None = None
) -> str:
    """Format a prediction as a readable line, newline included.

    Args:
        prediction: The answer.
        decimals: Decimals of the time, unless it is a time of day.
        others: Scenes to report besides the answer.
        remark: What to say about missing data; None: all of it.
    """
    widest = max((len(label) for label in prediction.scores), default=0)
    width = max(widest, _GROUP_WIDTH, len(prediction.label))
    when = f"{prediction.end:{8 + decimals - 1}.{decimals}f} s" if prediction.time is None else _of_day(prediction)
    parts = [when, f"{printable(prediction.label):<{width}}"]
    if prediction.level == "unknown":
        parts.append(f"        {describe_unknown(prediction)}")
    else:
        parts.append(f"{100 * prediction.score:4.0f} %")
    ranked = sorted((label for label in others if label != prediction.label), key=lambda label: -others[label])
    if ranked:
        parts.append(", ".join(f"{printable(label)} {100 * others[label]:.0f} %" for label in ranked))
    if remark is None:
        missing = describe_degraded(prediction)
        remark = f"degraded ({missing})" if missing else ""
    if remark:
        parts.append(remark)
    if prediction.fallback is not None:
        parts.append("fallback (ONNX Runtime)")
    return "  ".join(parts).rstrip() + "\n"


def _of_day(prediction: Prediction) -> str:
    """Local time of a live prediction, `15:04:05.2`; of fixed width, so that columns stay aligned."""
    text = prediction.time or ""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone()
    except ValueError:
        return printable(text)
    return f"{moment:%H:%M:%S}.{moment.microsecond // 100_000}"


def describe_unknown(prediction: Prediction) -> str:
    """Why there is no answer, and what came closest: `low confidence, best: park 41 %`."""
    reason = (prediction.reason or "unknown").replace("_", " ")
    if prediction.reason != "low_confidence" or not prediction.scores:
        return reason
    best = max(prediction.scores, key=lambda label: prediction.scores[label])
    return f"{reason}, best: {best} {100 * prediction.scores[best]:.0f} %"


def describe_degraded(prediction: Prediction) -> str:
    """What the window lacked: `0.40 s lost`, `no picture`, `camera lost 12 s`; empty if nothing."""
    if not prediction.degraded:
        return ""
    parts = [f"{device} lost {lost_for(seconds)}" for device, seconds in prediction.lost.items()]
    deaf = "microphone" in prediction.lost or "source" in prediction.lost
    if prediction.lost_seconds > 0 and not deaf:
        parts.append(f"{prediction.lost_seconds:.2f} s lost")
    if prediction.padded_seconds > 0:
        parts.append(f"{prediction.padded_seconds:.2f} s padded")
    if not parts:
        parts.append(_LACKS["+".join(prediction.modalities) if len(prediction.modalities) == 1 else ""])
    return ", ".join(parts)


def lost_for(seconds: float) -> str:
    """Format a duration: `12 s`, `2:05`, `1:02:03`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def _decimals(seconds: float) -> int:
    """The fewest decimals, one to three, that show a time exactly."""
    return next((n for n in (1, 2) if abs(seconds * 10**n - round(seconds * 10**n)) < 1e-6), 3)
