"""The last minutes of a live stream as a strip of cells, with its axis and key."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from ascstream.sinks.drawing import Legend, clock
from ascstream.sinks.history import Cell
from ascstream.sinks.output import printable


def strip(cells: Sequence[Cell | None], legend: Legend, *, letters: bool) -> Text:
    """One mark per cell: in the answer's colour, shaded if something was missing; a line where nothing was answered.

    Args:
        cells: The newest last.
        legend: The marks of answers.
        letters: Whether to use letters because there is no colour, lower-case if something was missing.
    """
    text = Text()
    begin = 0
    for index in range(1, len(cells) + 1):
        if index < len(cells) and cells[index] == cells[begin]:
            continue
        cell, n_cells = cells[begin], index - begin
        if cell is None:
            text.append("─" * n_cells, "bright_black")
        elif not cell.label:
            text.append(" " * n_cells)
        elif letters:
            letter = legend.mark(cell.label).letter
            text.append((letter.lower() if cell.degraded else letter) * n_cells)
        else:
            text.append(("▒" if cell.degraded else "█") * n_cells, legend.mark(cell.label).colour)
        begin = index
    return text


def axis(span_seconds: float, width: int) -> Text:
    """How long ago: `−5:00`, the middle if there is room, `now`."""
    left, middle, right = f"−{clock(span_seconds)}", f"−{clock(span_seconds / 2)}", "now"
    if width < len(left) + len(right) + 1:
        return Text(right.rjust(width), "dim")
    row = left + " " * (width - len(left) - len(right)) + right
    at = width // 2 - len(middle) // 2
    if at > len(left) + 2 and at + len(middle) < width - len(right) - 2:
        row = row[:at] + middle + row[at + len(middle) :]
    return Text(row, "dim")


def key(cells: Sequence[Cell | None], legend: Legend, *, letters: bool) -> Text:
    """The key to the marks, in the order in which they appear."""
    text = Text()
    for label in dict.fromkeys(cell.label for cell in cells if cell is not None and cell.label):
        mark = legend.mark(label)
        text.append("  " if text else "").append(mark.letter if letters else "■", mark.colour)
        text.append(f" {printable(label)}")
    if any(cell is not None and cell.degraded for cell in cells):
        text.append("  small: degraded" if letters else "  ▒ degraded", "dim")
    if text and None in cells:
        text.append("  ─ no answer", "dim")
    return text
