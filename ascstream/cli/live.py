"""`ascstream live`: classify what a microphone hears and a camera sees, for as long as they deliver."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ascstream.cli.file import FORMATS
from ascstream.cli.options import Number, Period, Subcommand, build_setting, bundle_settings, setting, stream_settings

if TYPE_CHECKING:
    from ascstream.capture.requests import MediaRequest, MicrophoneRequest
    from ascstream.classifier import Classifier
    from ascstream.cli.listen import Devices, Request
    from ascstream.live.log import LogLevel

    _ChannelsType = click.ParamType[tuple[int, ...]]
else:
    _ChannelsType = click.ParamType
"""click's types are generic only from version 8.4 on."""

_EPILOG = """\b
Examples:
  ascstream live                             the first microphone (and camera)
  ascstream live --mic 0 --camera 0          by number, from `ascstream devices`
  ascstream live --mic default --camera rtsp://HOST/PATH
  ascstream live --source rtsp://HOST/PATH   sound and picture from one source
  ascstream live --format jsonl | jq .label
  ascstream live --out log.jsonl --rotate 1h --wait

\b
Results:
  stdout         a live view on a terminal, a line per window on a pipe, or --format
  --out          .jsonl .csv hold every window; .srt .vtt .txt (Audacity) the scenes;
                 appended to line by line
  stderr         what runs, what happened, the summary

Nothing heard or seen is stored or sent. A lost device is reopened as soon as it is
back; predictions go on without it meanwhile. SIGHUP, sent to a service, reopens files
and devices. Options can be set by the environment (ASCSTREAM_MIC=0) and in a file:
see `ascstream config --help`. Exit codes: see `ascstream --help`."""


class Channels(_ChannelsType):
    """A microphone's channels, counted from 1: "1", "1,2"."""

    name = "channels"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Convert to channel numbers."""
        if isinstance(value, tuple):
            return value
        words = str(value).split(",")
        if not all(re.fullmatch(r"[1-9][0-9]{0,2}", word.strip(), re.ASCII) for word in words):
            self.fail(f"expected channels counted from 1, such as 1 or 1,2; got {str(value)[:60]!r}", param, ctx)
        return tuple(int(word) for word in words)


@click.command("live", cls=Subcommand, epilog=_EPILOG, short_help="Classify what devices hear and see.")
@setting(
    "--mic",
    metavar="N|NAME|none",
    show_default="0 if the bundle hears",
    help="Microphone: a number, a name, a URL, or none.",
)
@setting(
    "--camera",
    metavar="N|PATH|URL|none",
    show_default="0 if the bundle sees",
    help="Camera: a number, a name, a path, a URL, or none.",
)
@setting("--source", metavar="URL", help="One source of both sound and picture, instead of --mic and --camera.")
@setting("--mic-channels", type=Channels(), metavar="N[,N]", help="Channels of the microphone to use, counted from 1.")
@setting(
    "--camera-delay",
    type=Number("seconds, -2 to 0.4", minimum=-2, maximum=0.4),
    default=0.0,
    metavar="SECONDS",
    help="Delay of the camera behind the microphone, in seconds.",
)
@bundle_settings
@build_setting
@stream_settings
@setting(
    "--format",
    type=click.Choice(FORMATS),
    show_default="view, or lines on a pipe",
    help="Format of stdout.",
)
@click.option(
    "--out", multiple=True, metavar="PATH", help="Also write results to this file, as they come. May be repeated."
)
@setting("--rotate", type=Period(), metavar="TIME", help="Begin new --out files this often: 15m, 1h, 1d.")
@click.option("--duration", type=Period(), metavar="TIME", help="Stop after this time: seconds, hh:mm:ss, 10m.")
@setting(
    "--top",
    type=Number("a whole number of scenes, 1 or more", minimum=1, whole=True),
    metavar="N",
    help="Show the N best scenes.",
)
@setting(
    "--min-score",
    type=Number("a probability, 0 to 1", minimum=0, maximum=1),
    metavar="P",
    help="Omit scenes below this probability.",
)
@setting("--strict/--no-strict", default=False, help="Exit with 5 as soon as anything is missing or lost.")
@setting("--wait/--no-wait", default=False, help="Start without devices that are absent, and wait for them.")
@setting("--quiet/--no-quiet", default=False, help="Write only errors to stderr.")
@setting(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Least severe messages to write to stderr.",
)
@click.pass_context
def command(
    context: click.Context,
    mic: str | None,
    camera: str | None,
    source: str | None,
    mic_channels: tuple[int, ...] | None,
    camera_delay: float,
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
    format: str | None,  # noqa: A002
    out: tuple[str, ...],
    rotate: float | None,
    duration: float | None,
    top: int | None,
    min_score: float | None,
    strict: bool,
    wait: bool,
    quiet: bool,
    log_level: LogLevel,
) -> None:
    """Classify what devices hear and see, window by window, until Ctrl-C.

    `ascstream devices` lists microphones and cameras. If only one of --mic and --camera is given, the other is not
    opened.
    """
    from ascstream.cli.engine_choice import Running, load_classifier
    from ascstream.cli.listen import Request, listen
    from ascstream.errors import UsageError
    from ascstream.pipeline import StreamSettings
    from ascstream.sinks import format_of

    mic, camera, source = _choose(context, mic, camera, source)
    channels = _channels(context, mic_channels or (), source)
    level = "error" if quiet else log_level
    request = Request(format_of("-", format), out, rotate, duration, top, min_score, strict, wait, level, camera_delay)
    settings = StreamSettings(step, smoothing, scene_threshold, group_threshold)
    running = Running(backend, precision, threads, None if plans is None else Path(plans), build)
    with load_classifier(bundle, running, quiet=level in ("warning", "error")) as classifier:
        settings.step(classifier.manifest)
        window_seconds = classifier.manifest.window.seconds
        if duration is not None and duration < window_seconds:
            raise UsageError(f"--duration: expected a window's {window_seconds:g} s or more, got {duration:g} s")
        devices = _resolve(classifier, mic, camera, source, channels, request)
        listen(classifier, devices, settings, request)


def _choose(
    context: click.Context, mic: str | None, camera: str | None, source: str | None
) -> tuple[str | None, str | None, str | None]:
    """Choose between --source and the two devices: the command line overrides the environment and the settings file."""
    from ascstream.errors import UsageError

    typed = {
        name
        for name in ("mic", "camera", "source")
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    if source is None or (mic is None and camera is None):
        return mic, camera, source
    if "source" in typed and not typed & {"mic", "camera"}:
        return None, None, source
    if "source" not in typed and typed:
        return mic, camera, None
    raise UsageError("expected --source, which gives sound and picture, or --mic and --camera; got both: drop one")


def _channels(context: click.Context, channels: tuple[int, ...], source: str | None) -> tuple[int, ...]:
    """Of --mic-channels, what applies: none if a --source on the command line replaces the settings' microphone."""
    from ascstream.errors import UsageError

    if source is None or not channels:
        return channels
    if (
        context.get_parameter_source("source") is ParameterSource.COMMANDLINE
        and context.get_parameter_source("mic_channels") is not ParameterSource.COMMANDLINE
    ):
        return ()
    raise UsageError("--mic-channels: a card's are chosen, those of --source are not; leave them out")


