"""The live view: draws the picture while predictions come, and leaves the summary on the terminal at the end."""

from __future__ import annotations

import io
import math
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from rich.console import Console, Group
from rich.control import Control
from rich.live import Live
from rich.terminal_theme import TerminalTheme

from ascstream.errors import OutputError
from ascstream.live.health import Health
from ascstream.records import Image, Prediction, StreamEvent
from ascstream.sinks.base import Sink
from ascstream.sinks.drawing import Legend
from ascstream.sinks.live_picture import LivePicture
from ascstream.sinks.painter import Painter
from ascstream.sinks.parts import Canvas
from ascstream.sinks.picture import Picture
from ascstream.sinks.selection import Selection
from ascstream.sinks.summary import render_summary
from ascstream.sinks.thermal import Thermometer
from ascstream.sources.base import SourceInfo
from ascstream.stats import StreamStats, StreamSummary

_REFRESH_SECONDS = 0.2
"""Least time between two drawings; for a file, it is also drawn only when a prediction comes."""
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
"""The sixteen colours of a picture exported as SVG, on a dark background."""


class ViewSink(Sink):
    """Draws on a terminal while predictions come, and leaves the summary there at the end of each input.

    A live stream has the whole terminal to itself and is redrawn as time passes, predictions or not.
    """

    def __init__(
        self,
        console: Console | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], datetime] = datetime.now,
        selection: Selection | None = None,
        about: str = "",
        thermometer: Thermometer | None = None,
    ) -> None:
        """Prepare the view.

        Args:
            console: The console to draw on; None: standard output.
            clock: Monotonic seconds, on the clock of `Health`.
            wall_clock: Local time, for live streams.
            selection: Which scenes of a live stream get a bar.
            about: What is running, for live streams: bundle, engine, precision.
            thermometer: Provides the machine's temperature, for live streams.
        """
        self._console = Console(file=sys.stdout, highlight=False) if console is None else console
        self._clock = clock
        self._wall_clock = wall_clock
        self._selection = selection
        self._about = about
        self._thermometer = thermometer
        self._legend = Legend()
        self._picture: Picture | LivePicture | None = None
        self._live: Live | None = None
        self._painter: Painter | None = None
        self._drawn_at = -math.inf
        self._size = self._console.size

    def begin(self, info: SourceInfo, stats: StreamStats) -> None:
        """Begin a new input."""
        if info.live:
            self._picture = LivePicture(
                info,
                stats,
                self._legend,
                selection=self._selection,
                about=self._about,
                thermometer=self._thermometer,
                wall_clock=self._wall_clock,
            )
            painter = self._painter = Painter(self._console)
            self._guard(lambda: painter.start(self._clock()))
        else:
            self._picture = Picture(info, stats, self._legend)
            self._live = Live(console=self._console, auto_refresh=False, transient=True, vertical_overflow="crop")
            self._guard(self._live.start)
        self._draw()
        self._drawn_at = -math.inf  # so that the empty picture does not delay the first answer

    def emit(self, prediction: Prediction) -> None:
        """Add a prediction; redraw unless that was done a moment ago."""
        if isinstance(self._picture, LivePicture):
            self._picture.add(prediction, self._clock())
        elif self._picture is not None:
            self._picture.add(prediction)
        else:
            raise RuntimeError("emit before begin")
        self._draw_when_due()

    def event(self, event: StreamEvent) -> None:
        """Show an event below the picture."""
        if isinstance(self._picture, LivePicture):
            self._picture.event(event, self._clock())
        elif self._picture is not None:
            self._picture.event(event)

    def tick(self, health: Health, picture: Image | None = None) -> None:
        """Update the devices' health and the newest frame; redraw unless that was done a moment ago."""
        if isinstance(self._picture, LivePicture):
            self._picture.tick(health, picture)
            self._draw_when_due()

    def pause(self) -> None:
        """Release the terminal until the next picture of a live stream."""
        if self._painter is not None:
            self._guard(self._painter.stop)

    def end(self, summary: StreamSummary, error: str | None) -> None:
        """Remove the picture and print the summary, unless there were no windows."""
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
        """Release the terminal; may be called twice."""
        live, self._live = self._live, None
        painter, self._painter = self._painter, None
        if live is not None:
            self._guard(live.stop)
        if painter is not None:
            self._guard(painter.stop)

    def svg(self, *, width: int = 100, height: int = 30, title: str = "ascstream") -> str:
        """The picture as it would look on a terminal of that size, as an SVG document."""
        if self._picture is None:
            raise RuntimeError("svg before begin")
        console = Console(
            file=io.StringIO(), record=True, width=width, height=height, force_terminal=True, color_system="truecolor"
        )
        drawn = self._picture.draw(Canvas(width, height, many_colours=True), self._clock())
        console.print(Group(*drawn) if isinstance(drawn, list) else drawn, no_wrap=True)
        return console.export_svg(title=title, theme=_THEME)

    def _draw_when_due(self) -> None:
        if self._clock() - self._drawn_at >= _REFRESH_SECONDS:
            self._draw()

    def _draw(self) -> None:
        picture, options, size = self._picture, self._console.options, self._console.size
        if picture is None:
            return
        now = self._clock()
        canvas = Canvas(
            size.width, size.height, options.ascii_only, self._without_colour(), many_colours=self._many_colours()
        )
        if isinstance(picture, LivePicture) and self._painter is not None:
            painter, pieces = self._painter, picture.pieces(canvas, now)
            self._guard(lambda: painter.paint(pieces, now))
        elif isinstance(picture, Picture) and self._live is not None:
            if size != self._size:
                # the earlier drawing has been re-wrapped, and rich would erase it in the wrong place
                self._size = size
                self._guard(lambda: self._console.control(Control.clear(), Control.home()))
            live, drawn = self._live, picture.draw(replace(canvas, height=size.height - 1), now)
            self._guard(lambda: live.update(drawn, refresh=True))
        self._drawn_at = self._clock()

    def _without_colour(self) -> bool:
        return self._console.no_color or self._console.color_system is None

    def _many_colours(self) -> bool:
        return not self._console.no_color and self._console.color_system in ("256", "truecolor")

    def _guard(self, call: Callable[[], object]) -> None:
        """Run `call`; a terminal that went away counts as an output error."""
        try:
            call()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"terminal: {error.strerror}") from error
