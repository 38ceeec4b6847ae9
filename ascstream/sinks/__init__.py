"""Where predictions go. `open_sink` picks the format by the target's name; `SinkGroup` serves several at once."""

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
"""Format to extension; "lines" and "view" have none, since they are made for standard output."""
_CAPTIONS = ("audacity", "srt", "vtt")


def formats() -> tuple[str, ...]:
    """The names `open_sink` takes as a format, sorted."""
    return tuple(sorted(_FORMATS))


def format_of(target: str, wanted: str | None = None) -> str:
    """The format a target gets: the one asked for, else by its extension, and for "-" the view on a terminal or lines.

    Raises:
        UsageError: It is not known, or does not go with the target.
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

    A file appears when its results are whole; that of a live stream grows line by line from `begin` on.

    Args:
        target: A path, in which `{stem}` is replaced for each input, or "-" for standard output.
        format: One of `formats()`; None: by the extension, and for "-" the live view on a terminal, else lines.
        inputs: What will be classified, as far as it is known: mistakes show before anything is decoded.
        quiet: Whether lines come without the events on standard error.
        live: Whether the stream does not end by itself: files are continued and appended to, never renamed into place.
        rotate_seconds: With `live`: a file is renamed by the UTC time at which its period began, and a new one begun,
            at each full multiple of this; None: never. Standard output is not rotated.
        top: How many of the best scenes are told; None: all, in a line the answer only.
        min_score: Scenes less probable than this are not told; None: all are.
        explained: Whether JSON Lines and plain lines say what each modality said of a window.
        about: What runs, for the live view: bundle, engine, precision.
        clock: Tells the time; a test may have its own.

    Raises:
        UsageError: The format is not known, or does not go with the target or the inputs; `rotate_seconds`, `top` or
            `min_score` cannot be.
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
    """Refuse outputs that would overwrite each other or an input; `inputs` may be empty where they are not known.

    Raises:
        UsageError: A path is named twice, or is an input as well.
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
    """The time of day where we are."""
    return clock.utc().astimezone()


def _check_paths(target: str, name: str, inputs: Sequence[str]) -> None:
    """Check the places of all files a target stands for, as far as they are known."""
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