def _resolve(
    classifier: Classifier,
    mic: str | None,
    camera: str | None,
    source: str | None,
    channels: tuple[int, ...],
    request: Request,
) -> Devices:
    """The devices to open: of those named, the ones whose modality the bundle uses."""
    from ascstream.cli.listen import Devices
    from ascstream.errors import UsageError
    from ascstream.live.addresses import resolve_source
    from ascstream.sources.inputs import redact

    manifest = classifier.manifest
    hears, sees = bool(manifest.audio_inputs), manifest.video_input is not None
    if source is not None:
        return Devices(None, None, resolve_source(source))
    if mic is None and camera is None:
        mic, camera = ("0" if hears else None), ("0" if sees else None)
    unused = []
    if not hears and mic not in (None, "none"):
        unused.append(f"the microphone {redact(mic)} is not opened: bundle {manifest.name} only sees")
    if not sees and camera not in (None, "none"):
        unused.append(f"the camera {redact(camera)} is not opened: bundle {manifest.name} only hears")
    for sentence in unused if request.level != "error" else ():
        click.echo(f"ascstream: {sentence}", err=True)
    devices = _both((mic or "none") if hears else "none", (camera or "none") if sees else "none", channels, request)
    if devices.microphone is None and devices.camera is None:
        wanted = " or ".join(word for word, has in (("--mic 0", hears), ("--camera 0", sees)) if has)
        raise UsageError(f"expected something that bundle {manifest.name} perceives, got nothing; type: {wanted}")
    return devices


def _both(mic: str, camera: str, channels: tuple[int, ...], request: Request) -> Devices:
    """Resolve a microphone and a camera, and report everything that is missing in one message."""
    from shlex import quote

    from ascstream.cli.listen import Devices
    from ascstream.errors import SourceError
    from ascstream.live.addresses import resolve_camera, resolve_microphone
    from ascstream.sources.inputs import redact

    microphone: MicrophoneRequest | MediaRequest | None = None
    pictures: MediaRequest | None = None
    missing: list[str] = []
    try:
        microphone = resolve_microphone(mic, channels, wait=request.wait)
    except SourceError as error:
        missing.append(str(error))
    try:
        pictures = resolve_camera(camera, wait=request.wait)
    except SourceError as error:
        missing.append(str(error))
    if missing:
        alone = f"--mic {quote(redact(mic))}" if microphone is not None else ""
        alone = f"--camera {quote(redact(camera))}" if pictures is not None else alone
        raise SourceError("\n".join(missing) + (f"; to go on without, type: ascstream live {alone}" if alone else ""))
    return Devices(microphone, pictures, None)
