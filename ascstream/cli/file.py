"""`ascstream file`: classify files, folders, URLs and pipes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ascstream.cli.options import Period, Subcommand, TimeCode, build_setting, bundle_settings, setting, stream_settings

if TYPE_CHECKING:
    from ascstream.classifier import Classifier
    from ascstream.cli.classify import Failure, Outcome
    from ascstream.pipeline import StreamSettings
    from ascstream.stats import StreamSummary

FORMATS = ("audacity", "csv", "jsonl", "lines", "srt", "view", "vtt")
"""The formats stdout can be written in; a copy of `ascstream.sinks.formats()`, so that --help need not import it."""

_EPILOG = """\b
Examples:
  ascstream file clip.mp4
  ascstream file clip.mp4 --step 0.2 --out results.jsonl --out scenes.vtt
  ascstream file recordings/ --out '{stem}.srt' --quiet > lines.txt
  ascstream file talk.mkv --start 10:00 --duration 60 --format csv
  ffmpeg -v error -nostdin -i URL -c copy -f matroska - | ascstream file -

\b
Results:
  stdout         a live view on a terminal, a line per window on a pipe, or --format
  --out          .jsonl .csv hold every window; .srt .vtt .txt (Audacity) the scenes
  stderr         what runs, what happened, the summary

Files of --out appear when everything has been classified or the run is stopped.
Options can be set by the environment (ASCSTREAM_STEP=0.2) and in a file: see
`ascstream config --help`. Exit codes: see `ascstream --help`."""


@dataclass(frozen=True, slots=True)
class _Request:
    """The user's request, except for what to run it on."""

    inputs: tuple[str, ...]
    """The individual inputs."""
    start: float
    """Where to begin in each input, in seconds."""
    duration: float | None
    """How much of each input to take, in seconds; None: all."""
    format: str
    """Format of stdout."""
    out: tuple[str, ...]
    """Targets of --out."""
    quiet: bool
    """Whether to write only errors to stderr."""
    explained: bool
    """Whether to explain each window."""


@click.command("file", cls=Subcommand, epilog=_EPILOG, no_args_is_help=True)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", type=click.Path())
@bundle_settings
@build_setting
@stream_settings
@click.option("--start", type=TimeCode(), metavar="TIME", help="Start here: seconds or hh:mm:ss.")
@click.option("--duration", type=Period(), metavar="TIME", help="Classify only this much: seconds, hh:mm:ss, 10m.")
@setting(
    "--format",
    type=click.Choice(FORMATS),
    show_default="view, or lines on a pipe",
    help="Format of stdout.",
)
@click.option(
    "--out",
    multiple=True,
    metavar="PATH",
    help="Also write results to this file (.jsonl .csv .srt .vtt .txt); {stem} stands for the input's name. "
    "May be repeated.",
)
@click.option(
    "--explain", is_flag=True, help="Show what each modality said about every window (formats lines and jsonl)."
)
@setting("--strict/--no-strict", default=False, help="Exit with 5 if anything was missing, lost or padded.")
@setting("--quiet/--no-quiet", default=False, help="Write only errors to stderr.")
def command(
    inputs: tuple[str, ...],
    bundle: str | None,
    backend: str,
    precision: str | None,
    plans: str | None,
    threads: int,
    build: bool,
    step: float | None,
    smoothing: float | None,
    scene_threshold: float | None,
    group_threshold: float | None,
    start: float | None,
    duration: float | None,
    format: str | None,  # noqa: A002
    out: tuple[str, ...],
    explain: bool,
    strict: bool,
    quiet: bool,
) -> None:
    """Classify recordings window by window.

    INPUT is a file, a folder (every recording in and below it), a glob, a URL, or - for standard input: whatever FFmpeg
    can read. If there are several, a broken one does not stop the others.
    """
    from ascstream.cli.classify import Outcome, require_whole
    from ascstream.cli.engine_choice import Running, load_classifier
    from ascstream.errors import UsageError
    from ascstream.pipeline import StreamSettings
    from ascstream.sinks import format_of

    found, missing = _expand(inputs)
    stdout = format_of("-", "lines" if explain and format is None else format)
    if explain and stdout not in ("lines", "jsonl"):
        raise UsageError(f"--explain: expected --format lines or jsonl, got {stdout}")
    request = _Request(found, start or 0.0, duration, stdout, out, quiet, explain)
    settings = StreamSettings(step, smoothing, scene_threshold, group_threshold)
    outcome = Outcome(list(missing))
    running = Running(backend, precision, threads, None if plans is None else Path(plans), build)
    with load_classifier(bundle, running, quiet=quiet) as classifier:
        _run(classifier, request, settings, outcome)
    _require_inputs(outcome.failures, n_inputs=len(found) + len(missing))
    if strict:
        require_whole(outcome)


