"""Pieces of text at positions on a terminal, and a frame around them with text in its edges."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from rich.text import Text

from ascstream.sinks.drawing import shorten, to_ascii

BOX_WIDTH, BOX_HEIGHT = 50, 16
"""Smallest terminal that gets a frame."""
MARGIN = 3
"""Columns the frame takes on either side."""
_STYLE = "bright_black"


class Piece(NamedTuple):
    """A segment of a row. Pieces of one drawing do not overlap."""

    row: int
    """From 0, at the top."""
    column: int
    """From 0, at the left."""
    width: int
    """Columns it covers, whatever the text."""
    text: Text
    """No wider than that."""


def frame(title: str, corner: str, foot: str, width: int, height: int, *, ascii_only: bool) -> list[Piece]:
    """A frame as large as the terminal.

    Args:
        title: Text in the upper edge, at the left; shortened if there is no room.
        corner: Text in the upper edge, at the right.
        foot: Text in the lower edge, at the right.
        width: Columns, at least `BOX_WIDTH`.
        height: Rows, at least `BOX_HEIGHT`.
        ascii_only: Whether to use ASCII only.
    """
    title = shorten(title, width - len(corner) - 10)
    corners, dash = ("++++", "-") if ascii_only else ("╭╮╰╯", "─")
    if ascii_only:
        title = to_ascii(Text(title)).plain
    top, bottom = _edge(corners[:2], dash, title, corner, width), _edge(corners[2:], dash, "", foot, width)
    return [Piece(0, 0, width, top), *_sides(width, height, ascii_only), Piece(height - 1, 0, width, bottom)]


def compose(pieces: Sequence[Piece], height: int) -> list[Text]:
    """Combine the pieces into whole rows, as many as needed, at most `height`."""
    rows: list[Text] = []
    for piece in sorted(pieces, key=lambda piece: piece[:2]):
        if piece.row >= height:
            break
        while len(rows) <= piece.row:
            rows.append(Text())
        row = rows[piece.row]
        row.append(" " * (piece.column - row.cell_len)).append_text(piece.text)
        row.append(" " * (piece.column + piece.width - row.cell_len))
    return rows


@lru_cache(4)
def _sides(width: int, height: int, ascii_only: bool) -> tuple[Piece, ...]:
    side = Text("|" if ascii_only else "│", _STYLE)
    return tuple(Piece(row, column, 1, side) for row in range(1, height - 1) for column in (0, width - 1))


def _edge(corners: str, dash: str, left: str, right: str, width: int) -> Text:
    row = Text(corners[0] + dash, _STYLE)
    if left:
        row.append(" ").append(left, "bold default").append(" ")
    tail = Text(f" {right} ", "default")
    row.append(dash * (width - row.cell_len - tail.cell_len - 2)).append_text(tail)
    return row.append(dash + corners[1], _STYLE)
