"""Outputs for predictions. `open_sink` picks the format by the target's name; `SinkGroup` feeds several at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from ascstream.errors import UsageError
from ascstream.live.clock import Clock
from ascstream.sinks.base import Sink
from ascstream.sinks.group import SinkGroup
from ascstream.sinks.growing import Growth
from ascstream.sinks.output import STANDARD_OUTPUT, STEM, check_place, path_for, same_stem, several_inputs
from ascstream.sinks.selection import Selection

__all__ = ["Sink", "SinkGroup", "check_targets", "format_of", "formats", "open_sink"]

_FORMATS: Mapping[str, str] = {
    "audacity": ".txt",
    "csv": ".csv",
    "jsonl": ".jsonl",
    "lines": "",
    "srt": ".srt",
    "view": "",
    "vtt": ".vtt",
}
"""Format → file extension; "lines" and "view" have none, because they are made for standard output."""
_CAPTIONS = ("audacity", "srt", "vtt")


def formats() -> tuple[str, ...]:
    """The formats `open_sink` accepts, sorted."""
    return tuple(sorted(_FORMATS))


def format_of(target: str, wanted: str | None = None) -> str:
    """Choose a target's format: the one asked for, else by extension; for "-", the view on a terminal, otherwise lines.

    Raises:
        UsageError: The format is unknown, or does not suit the target.
    """
    if wanted is not None:
        if wanted not in _FORMATS:
            raise UsageError(f"format: expected one of {', '.join(formats())}, got {wanted!r}")
        if wanted == "view" and target != STANDARD_OUTPUT:
            raise UsageError(f"{target}: the view is drawn on a terminal, not into a file; try --format lines")
        return wanted
    if target == STANDARD_OUTPUT:
        return "view" if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" else "lines"
    suffix = Path(target).suffix.lower()
    for name, extension in _FORMATS.items():
        if extension and suffix == extension:
            return name
    known = ", ".join(sorted(extension for extension in _FORMATS.values() if extension))
    hint = f"; try {Path(target).with_suffix('.jsonl')}" if suffix == ".json" else ""
    raise UsageError(f"{target}: expected a name that ends in one of {known}, got {suffix or 'none'}{hint}")


def open_sink(
    target: str,
    format: str | None = None,  # noqa: A002
    *,
    inputs: Sequence[str] = (),
    quiet: bool = False,
    live: bool = False,
    rotate_seconds: float | None = None,
    top: int | None = None,
    min_score: float | None = None,
    explained: bool = False,
    about: str = "",
    clock: Clock | None = None,
) -> Sink:
    """Make the sink for a target. Nothing is created yet.

    A file appears once its results are complete; a live stream's file grows line by line from `begin` on.

    Args:
        target: A path, in which `{stem}` is replaced for each input, or "-" for standard output.
        format: One of `formats()`; None: by extension; for "-", the live view on a terminal, otherwise lines.
        inputs: The inputs to classify, as far as known, so that mistakes show before anything is decoded.
        quiet: Whether to write lines without events on standard error.
        live: Whether the stream is endless: files are continued and appended to, never renamed into place.
        rotate_seconds: With `live`: at each full multiple of this, rename the file by the UTC time at which its period
            began, and begin a new one; None: never. Standard output is not rotated.
        top: Number of best scenes to report; None: all (lines: only the answer).
        min_score: Least probability of a scene to be reported; None: any.
        explained: Whether JSON Lines and plain lines also give each modality's scores for a window.
        about: What is running, for the live view: bundle, engine, precision.
        clock: Tells the time; tests may substitute their own.

    Raises:
        UsageError: The format is unknown, or does not suit the target or the inputs; or `rotate_seconds`, `top` or
            `min_score` is invalid.
        OutputError: The folder is missing or not writable.
    """
    name = format_of(target, format)
    if target != STANDARD_OUTPUT:
        _check_paths(target, name, inputs)
    elif name in _CAPTIONS and len(inputs) > 1:
        raise several_inputs(target)
    clock = Clock() if clock is None else clock
    growth = Growth(clock, rotate_seconds, continued=name not in _CAPTIONS) if live else None
    selection = Selection(top, min_score)
    if name == "jsonl":
        from ascstream.sinks.jsonl import JsonlSink

        return JsonlSink(target, growth=growth, selection=selection, explained=explained, clock=clock)
    if name == "csv":
        from ascstream.sinks.csvfile import CsvSink

        return CsvSink(target, growth=growth, selection=selection)
    if name in _CAPTIONS:
        from ascstream.sinks.captions import CaptionSink

        return CaptionSink(target, name, growth=growth)
    if name == "view":
        from ascstream.sinks.view import ViewSink

        return ViewSink(clock=clock.monotonic, wall_clock=partial(_local_time, clock), selection=selection, about=about)
    from ascstream.sinks.console import LinesSink

    headings = len(inputs) > 1
    return LinesSink(
        target, headings=headings, quiet=quiet, growth=growth, selection=selection, explained=explained, clock=clock
    )


def check_targets(targets: Sequence[str], inputs: Sequence[str]) -> None:
    """Refuse outputs that would overwrite each other or an input; `inputs` may be empty if they are unknown.

    Raises:
        UsageError: A path is given twice, or is also an input.
    """
    seen: dict[Path | str, str] = {}
    for target in targets:
        named: list[Path | str] = [STANDARD_OUTPUT]
        if target != STANDARD_OUTPUT:
            each = inputs if STEM in target and inputs else [STEM]
            named = [path_for(target, source).resolve() for source in each]
        for path in dict.fromkeys(named):
            if path in seen:
                first = seen[path]
                twice = target if first == target else f"{first} and {target}"
                raise UsageError(f"{twice}: expected every output once, got {path} twice; drop one or rename it")
            seen[path] = target
            for source in inputs:
                if isinstance(path, Path) and _is_same_file(path, source):
                    raise UsageError(f"{target}: is an input as well, and would be overwritten; choose another name")


def _local_time(clock: Clock) -> datetime:
    """The current local time."""
    return clock.utc().astimezone()


def _check_paths(target: str, name: str, inputs: Sequence[str]) -> None:
    """Check the locations of all files a target stands for, as far as they are known."""
    if STEM not in target:
        if name in _CAPTIONS and len(inputs) > 1:
            raise several_inputs(target)
        check_place(Path(target))
        return
    seen: dict[Path, str] = {}
    for source in inputs:
        path = path_for(target, source)
        if path in seen:
            raise same_stem(path, seen[path], source)
        seen[path] = source
        check_place(path)


def _is_same_file(path: Path, source: str) -> bool:
    """Whether an existing input is this very file, under whatever name."""
    try:
        return path.samefile(source)
    except (OSError, ValueError):
        return False
