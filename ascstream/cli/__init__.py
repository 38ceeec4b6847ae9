"""The command line: `main` is the `ascstream` command; each subcommand is a file of its own, loaded when named."""

from ascstream.cli.exits import main

__all__ = ["main"]
