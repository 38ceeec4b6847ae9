"""What the subcommands share: value types, options that are also settings, and the two command classes."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from ascstream.settings import find_settings_file, read_settings_file, variable_of

F = TypeVar("F", bound=Callable[..., Any])
_OTHER_VARIABLES = (
    *("ASCSTREAM_CONFIG", "ASCSTREAM_DATA", "ASCSTREAM_DEBUG", "ASCSTREAM_TEST_DATA"),
    *(
        "ASCSTREAM_RTX_PYTHON",
        "ASCSTREAM_CUDA_PYTHON",
        "ASCSTREAM_TRT_PYTHON",
        "ASCSTREAM_TRT_STUBS",
        "ASCSTREAM_NO_DEVICE",
    ),
)
"""Environment variables that are read, but are no command's setting."""
if TYPE_CHECKING:
    _NumberType = click.ParamType[float]
else:
    _NumberType = click.ParamType
"""click's types are generic only from version 8.4 on."""


class Number(_NumberType):
    """A finite number within bounds; the error message says what was expected."""

    name = "number"

    def __init__(
        self,
        expects: str,
        *,
        minimum: float | None = None,
        above: float | None = None,
        maximum: float | None = None,
        whole: bool = False,
    ) -> None:
        self.expects = expects
        self.whole = whole
        self._minimum, self._above, self._maximum = minimum, above, maximum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | int:
        """Convert `value` to a number."""
        wrong = f"expected {self.expects}, got {_show(value)}"
        try:
            number = int(str(value)) if self.whole else float(value)
            finite = math.isfinite(number)
        except (TypeError, ValueError, OverflowError):
            self.fail(wrong, param, ctx)
        if (
            not finite
            or (self._minimum is not None and number < self._minimum)
            or (self._above is not None and number <= self._above)
            or (self._maximum is not None and number > self._maximum)
        ):
            self.fail(wrong, param, ctx)
        return number


class TimeCode(_NumberType):
    """A position or duration: seconds ("90", "1.5"), "mm:ss" or "hh:mm:ss", each with an optional fraction."""

    name = "time"
    _FORM = re.compile(r"(?:(?:(\d+):)?([0-5]?\d):)?(\d+(?:\.\d*)?|\.\d+)", re.ASCII)

    def __init__(self, *, positive: bool = False) -> None:
        self._positive = positive

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert to seconds."""
        if isinstance(value, float):
            return value
        match = self._FORM.fullmatch(str(value))
        seconds = -1.0
        if match is not None:
            hours, minutes, rest = match.groups()
            seconds = int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest)
            if minutes is not None and float(rest) >= 60:
                seconds = -1.0
        if not 0 <= seconds < math.inf or (self._positive and seconds == 0):
            above = ", above 0" if self._positive else ""
            self.fail(f"expected seconds or hh:mm:ss{above}, got {_show(value)}", param, ctx)
        return seconds


class Period(TimeCode):
    """A length of time: what `TimeCode` takes, or a number with a unit, "90s", "15m", "1h", "1d"."""

    name = "time"
    _UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}  # noqa: RUF012 - never written to

    def __init__(self) -> None:
        super().__init__(positive=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert to seconds."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|min|h|d)", str(value), re.ASCII)
        if match is not None:
            seconds = float(match[1]) * self._UNITS[match[2]]
            if 0 < seconds < math.inf:
                return seconds
        return super().convert(value, param, ctx)


class Folder(click.Path):
    """A folder of plans, which are code: an empty name, as from an unset variable, must not mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert `value` to a folder."""
        if not os.fspath(value):
            self.fail("expected a folder, got an empty name", param, ctx)
        return super().convert(value, param, ctx)


class SettingOption(click.Option):
    """An option that the environment and the settings file can set as well (`ascstream config show`)."""

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Like click's, but an invalid value from the environment is reported with its variable's name."""
        try:
            return super().process_value(ctx, value)
        except click.BadParameter as error:
            if ctx.get_parameter_source(self.name or "") is ParameterSource.ENVIRONMENT:
                error.param_hint = f"environment variable {variable_of(self)}"
            raise


class Subcommand(click.Command):
    """A subcommand: accepts --config and --debug as `ascstream` does, and takes options not given from the settings."""

    def __init__(self, name: str, **attributes: Any) -> None:
        super().__init__(name, **attributes)
        for setting in self.settings():
            word = (setting.name or "").upper()
            setting.envvar = (f"ASCSTREAM_{name.upper()}_{word}", f"ASCSTREAM_{word}")
        self.params.append(
            click.Option(
                ["--config"],
                type=click.Path(path_type=Path, dir_okay=False),
                metavar="FILE",
                is_eager=True,
                expose_value=False,
                callback=_read_settings if self.settings() else _note_config,
                help="Settings file to use.",
            )
        )
        self.params.append(click.Option(["--debug"], is_flag=True, expose_value=False, help="Show tracebacks."))

    def settings(self) -> tuple[SettingOption, ...]:
        """The options that are settings."""
        return tuple(param for param in self.params if isinstance(param, SettingOption))

    def invoke(self, ctx: click.Context) -> Any:
        """Like click's, after a warning about environment variables that set nothing."""
        if not ctx.params.get("quiet"):
            for sentence in _unknown_variables():
                click.echo(f"ascstream: {sentence}", err=True)
        return super().invoke(ctx)


