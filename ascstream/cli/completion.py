"""`ascstream completion`: scripts with which shells complete commands, options and files."""

from __future__ import annotations

import click

from ascstream.cli.options import Subcommand

_HINTS = {
    "bash": "# for good: echo 'eval \"$(ascstream completion bash)\"' >> ~/.bashrc",
    "zsh": "# for good: echo 'eval \"$(ascstream completion zsh)\"' >> ~/.zshrc",
    "fish": "# for good: ascstream completion fish > ~/.config/fish/completions/ascstream.fish",
}


@click.command(
    "completion",
    cls=Subcommand,
    short_help="Print a shell's completion script.",
    epilog='Try it: eval "$(ascstream completion bash)"',
)
@click.argument("shell", type=click.Choice(list(_HINTS)))
def command(shell: str) -> None:
    """Print a shell's completion script; its first line says how to install it permanently."""
    from click.shell_completion import get_completion_class

    from ascstream.cli.app import app

    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"expected a shell that click completes, got {shell!r}")
    click.echo(_HINTS[shell])
    click.echo(completion(app, {}, "ascstream", "_ASCSTREAM_COMPLETE").source())