def _expand(patterns: tuple[str, ...]) -> tuple[tuple[str, ...], list[Failure]]:
    """The individual inputs, and those not found; raises at once only if nothing was found."""
    from ascstream.cli.classify import Failure
    from ascstream.errors import SourceNotFoundError
    from ascstream.sources.inputs import expand_inputs

    found: dict[str, None] = {}
    missing: list[Failure] = []
    for pattern in patterns:
        try:
            found |= dict.fromkeys(expand_inputs([pattern]))
        except SourceNotFoundError as error:
            missing.append(Failure(pattern, error))
    if not found:
        _require_inputs(missing, n_inputs=len(missing))
    return tuple(found), missing


def _run(classifier: Classifier, request: _Request, settings: StreamSettings, outcome: Outcome) -> None:
    """Check everything that can be checked, then decode; outputs are put in place however that ends."""
    from contextlib import closing
    from functools import partial

    from ascstream.cli.classify import classify_all
    from ascstream.sinks import SinkGroup, check_targets, open_sink
    from ascstream.sources.media import open_media

    manifest = classifier.manifest
    step = settings.step(manifest)
    check_targets(["-", *request.out], request.inputs)
    make = partial(open_sink, inputs=request.inputs, explained=request.explained)
    sinks = [make("-", request.format, quiet=request.quiet), *(make(target) for target in request.out)]
    if not request.quiet:
        tell_running(classifier, float(step))
    tell = not request.quiet and request.format != "view"  # the view itself ends with the summary
    open_source = partial(open_media, start_seconds=request.start, duration_seconds=request.duration)
    with closing(SinkGroup(sinks)) as sink:
        classify_all(
            classifier, request.inputs, open_source, settings, sink, outcome, tell_summary if tell else _tell_nothing
        )


def tell_running(classifier: Classifier, step: float, devices: str | None = None) -> None:
    """Write what runs to stderr; on a terminal too narrow for one line, it is wrapped at commas."""
    manifest = classifier.manifest
    about = f"bundle {manifest.name} {manifest.version}, {classifier.backend}"
    what = f"{about}, " if devices is None else f"{about}; {devices}; "
    note = "" if classifier.note is None else f"; {classifier.note}"
    text = f"{what}window {manifest.window.seconds:g} s, step {step:g} s{note}"
    if sys.stderr.isatty():
        from rich.console import Console

        from ascstream.wording import wrap_phrases

        text = wrap_phrases(text, Console(stderr=True).width)
    click.echo(text, err=True)


def tell_summary(summary: StreamSummary, error: str | None) -> None:
    """Write an input's summary to stderr, unless it has no windows."""
    if not summary.n_windows:
        return
    from rich.console import Console

    from ascstream.sinks.summary import render_summary

    console = Console(stderr=True, highlight=False)
    text = render_summary(summary, error, width=console.width, ascii_only=console.options.ascii_only)
    console.print(text, soft_wrap=True)


def _tell_nothing(_summary: StreamSummary, _error: str | None) -> None:
    """Say nothing: the view has shown the summary, or --quiet was given."""


def _require_inputs(failures: list[Failure], n_inputs: int) -> None:
    """Raise one error that lists the inputs that failed and why; does nothing if there are none."""
    from ascstream.errors import SourceError

    if not failures:
        return
    if n_inputs == 1:
        raise failures[0].error
    others = ", the others are done" if len(failures) < n_inputs else ""
    lines = [f"{len(failures)} of {n_inputs} inputs failed{others}:", *(f"  {failure.error}" for failure in failures)]
    raise SourceError("\n".join(lines))
