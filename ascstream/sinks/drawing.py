"""Drawing elements of the view and the summary: bars, the time strip, colours and letters for labels, clocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.text import Text

from ascstream.intervals import Interval
from ascstream.stats import Percentiles

_COLOURS = (
    "#5b8ff9", "#f6903d", "#ff99c3", "#5ad8a6", "#f6bd16", "#9270ca", "#6dc8ec", "#e8684a", "#a3c644", "#b3a2f0",
    "#269a99", "#c2a07a",
)  # fmt: skip
"""Neighbours in this order differ in lightness as well as in hue."""
_UNKNOWN_COLOUR = "#7a7f87"


@dataclass(frozen=True, slots=True)
class Mark:
    """How an answer looks in the time strip."""

    colour: str
    """A colour that rich understands."""
    letter: str
    """One character, which tells answers apart where there is no colour."""


_ASCII = str.maketrans("━╸─█▒■✓✗–−·×µ…°●○◌│╭╮╰╯", "=-.#:#+x---xu~ *o.|++++")


def to_ascii(text: Text) -> Text:
    """The same text for a terminal that knows only ASCII, equally wide; changes `text` in place."""
    text.plain = text.plain.translate(_ASCII).encode("ascii", "replace").decode()
    return text


class Legend:
    """Assigns each answer a lasting mark; views ask for scenes first, alphabetically, and for groups as they appear."""

    def __init__(self) -> None:
        self._marks = {"unknown": Mark(_UNKNOWN_COLOUR, "?")}

    def mark(self, label: str) -> Mark:
        """The mark of an answer."""
        known = self._marks.get(label)
        if known is None:
            taken = {mark.letter for mark in self._marks.values()}
            wanted = "".join(word[:1] for word in label.split("_")) + label + "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
            letter = next((c for c in wanted.upper() if c.isalnum() and c not in taken), "*")
            known = self._marks[label] = Mark(_COLOURS[(len(self._marks) - 1) % len(_COLOURS)], letter)
        return known


def bar(fraction: float, width: int, colour: str) -> Text:
    """A horizontal bar, `width` columns wide, on a dim track."""
    half_columns = round(2 * width * min(max(fraction, 0.0), 1.0))
    whole, half = divmod(half_columns, 2)
    return Text("━" * whole + "╸" * half, colour).append("─" * (width - whole - half), "bright_black")


def cells(intervals: Iterable[Interval], start: float, end: float, n_cells: int) -> list[str | None]:
    """The label that held longest in each of `n_cells` equal parts of [start, end]; None where nothing was decided.

    Args:
        intervals: In order of time, not overlapping.
        start: Start in seconds.
        end: End in seconds.
        n_cells: Number of parts.
    """
    held: list[dict[str, float]] = [{} for _ in range(n_cells)]
    width = (end - start) / n_cells if n_cells else 0.0
    if width <= 0:
        return [None] * n_cells
    for interval in intervals:
        first = max(0, int((interval.start - start) / width))
        last = min(n_cells - 1, int((interval.end - start) / width))
        for index in range(first, last + 1):
            left = start + index * width
            overlap = min(interval.end, left + width) - max(interval.start, left)
            if overlap > 1e-9:
                held[index][interval.label] = held[index].get(interval.label, 0.0) + overlap
    return [max(part, key=lambda label: part[label]) if part else None for part in held]


def strip(labels: Sequence[str | None], legend: Legend, *, letters: bool) -> Text:
    """The time strip: one cell per part, coloured, or as letters where there is no colour."""
    text = Text()
    for label in labels:
        if label is None:
            text.append("─", "bright_black")
        elif letters:
            text.append(legend.mark(label).letter)
        else:
            text.append("█", legend.mark(label).colour)
    return text


def beside(parts: Sequence[Text], width: int, gap: int = 3) -> Text:
    """The parts in a row, as many as fit; if the first does not fit, it is cut off."""
    row = Text()
    for part in parts:
        if not part.cell_len:
            continue
        if row and row.cell_len + gap + part.cell_len > width:
            break
        row.append(" " * gap if row else "").append_text(part)
    row.truncate(width, overflow="ellipsis")
    return row


def key(labels: Iterable[str], legend: Legend, *, letters: bool) -> Text:
    """The key to the strip's marks."""
    text = Text()
    for label in labels:
        mark = legend.mark(label)
        text.append("  " if text else "").append(mark.letter if letters else "■", mark.colour).append(f" {label}")
    return text


def axis(start: float, end: float, width: int) -> Text:
    """Clock times below the strip: at its ends, and in the middle if there is room."""
    left, middle, right = clock(start), clock((start + end) / 2), clock(end)
    row = [" "] * max(width, len(left))
    row[: len(left)] = left
    if width >= len(left) + len(right) + 1:
        row[width - len(right) : width] = right
    at = width // 2 - len(middle) // 2
    if at > len(left) + 2 and at + len(middle) < width - len(right) - 2:
        row[at : at + len(middle)] = middle
    return Text("".join(row), "dim")


def clock(seconds: float) -> str:
    """Format a time: `0:07`, `12:34`, `1:02:03`."""
    whole = max(0, int(seconds + 1e-6))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def percentiles(latency: Percentiles, width: int, gap: str) -> str:
    """`p50 3.1 ms`, followed by p95 and p99 as far as they fit."""
    values = {"p50": latency.p50, "p95": latency.p95, "p99": latency.p99}
    parts = [f"{name} {duration(value)}" for name, value in values.items()]
    text = parts[0]
    for part in parts[1:]:
        if len(text) + len(gap) + len(part) > width:
            break
        text += gap + part
    return text


def shorten(text: str, width: int) -> str:
    """The text, cut off with `…` if it is wider than `width` columns."""
    shown = Text(text)
    shown.truncate(max(width, 1), overflow="ellipsis")
    return shown.plain


def duration(seconds: float) -> str:
    """Format a short duration: `420 µs`, `3.1 ms`, `2.4 s`."""
    if abs(seconds) < 0.0009995:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.3g} ms" if abs(seconds) < 0.9995 else f"{seconds:.1f} s"


def speed(realtime_factor: float) -> str:
    """Format a speed as a multiple of real time, `48×`; `realtime_factor` is wall time divided by stream time."""
    times = 1 / realtime_factor if realtime_factor > 0 else 0.0
    return f"{times:.0f}×" if times >= 9.95 else f"{times:.1f}×"
