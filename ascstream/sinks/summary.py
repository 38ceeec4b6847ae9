"""The summary of a stream as readable text: what was where and when, how fast, and what was missing."""

from __future__ import annotations

import textwrap

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ascstream.intervals import Interval
from ascstream.sinks.console import lost_for
from ascstream.sinks.drawing import (
    Legend,
    bar,
    cells,
    clock,
    duration,
    percentiles,
    shorten,
    speed,
    strip,
    to_ascii,
)
from ascstream.sinks.output import printable
from ascstream.stats import StreamSummary
from ascstream.wording import counted

_MOST_INTERVALS = 20
_MOST_EVENTS = 5
_NAME = 9
"""Width of the row names, in columns."""
_LEAST_NAME = 8
"""Columns of the source's name to keep at the expense of the numbers beside it."""
_WIDE, _NARROW = 60, 30
"""Terminal widths from which time columns are wide, and from which the shares have a heading."""
_HARD = "\N{NO-BREAK SPACE}"
"""Marks where a line must not be broken."""


def render_summary(
    summary: StreamSummary,
    error: str | None = None,
    *,
    width: int = 80,
    ascii_only: bool = False,
    letters: bool = True,
    legend: Legend | None = None,
) -> Text:
    """Draw the summary.

    Args:
        summary: The numbers.
        error: Why the stream failed, if it did.
        width: Most columns per line.
        ascii_only: Whether to use ASCII only.
        letters: Whether the time strip consists of letters instead of coloured blocks.
        legend: The marks of a view that was shown before.

    Returns:
        Styled text; its `.plain` is the version for a pipe.
    """
    legend = Legend() if legend is None else legend
    for interval in sorted(summary.intervals, key=lambda interval: interval.label):
        legend.mark(interval.label)
    lines = [_heading(summary, error, width)]
    if summary.intervals:
        room = max(10, min(width - 4, 100))
        held = cells(summary.intervals, summary.intervals[0].start, summary.end, room)
        lines += [Text("  ") + strip(held, legend, letters=letters), *_scenes(summary, legend, letters, width)]
        lines += _shares(summary, legend, width)
    lines += _measures(summary, width)
    for line in lines:
        line.rstrip()
        if ascii_only:
            to_ascii(line)
        line.truncate(width, overflow="ellipsis" if not ascii_only else "crop")
    return Text("\n").join(lines)


def _heading(summary: StreamSummary, error: str | None, width: int) -> Text:
    """Source, length, and whether it was read to its end; the name is shortened first, then numbers are dropped."""
    seconds = max(summary.end - summary.start, 0.0)
    numbers = [f" · {seconds:.1f} s", f" · {counted(summary.n_windows, 'window')}"]
    ended, style = (" · broke off", "red") if error is not None else (" · stopped early", "yellow")
    if error is None and (summary.complete or summary.devices):  # a live stream has no end of its own
        ended = ""
    source = printable(summary.source)
    least = min(cell_len(source), _LEAST_NAME)
    while numbers and least + len("".join(numbers) + ended) > width:
        numbers.pop()
    tail = "".join(numbers)
    name = shorten(source, width - len(tail + ended))
    return Text(name, "bold").append(tail, "not bold").append(ended, f"not bold {style}")


def _scenes(summary: StreamSummary, legend: Legend, letters: bool, width: int) -> list[Text]:
    """The answers in order of time; only the first of a long list."""
    intervals = summary.intervals
    shown = intervals if len(intervals) <= _MOST_INTERVALS else intervals[: _MOST_INTERVALS - 1]
    decimals = 0 if all(_is_whole(interval.start) and _is_whole(interval.end) for interval in shown) else 1
    lines = [_scene(interval, decimals, legend, letters, width) for interval in shown]
    if len(shown) < len(intervals):
        lines.append(Text(f"  … and {len(intervals) - len(shown)} more", "dim"))
    return lines


