"""The command line: `main` is the `trainer` command; each subcommand is a file of its own. torch waits until needed."""

from trainer.cli.exits import main

__all__ = ["main"]