class Commands(click.Group):
    """A group that suggests the command that was probably meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Like click's, with a suggestion that requires no subcommand to be imported."""
        name = args[0]
        known = self.list_commands(ctx)
        if name not in known and not name.startswith("-") and not ctx.resilient_parsing:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(known)}."
            if not close and (Path(name).exists() or "://" in name):
                hint = f"to classify it, type: ascstream file {name}"
            raise click.UsageError(f"No such command {name!r}: {hint}", ctx)
        return super().resolve_command(ctx, args)


def setting(*names: str, **attributes: Any) -> Callable[[F], F]:
    """`click.option` for an option that is also a setting."""
    return click.option(*names, cls=SettingOption, **{"default": None, **attributes})


def bundle_settings(command: F) -> F:
    """Add the options that choose the bundle and its backend: --bundle --backend --precision --plans --threads."""
    for decorate in (
        setting(
            "--threads",
            type=Number("a whole number of threads, 1 to 256", minimum=1, maximum=256, whole=True),
            default=1,
            show_default=True,
            metavar="N",
            help="Number of CPU threads for ONNX Runtime.",
        ),
        setting(
            "--plans",
            type=Folder(),
            metavar="FOLDER",
            show_default="the user's cache",
            help="Folder with TensorRT plans. A plan is code: name only a folder that you trust.",
        ),
        setting(
            "--precision",
            type=click.Choice(["float32", "float16", "int8"]),
            show_default="the plans', or float32 without plans",
            help="Numeric precision of the graphs; the bundle or its plans must have it.",
        ),
        setting(
            "--backend",
            type=click.Choice(["auto", "onnxruntime", "tensorrt"]),
            default="auto",
            show_default=True,
            help="What runs the graphs; auto: TensorRT if it works here, otherwise ONNX Runtime.",
        ),
        setting(
            "--bundle",
            metavar="NAME|FOLDER",
            shell_complete=complete_bundle,
            show_default="the one that ships with ascstream",
            help="Classifier to use: a name from `ascstream bundle list`, or a folder.",
        ),
    ):
        command = decorate(command)
    return command


def build_setting(command: F) -> F:
    """Add the option --build."""
    return setting(
        "--build/--no-build",
        default=False,
        help="If there is a GPU but no plan of the bundle for it, build one first; this takes minutes.",
    )(command)


def stream_settings(command: F) -> F:
    """Add the options for windows and decisions: --step --smoothing --scene-threshold --group-threshold."""
    probability = Number("a probability, 0 to 1", minimum=0, maximum=1)
    for decorate in (
        setting(
            "--group-threshold",
            type=probability,
            metavar="P",
            show_default="the bundle's",
            help="Lowest score at which a group is named, if no scene is.",
        ),
        setting(
            "--scene-threshold",
            type=probability,
            metavar="P",
            show_default="the bundle's",
            help="Lowest score at which a scene is named.",
        ),
        setting(
            "--smoothing",
            type=Number("a duration in seconds, 0 (off) or more", minimum=0, maximum=3600),
            metavar="SECONDS",
            show_default="the bundle's",
            help="Time constant of the smoothing; 0 turns it off.",
        ),
        setting(
            "--step",
            type=Number("a duration in seconds, above 0", above=0, maximum=3600),
            metavar="SECONDS",
            show_default="the bundle's",
            help="Time between two predictions; at most the length of the bundle's window.",
        ),
    ):
        command = decorate(command)
    return command


def _unknown_variables() -> list[str]:
    """A sentence for each environment variable that looks like a setting but is none."""
    found = sorted(name for name in os.environ if name.startswith("ASCSTREAM_"))
    if not found:
        return []
    from ascstream.cli.app import settings_tables

    options = [option for table in settings_tables().values() for option in table]
    known = {*_OTHER_VARIABLES, *(name for option in options for name in option.envvar or ())}
    sentences = []
    for name in found:
        if name not in known:
            word = name.removeprefix("ASCSTREAM_")
            close = difflib.get_close_matches(word, sorted(other.removeprefix("ASCSTREAM_") for other in known), n=1)
            hint = f"did you mean ASCSTREAM_{close[0]}?" if close else "see: ascstream config show"
            sentences.append(f"environment: {name} is no setting and is ignored; {hint}")
    return sentences


def complete_bundle(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete folders, and the names of the bundles that ship."""
    from ascstream.bundles import shipped

    names = [CompletionItem(name) for name in shipped() if name.startswith(incomplete)]
    return [CompletionItem(incomplete, type="dir"), *names]  # bash drops completions before a folder


def _show(value: object) -> str:
    """A value as typed, quoted and shortened to fit on a line."""
    text = str(value)
    return repr(text if len(text) <= 60 else text[:59] + "…")


def _note_config(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    """Store a --config given after the subcommand's name in its context."""
    if value is not None:
        ctx.obj = value


def _read_settings(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    """Read the settings file before the other options look up their defaults."""
    from ascstream.cli.app import settings_tables

    _note_config(ctx, param, value)
    if ctx.resilient_parsing:
        return
    found = find_settings_file(ctx.obj)
    ctx.default_map = read_settings_file(found.path, settings_tables())[ctx.command.name or ""] if found.exists else {}
