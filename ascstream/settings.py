"""Settings: flag > environment > settings file > default, each value with its origin.

click reads the flags and the environment; this module finds and validates the one TOML file, passes it to click as the
default map, and afterwards reports where each value came from.

    bundle = "slim-audio"      # at the top level: for every command that has this setting
    [file]
    step = 0.2                 # for one command only; overrides the top level
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import click
from click.core import ParameterSource

from ascstream.errors import UsageError

_MAX_BYTES = 1 << 16
"""Limit on the file's size: parsing dotted keys takes quadratic time, which in a larger file could be minutes."""

Tables: TypeAlias = Mapping[str, Sequence[click.Option]]
"""For each command, its options that may appear in the settings file."""


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """The settings file in effect."""

    path: Path
    """Where it is, or would be."""
    origin: str
    """How it was chosen: "flag --config", "environment ASCSTREAM_CONFIG" or "default"."""
    exists: bool
    """Whether it exists; only the default one may be missing."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as a command would see it."""

    command: str
    """The command it belongs to."""
    name: str
    """Its name in the settings file."""
    value: Any
    """Its value; None if the bundle decides."""
    shown: str
    """The value as shown to the user."""
    origin: str
    """"flag --step", "environment ASCSTREAM_FILE_STEP", "file PATH, [file] step" or "default"."""


def find_settings_file(flag: Path | None) -> SettingsFile:
    """The settings file in effect: `--config`, else ASCSTREAM_CONFIG, else the one in the user's config folder.

    Raises:
        UsageError: The file named by the flag or the variable does not exist.
    """
    variable = os.environ.get("ASCSTREAM_CONFIG")
    if flag is not None:
        found = SettingsFile(flag, "flag --config", _is_file(flag))
    elif variable:
        found = SettingsFile(Path(variable), "environment ASCSTREAM_CONFIG", _is_file(Path(variable)))
    else:
        import platformdirs

        path = platformdirs.user_config_path("ascstream") / "config.toml"
        found = SettingsFile(path, "default", _is_file(path))
    if not found.exists and found.origin != "default":
        raise UsageError(f"{found.path}: expected a settings file ({found.origin}), got nothing there")
    return found


def read_settings_file(path: Path, tables: Tables) -> dict[str, dict[str, Any]]:
    """The settings that each command takes from a file, including top-level ones.

    Args:
        path: A TOML file.
        tables: The settings allowed in it.

    Raises:
        UsageError: It cannot be read, is not TOML, or has an invalid key or value, which the message names.
    """
    data = _parse(path)
    shared = {key: value for key, value in data.items() if not isinstance(value, Mapping)}
    everywhere = {option.name or "": option for options in tables.values() for option in options}
    for key, value in shared.items():
        if key in tables:
            raise UsageError(f"{path}: {key}: expected a table, [{key}], got {_show(value)}")
        if key not in everywhere:
            raise UsageError(f"{path}: {key}: unknown setting; {_suggest(key, [*everywhere, *tables])}")
        _check(everywhere[key], value, f"{path}: {key}")
    own: dict[str, Mapping[str, Any]] = {}
    for table, values in data.items():
        if not isinstance(values, Mapping):
            continue
        if table not in tables:
            raise UsageError(f"{path}: [{table}]: unknown table; {_suggest(table, list(tables))}")
        options = {option.name or "": option for option in tables[table]}
        for key, value in values.items():
            if key not in options:
                raise UsageError(f"{path}: [{table}] {key}: unknown setting; {_suggest(key, list(options))}")
            _check(options[key], value, f"{path}: [{table}] {key}")
        own[table] = values
    return {
        command: {key: value for key, value in shared.items() if key in {option.name for option in options}}
        | dict(own.get(command, {}))
        for command, options in tables.items()
    }


def describe_settings(context: click.Context, options: Sequence[click.Option], file: SettingsFile) -> list[Setting]:
    """A command's settings and where each comes from.

    Args:
        context: The command's context, with its arguments parsed.
        options: The command's options that are settings.
        file: The settings file that its default map was read from.
    """
    command = context.command.name or ""
    settings = []
    for option in options:
        name = option.name or ""
        value = context.params.get(name)
        source = context.get_parameter_source(name)
        if source is ParameterSource.COMMANDLINE:
            origin = f"flag {option.opts[0]}"
        elif source is ParameterSource.ENVIRONMENT:
            origin = f"environment {variable_of(option)}"
        elif source is ParameterSource.DEFAULT_MAP:
            origin = f"file {file.path}"
        else:
            origin = "default"
        shown = _show(value) if value is not None else str(option.show_default or "none")
        settings.append(Setting(command, name, value, shown, origin))
    return settings


def variable_of(option: click.Option) -> str | None:
    """The environment variable that currently sets an option, if any."""
    names = (option.envvar,) if isinstance(option.envvar, str) else tuple(option.envvar or ())
    return next((name for name in names if os.environ.get(name)), None)


def _is_file(path: Path) -> bool:
    """Whether a file exists and is visible: a service often has no access to home folders."""
    try:
        return path.is_file()
    except OSError:
        return False


def _parse(path: Path) -> dict[str, Any]:
    """Parse a TOML file."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: expected a settings file, but it cannot be read: {error.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise UsageError(f"{path}: expected a settings file of at most {_MAX_BYTES} bytes, got a larger one")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or nested too deeply
        raise UsageError(f"{path}: expected TOML, got something else: {error}") from None


def _check(option: click.Option, value: object, where: str) -> None:
    """Reject a value of the wrong TOML type, then anything that the flag itself would reject."""
    if option.is_flag:
        fits, expects = isinstance(value, bool), "true or false"
    elif hasattr(option.type, "expects"):
        fits, expects = isinstance(value, (int, float)) and not isinstance(value, bool), str(option.type.expects)
    elif isinstance(option.type, click.Choice):
        choices = list(option.type.choices)
        fits, expects = value in choices, "one of " + ", ".join(map(_show, choices))
    else:
        fits, expects = isinstance(value, str), "a string"
    if not fits:
        raise UsageError(f"{where}: expected {expects}, got {_show(value)}")
    try:
        option.type.convert(value, option, None)
    except click.BadParameter as error:
        raise UsageError(f"{where}: {error.message}") from None


def _suggest(key: str, known: Sequence[str]) -> str:
    """The name that was probably meant, or all known names."""
    close = difflib.get_close_matches(key.replace("-", "_"), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"


def _show(value: object) -> str:
    """A value as it would be written in the settings file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        import json

        return json.dumps(value, ensure_ascii=False)
    return f"{value:g}" if isinstance(value, float) else str(value)
