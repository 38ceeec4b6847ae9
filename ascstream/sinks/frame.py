"""A frame around rows of text, with words in its edges."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from ascstream.sinks.drawing import shorten, to_ascii
from ascstream.sinks.parts import Canvas

BOX_WIDTH, BOX_HEIGHT = 50, 16
"""Smallest terminal that gets a frame."""
_STYLE = "bright_black"


def framed(lines: Sequence[Text], title: str, corner: str, foot: str, canvas: Canvas) -> list[Text]:
    """The lines in a frame as large as the canvas.

    Args:
        lines: At most `canvas.height - 2`, none wider than `canvas.width - 6`.
        title: What stands in the upper edge, on the left; shortened where there is no room.
        corner: What stands there on the right.
        foot: What stands in the lower edge, on the right.
        canvas: At least `BOX_WIDTH` × `BOX_HEIGHT`.
    """
    ascii_only, inner = canvas.ascii_only, canvas.width - 6
    dash, side = ("-", "|") if ascii_only else ("─", "│")
    corners = "++++" if ascii_only else "╭╮╰╯"
    title = shorten(title, canvas.width - len(corner) - 10)
    if ascii_only:
        title = to_ascii(Text(title)).plain
    rows = [_edge(corners[:2], dash, title, corner, canvas.width)]
    for index in range(canvas.height - 2):
        line = lines[index] if index < len(lines) else Text()
        row = Text(f"{side}  ", _STYLE)
        row.append_text(Text("", "default").append_text(line))
        row.append(" " * (inner - line.cell_len + 2)).append(side)
        rows.append(row)
    return [*rows, _edge(corners[2:], dash, "", foot, canvas.width)]


def _edge(corners: str, dash: str, left: str, right: str, width: int) -> Text:
    row = Text(corners[0] + dash, _STYLE)
    if left:
        row.append(" ").append(left, "bold default").append(" ")
    tail = Text(f" {right} ", "default")
    row.append(dash * (width - row.cell_len - tail.cell_len - 2)).append_text(tail)
    return row.append(dash + corners[1], _STYLE)
