"""The live view: draws the picture while predictions come, and leaves the summary on the terminal at the end."""

from __future__ import annotations

import io
import math
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.control import Control
from rich.live import Live
from rich.terminal_theme import TerminalTheme

from ascstream.errors import OutputError
from ascstream.records import Prediction, StreamEvent
from ascstream.sinks.base import Sink
from ascstream.sinks.drawing import Legend
from ascstream.sinks.picture import Canvas, Picture
from ascstream.sinks.selection import Selection
from ascstream.sinks.summary import render_summary
from ascstream.sources.base import SourceInfo
from ascstream.stats import StreamStats, StreamSummary

_REFRESH_SECONDS = 0.2
"""The picture is drawn at most this often, and only when a prediction came."""
_THEME = TerminalTheme(
    (22, 25, 31),
    (214, 218, 226),
    [
        (40, 44, 52),
        (224, 90, 90),
        (106, 190, 120),
        (222, 184, 80),
        (91, 143, 249),
        (176, 120, 210),
        (90, 190, 205),
        (190, 196, 206),
    ],
    [
        (66, 72, 84),
        (240, 110, 110),
        (130, 210, 140),
        (240, 205, 110),
        (120, 165, 255),
        (200, 150, 230),
        (120, 215, 225),
        (240, 243, 248),
    ],
)
"""The sixteen colours of a picture for a page, on a dark ground."""


class ViewSink(Sink):
    """Draws on a terminal while predictions come, and leaves the summary there at the end of each input."""

    def __init__(
        self,
        console: Console | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        selection: Selection | None = None,
        about: str = "",
    ) -> None:
        self._console = Console(file=sys.stdout, highlight=False) if console is None else console
        self._clock = clock
        self._selection = Selection() if selection is None else selection
        self._about = about
        self._legend = Legend()
        self._picture: Picture | None = None
        self._live: Live | None = None
        self._drawn_at = -math.inf
        self._size = self._console.size

    def begin(self, info: SourceInfo, stats: StreamStats) -> None:
        """A new input starts."""
        self._picture = Picture(info, stats, self._legend)
        self._live = Live(console=self._console, auto_refresh=False, transient=True, vertical_overflow="crop")
        self._guard(self._live.start)
        self._draw()
        self._drawn_at = -math.inf  # the first answer is not kept waiting by the empty picture

    def emit(self, prediction: Prediction) -> None:
        """Take a prediction; draw, unless that was done a moment ago."""
        if self._picture is None:
            raise RuntimeError("emit before begin")
        self._picture.add(prediction)
        if self._clock() - self._drawn_at >= _REFRESH_SECONDS:
            self._draw()

    def event(self, event: StreamEvent) -> None:
        """Show it under the picture."""
        if self._picture is not None:
            self._picture.event(event)

    def end(self, summary: StreamSummary, error: str | None) -> None:
        """Take the picture away and print the summary, if there is anything to sum up."""
        self.close()
        if not summary.n_windows:
            return
        text = render_summary(
            summary,
            error,
            width=self._console.width,
            ascii_only=self._console.options.ascii_only,
            letters=self._without_colour(),
            legend=self._legend,
        )
        self._guard(lambda: self._console.print(text, "", sep="\n", soft_wrap=True))

    def close(self) -> None:
        """Give the terminal back; may be called twice."""
        live, self._live = self._live, None
        if live is not None:
            self._guard(live.stop)

    def svg(self, *, width: int = 100, height: int = 30, title: str = "ascstream") -> str:
        """The picture as it would look on a terminal of that size, as an SVG document."""
        if self._picture is None:
            raise RuntimeError("svg before begin")
        console = Console(
            file=io.StringIO(), record=True, width=width, height=height, force_terminal=True, color_system="truecolor"
        )
        console.print(self._picture.draw(Canvas(width, height), self._clock()))
        return console.export_svg(title=title, theme=_THEME)

    def _draw(self) -> None:
        if self._live is None or self._picture is None:
            return
        live, options, size = self._live, self._console.options, self._console.size
        if size != self._size:
            # what was drawn is wrapped now, and no longer where rich would erase it
            self._size = size
            self._guard(lambda: self._console.control(Control.clear(), Control.home()))
        canvas = Canvas(size.width, size.height - 1, options.ascii_only, self._without_colour())
        picture = self._picture.draw(canvas, self._clock())
        self._guard(lambda: live.update(picture, refresh=True))
        self._drawn_at = self._clock()

    def _without_colour(self) -> bool:
        return self._console.no_color or self._console.color_system is None

    def _guard(self, call: Callable[[], object]) -> None:
        """Run it; a terminal that went away is an error of the output."""
        try:
            call()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"terminal: {error.strerror}") from error
