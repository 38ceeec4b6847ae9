"""Progress of a build or a comparison, with time left: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engines.trt.builder import BuildProgress

_QUIET_SECONDS = 5.0
"""Time between two progress lines when stderr is not a terminal."""


class BuildBars:
    """Progress display on stderr."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self._clock = clock
        self._console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._bars = Progress(*columns, console=self._console, disable=not self._console.is_terminal, transient=True)
        self._task = self._bars.add_task("", total=1.0, visible=False, left="")
        self._step = ""
        self._said = 0.0

    def say(self, sentence: str) -> None:
        """Print a line that stays above the bar."""
        self._console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    def build(self, progress: BuildProgress) -> None:
        """Show the progress of a build."""
        step = f"building {progress.graph} in {progress.precision}"
        left = "" if progress.seconds_left is None else f", {_duration(progress.seconds_left)} left"
        self._show(step, progress.fraction, left, f" ({progress.phase})" if progress.phase else "")

    def compare(self, done: int, total: int) -> None:
        """Show how many recordings of the comparison are done."""
        self._show("comparing on recordings", done / total, "", f" ({done:,} of {total:,})")

    def _show(self, step: str, fraction: float, left: str, detail: str) -> None:
        """Update the bar; without a terminal, print a line if a new step begins or the last line is old enough."""
        now = self._clock()
        fresh = step != self._step
        self._step = step
        self._bars.update(self._task, description=step, completed=fraction, left=left.lstrip(", "), visible=True)
        if not self._console.is_terminal and (fresh or now - self._said >= _QUIET_SECONDS):
            self._said = now
            self.say(f"{step}: {100 * fraction:.0f} %{left}{detail}")

    def __enter__(self) -> BuildBars:
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()


def _duration(seconds: float) -> str:
    """A duration as text, such as "40 s" or "12 min"."""
    return f"{seconds:.0f} s" if seconds < 99.5 else f"{seconds / 60:.0f} min"
