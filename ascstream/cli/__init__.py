"""The command line: `main` is the `ascstream` command; each subcommand has its own module, imported on demand."""

from ascstream.cli.exits import main

__all__ = ["main"]
