"""Puts rows on a terminal's second screen; only those that changed are written, so that a long view costs little."""

from __future__ import annotations

from collections.abc import Sequence

from rich.color import ColorSystem
from rich.console import Console
from rich.text import Text

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
"""Second screen, no cursor, no wrapping, empty."""
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
"""Everything as it was."""
_SYSTEMS = {
    "standard": ColorSystem.STANDARD,
    "256": ColorSystem.EIGHT_BIT,
    "truecolor": ColorSystem.TRUECOLOR,
    "windows": ColorSystem.WINDOWS,
}
_REFRESH_SECONDS = 10.0
"""Everything is written anew this often: something else may have written to the terminal, or stopped us for a while."""


class Painter:
    """Owns the terminal between `start` and `stop`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: list[Text] = []
        self._size = console.size
        self._whole_at = 0.0
        self._started = False

    def start(self, now: float) -> None:
        """Turn to the second screen."""
        self._shown, self._whole_at, self._size = [], now, self._console.size
        self._started = True
        self._write(_ENTER)

    def paint(self, rows: Sequence[Text], now: float) -> None:
        """Show the rows, each of them no wider than the terminal.

        Args:
            rows: From the top.
            now: Seconds that only go forward.
        """
        parts = []
        if self._console.size != self._size or now - self._whole_at >= _REFRESH_SECONDS:
            begun_anew = _ENTER if self._console.size != self._size else ""
            self._shown, self._whole_at, self._size = [], now, self._console.size
            parts.append(begun_anew)
        for index, row in enumerate(rows):
            if index >= len(self._shown) or self._shown[index] != row:
                rest = "\x1b[K" if row.cell_len < self._size.width else ""
                parts.append(f"\x1b[{index + 1};1H{self.text(row)}{rest}")
        if len(rows) < self._size.height and (not self._shown or len(rows) < len(self._shown)):
            parts.append(f"\x1b[{len(rows) + 1};1H\x1b[J")
        self._shown = list(rows)
        if parts:
            self._write("".join(parts))

    def stop(self) -> None:
        """Give the terminal back; may be called twice."""
        if self._started:
            self._started = False
            self._write(_LEAVE)

    def text(self, row: Text) -> str:
        """A row with the terminal's codes for its colours."""
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
        self._console.file.write(text)
        self._console.file.flush()
