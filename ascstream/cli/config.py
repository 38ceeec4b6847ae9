"""`ascstream config`: which settings are in force, and where each comes from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from ascstream.cli.options import Commands, Subcommand
from ascstream.settings import Setting, SettingsFile, describe_settings, find_settings_file, read_settings_file

_EPILOG = """\b
The settings file is TOML:
  bundle = "slim-audio"    # at the top: every command that has such a setting
  [file]
  step = 0.2               # one command's own; wins over the top"""


@click.group("config", cls=Commands, epilog=_EPILOG)
def command() -> None:
    """Show the settings in force, and where each comes from.

    A setting is taken from the flag, else the environment (ASCSTREAM_FILE_STEP, or ASCSTREAM_STEP for every command
    that has it), else the settings file, else the default.
    """


@command.command("path", cls=Subcommand)
@click.pass_context
def show_path(context: click.Context) -> None:
    """Print the path of the settings file, whether or not it exists."""
    click.echo(find_settings_file(context.obj).path)


@command.command("show", cls=Subcommand, context_settings={"ignore_unknown_options": True})
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND [FLAGS]...]")
@click.pass_context
def show(context: click.Context, words: tuple[str, ...], as_json: bool) -> None:
    """Print every setting with its value and origin.

    With a command line, print what it would run with: `ascstream config show file --step 0.2`.
    """
    from ascstream.cli.app import settings_tables

    tables = settings_tables()
    if words and words[0] not in tables:
        raise click.UsageError(f"expected one of {', '.join(tables)}, got {words[0]!r}", context)
    settings: list[Setting] = []
    for name in words[:1] or tables:
        found, entries = settings_in_force(context, name, words[1:])
        settings += entries
    if as_json:
        click.echo(json.dumps(_as_json(found, settings), indent=2, ensure_ascii=False))
        return
    missing = "" if found.exists else ", not there"
    click.echo(f"settings file: {found.path} ({found.origin}{missing})")
    widths = [max(len(text) for text in column) for column in zip(*((s.name, s.shown) for s in settings), strict=True)]
    for number, entry in enumerate(settings):
        if number == 0 or entry.command != settings[number - 1].command:
            click.echo(f"\n[{entry.command}]")
        click.echo(f"{entry.name:{widths[0]}}  {entry.shown:{widths[1]}}  {entry.origin}")


def settings_in_force(
    parent: click.Context, name: str, words: Sequence[str] = ()
) -> tuple[SettingsFile, list[Setting]]:
    """The settings that a command would use.

    Args:
        parent: The context of the running command, which holds --config.
        name: A command that has settings.
        words: The arguments that would follow its name.

    Raises:
        UsageError, click.UsageError: A setting is invalid.
    """
    from ascstream.cli.app import app, settings_tables

    target = app.get_command(parent, name)
    if not isinstance(target, Subcommand):
        raise click.UsageError(f"expected a command with settings, got {name!r}", parent)
    found = find_settings_file(parent.obj)
    defaults = read_settings_file(found.path, settings_tables())[name] if found.exists else {}
    context = click.Context(target, info_name=name, obj=parent.obj, default_map=defaults)
    options, _, _ = target.make_parser(context).parse_args(list(words))
    for option in target.settings():
        option.handle_parse_result(context, options, [])
    return found, [_without_secrets(entry) for entry in describe_settings(context, target.settings(), found)]


def _without_secrets(entry: Setting) -> Setting:
    """The setting, with the password removed if its value is a URL."""
    if not isinstance(entry.value, str):
        return entry
    from ascstream.sources.inputs import redact

    return replace(entry, value=redact(entry.value), shown=redact(entry.shown))


def _as_json(found: SettingsFile, settings: list[Setting]) -> dict[str, Any]:
    """The report as JSON."""
    return {
        "schema": 1,
        "settings_file": {"path": str(found.path), "origin": found.origin, "exists": found.exists},
        "settings": [
            {"command": entry.command, "name": entry.name, "value": entry.value, "origin": entry.origin}
            for entry in settings
        ],
    }
