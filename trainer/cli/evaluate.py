"""`trainer evaluate`: the report of a run, made anew."""

from __future__ import annotations

from pathlib import Path

import click

from trainer.cli.common import open_named_run, print_report, run_argument


@click.command()
@run_argument
def evaluate(run: Path | None) -> None:
    """Make the report of a run anew and print it; the newest run where none is named."""
    from trainer.evaluate import write_report

    opened = open_named_run(run)
    write_report(opened)
    print_report(opened)
