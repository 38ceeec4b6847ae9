"""The command line: `main` is the `trainer` command, each subcommand has its own file. torch is imported lazily."""

from trainer.cli.exits import main

__all__ = ["main"]
