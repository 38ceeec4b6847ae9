"""Puts pieces of text on a terminal's alternate screen; writes only those that changed, so that a view costs little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from rich.color import ColorSystem
from rich.console import Console
from rich.text import Text

from ascstream.sinks.frame import Piece

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
"""Alternate screen, no cursor, no line wrapping, cleared."""
_Place: TypeAlias = tuple[int, int, int]
"""Row, column and width of a piece."""
_CLEAR = "\x1b[2J"
_LEAVE = "\x1b[2J\x1b[1;1H\x1b[?7h\x1b[?25h\x1b[?1049l"
"""Restores everything; clears first, since what follows would be written over the picture if there is no other screen,
as in GNU screen."""
_SYSTEMS = {
    "standard": ColorSystem.STANDARD,
    "256": ColorSystem.EIGHT_BIT,
    "truecolor": ColorSystem.TRUECOLOR,
    "windows": ColorSystem.WINDOWS,
}
_REFRESH_SECONDS = 10.0
"""Everything is redrawn this often: something else may have written to the terminal, or stopped us for a while."""


class Painter:
    """Owns the terminal from `start`, or the next `paint` after a `stop`, until `stop`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[_Place, Text] = {}
        self._size = console.size
        self._whole_at = 0.0
        self._started = False

    def start(self, now: float) -> None:
        """Switch to the alternate screen."""
        self._shown, self._whole_at, self._size = {}, now, self._console.size
        self._started = True
        self._write(_ENTER)

    def paint(self, pieces: Sequence[Piece], now: float) -> None:
        """Show the pieces, and nothing else.

        Args:
            pieces: All within the terminal.
            now: Monotonic seconds.
        """
        if not self._started:
            self.start(now)
        begun = ""
        fresh = {(piece.row, piece.column, piece.width): piece.text for piece in pieces}
        if self._console.size != self._size:
            begun = _ENTER
        elif fresh.keys() != self._shown.keys() or now - self._whole_at >= _REFRESH_SECONDS:
            begun = _CLEAR
        if begun:
            self._shown, self._whole_at, self._size = {}, now, self._console.size
        parts = [begun]
        for place, text in fresh.items():
            known = self._shown.get(place)
            if known is not text and known != text:
                row, column, width = place
                parts.append(f"\x1b[{row + 1};{column + 1}H{self.text(text)}{' ' * (width - text.cell_len)}")
        self._shown = fresh
        self._write("".join(parts))

    def stop(self) -> None:
        """Release the terminal; may be called twice."""
        if self._started:
            self._started = False
            self._write(_LEAVE)

    def text(self, row: Text) -> str:
        """A text with the terminal's escape codes for its colours."""
        console = self._console
        system = _SYSTEMS.get(console.color_system or "")
        if system is None:
            return row.plain
        parts = []
        for text, style, _ in row.render(console):
            if style is None:
                parts.append(text)
            else:
                shown = style.without_color if console.no_color else style
                parts.append(shown.render(text, color_system=system))
        return "".join(parts)

    def _write(self, text: str) -> None:
        if text:
            self._console.file.write(text)
            self._console.file.flush()