def _scene(interval: Interval, decimals: int, legend: Legend, letters: bool, width: int) -> Text:
    """When, what and how sure; the name is shortened first, then the score is dropped."""
    mark = legend.mark(interval.label)
    if width < _WIDE:
        before = after = 6
    else:  # minutes stand in the same column with tenths and without
        before, after = (11, 9) if decimals else (9, 11)
    times = f"{_exact(interval.start, decimals):>{before}} – {_exact(interval.end, decimals):<{after}}"
    score = "" if interval.level == "unknown" else f"  {100 * interval.score:.0f} %"
    text = Text(f"  {times} ").append(mark.letter if letters else "■", mark.colour)
    label = printable(interval.label)
    room = width - text.cell_len - 1
    if room < len(score) + min(cell_len(label), 4):
        score = ""
    return text.append(f" {shorten(label, room - len(score))}").append(score, "dim")


def _shares(summary: StreamSummary, legend: Legend, width: int) -> list[Text]:
    """Each answer's share of the time; the bar is shortened first, then the labels."""
    heading = _NAME if width >= _NARROW else 0
    room = width - 2 - heading - len(" 100 %")
    column = max(1, min(18, room))
    bar_width = min(room - column, 40)
    lines = []
    for index, (label, share) in enumerate(summary.shares.items()):
        name = "share" if index == 0 and heading else ""
        shown = set_cell_size(shorten(printable(label), column - 1), column)
        row = Text(f"  {name:<{heading}}", "dim").append(shown, "not dim")
        lines.append(row + bar(share, bar_width, legend.mark(label).colour) + Text(f" {100 * share:3.0f} %"))
    return lines


def _measures(summary: StreamSummary, width: int) -> list[Text]:
    """Reasons for unknown answers, speed, latency, what was missing, events."""
    factor, latency = summary.realtime_factor, summary.latency
    missing = []
    if summary.lost_seconds > 0:
        missing.append(f"{summary.lost_seconds:.2f} s lost")
    if summary.n_degraded:
        missing.append(f"{counted(summary.n_degraded, 'window')} degraded")
    if summary.n_padded:
        missing.append(f"{summary.n_padded} padded")
    if summary.n_dropped_windows:
        missing.append(f"{counted(summary.n_dropped_windows, 'window')} dropped")
    if summary.dropped_tail_seconds >= 0.005:
        missing.append(f"last {summary.dropped_tail_seconds:.2f} s left out")
    rows = [("latency", percentiles(latency, width - 2 - _NAME, " · "))]
    if not summary.devices:  # for a live stream, speed has no meaning
        took = f"{speed(factor)} real time (factor {factor:.4f}, {duration(summary.wall_seconds)})"
        rows.insert(0, ("speed", took))
    reasons = {reason.replace("_", " "): share for reason, share in summary.unknown_reasons.items()}
    if reasons:
        rows.insert(0, ("unknown", " · ".join(_unbroken(f"{why} {100 * part:.0f} %") for why, part in reasons.items())))
    if missing:
        rows.append(("missing", " · ".join(map(_unbroken, missing))))
    lost = [
        f"{device.device} {lost_for(summary.device_lost_seconds.get(device.device, 0.0))}"
        f"{'' if device.n_losses == 1 else f' in {device.n_losses} times'}"
        for device in summary.devices
        if device.n_losses
    ]
    if lost:
        rows.append(("lost", " · ".join(map(_unbroken, lost))))
    events = [f"{_exact(event.time, 1)}  {printable(event.message)}" for event in summary.events[:_MOST_EVENTS]]
    if len(summary.events) > _MOST_EVENTS:
        events.append(f"… and {len(summary.events) - _MOST_EVENTS} more")
    rows += [("note", event) for event in events]
    return [line for name, text in rows for line in _row(name, text, width)]


def _row(name: str, text: str, width: int) -> list[Text]:
    """A name with a text wrapped beside it."""
    style = "yellow" if name == "note" else "default"
    lines = textwrap.wrap(text, max(width - 2 - _NAME, 8))
    return [
        Text(f"  {name if index == 0 else '':<{_NAME}}", "dim").append(line.replace(_HARD, " "), f"not dim {style}")
        for index, line in enumerate(lines)
    ]


def _unbroken(text: str) -> str:
    """Replace spaces so that `_row` keeps the text on one line, if possible."""
    return text.replace(" ", _HARD)


def _is_whole(seconds: float) -> bool:
    return abs(seconds - round(seconds)) < 1e-3


def _exact(seconds: float, decimals: int) -> str:
    """`0:07` or `0:07.5`."""
    if not decimals:
        return clock(round(seconds))
    tenths = round(max(seconds, 0.0) * 10)
    return f"{clock(tenths // 10)}.{tenths % 10}"
