"""What the pictures of files and live streams share: the answer in large letters, the scores as bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ascstream.records import Prediction
from ascstream.sinks.console import describe_degraded, describe_unknown
from ascstream.sinks.drawing import Legend, bar, shorten
from ascstream.sinks.letters import large
from ascstream.sinks.output import printable


@dataclass(frozen=True, slots=True)
class Canvas:
    """The area to draw on, and what it can display."""

    width: int
    """Columns."""
    height: int
    """Rows."""
    ascii_only: bool = False
    """Whether to use ASCII only."""
    letters: bool = False
    """Whether letters tell answers apart, because there is no colour."""
    many_colours: bool = False
    """Whether there are 256 colours or more: enough for a picture."""


def heads(latest: Prediction, since: str, legend: Legend, width: int, canvas: Canvas) -> tuple[list[Text], list[Text]]:
    """The answer in large letters, and the same in two plain lines.

    Args:
        latest: The answer.
        since: How long it has lasted, in words.
        legend: The marks of answers.
        width: Columns.
        canvas: The canvas to draw on.
    """
    style = f"bold {legend.mark(latest.label).colour}"
    if latest.level == "unknown":
        why = describe_unknown(latest)
        about = Text(why if len(why) <= width else why.partition(",")[0], "yellow")
    else:
        about = Text(f"{100 * latest.score:.0f} %", "bold").append(f"  {latest.level}", "not bold")
    since = f"  {since}" if since else ""
    missing = describe_degraded(latest)
    lacks = f"  degraded: {missing}" if missing else ""
    if about.cell_len + len(since) + len(lacks) > width:
        since = ""
    if about.cell_len + len(lacks) > width:
        lacks = "  degraded"
    about.append(since, "not bold dim").append(lacks, "not bold yellow")
    small = [Text(printable(latest.label), style), about]
    rows = None if canvas.ascii_only else large(latest.label)
    if rows is None or len(rows[0]) > width:
        return small, small
    return [*(Text(row, style) for row in rows), about], small


def score_bars(scores: Mapping[str, float], chosen: str, legend: Legend, width: int, n_rows: int) -> list[Text]:
    """One bar per scene, in alphabetical order so that they stay where they are.

    If there are many, in columns; if there are too many, only the best.
    """
    labels = sorted(scores)
    if n_rows <= 0 or not labels:
        return []
    n_columns = min(-(-len(labels) // n_rows), max(1, width // 30))
    best = sorted(labels, key=lambda label: -scores[label])[: n_rows * n_columns]
    shown = [label for label in labels if label in best]
    column = (width - 3 * (n_columns - 1)) // n_columns
    name_width = max(1, min(max(cell_len(label) for label in labels), column - 12))
    bar_width = max(0, column - name_width - 8)
    rows = [Text() for _ in range(n_rows)]
    for index, label in enumerate(shown):
        row, score = rows[index % n_rows], scores[label]
        name = set_cell_size(shorten(printable(label), name_width), name_width)
        row.append("   " if row else "").append(f"{name}  ", "bold" if label == chosen else "")
        row.append_text(bar(score, bar_width, legend.mark(label).colour))
        row.append(f" {100 * score:3.0f} %", "bold" if label == chosen else "dim")
    return [row for row in rows if row]
