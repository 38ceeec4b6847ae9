"""The `ascstream` command itself: its subcommands by name, imported on demand."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

from ascstream._version import __version__
from ascstream.cli.options import Commands, Subcommand

SUBCOMMANDS = ("live", "file", "devices", "doctor", "bench", "engine", "bundle", "config", "completion")
"""In the order of the help; each is `command` in the module of the same name."""

_EPILOG = """\b
Examples:
  ascstream live --mic 0 --camera 0          what devices hear and see, live
  ascstream file clip.mp4                    a live view, or lines on a pipe
  ascstream file clip.mp4 --out scenes.srt   the scenes as subtitles
  ascstream file recordings/ --format jsonl > all.jsonl
  ffmpeg -v error -nostdin -i URL -c copy -f matroska - | ascstream file -
  ascstream doctor                           what works here, and what to type next

\b
Results go to stdout and to the files of --out; everything else goes to stderr.

\b
Exit codes:
  0  done (also: degraded, padded, resampled, or the pipe was closed)
  1  results could not be written (disk full, no permission), or a bug
  2  the command line or a setting is wrong
  3  an input or a device: missing, empty, not media, only partly decodable
  4  a bundle or an engine does not work
  5  something was lost and --strict was given
  129, 130, 143  ended by SIGHUP, Ctrl-C, SIGTERM; results so far are kept"""


def settings_tables() -> dict[str, tuple[click.Option, ...]]:
    """The setting options of every subcommand that has any: what the settings file may contain."""
    commands = ((name, import_module(f"ascstream.cli.{name}").command) for name in SUBCOMMANDS)
    found = {name: command.settings() for name, command in commands if isinstance(command, Subcommand)}
    return {name: options for name, options in found.items() if options}


class _LazyCommands(Commands):
    """The subcommands, imported by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in SUBCOMMANDS:
            return None
        command = import_module(f"ascstream.cli.{cmd_name}").command
        return command if isinstance(command, click.Command) else None


@click.command(
    cls=_LazyCommands,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", prog_name="ascstream", message="%(prog)s %(version)s")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Settings file to use. [default: what `ascstream config path` prints]",
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
@click.pass_context
def app(context: click.Context, config: Path | None) -> None:
    """Classify the scene around a microphone or camera, or in a recording, by sound and picture, window by window."""
    context.obj = config
