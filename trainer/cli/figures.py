"""A report's main tables on the terminal: framed where someone looks, plain lines in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click


def print_clip_report(report: Mapping[str, Any]) -> None:
    """The figures that matter of a run on prepared clips, or of a bundle."""
    from trainer.evaluate.tables import Table, main_tables, table_to_lines

    tables = main_tables(report)
    if not sys.stdout.isatty():
        click.echo("\n\n".join("\n".join(table_to_lines(table)) for table in tables))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table as Frame

    def framed(table: Table) -> Frame:
        frame = Frame(title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1))
        for column, heading in enumerate(table.head):
            frame.add_column(heading, justify="left" if column == 0 else "right", no_wrap=column == 0)
        for row in table.rows:
            frame.add_row(*row)
        return frame

    console = Console(highlight=False, markup=False)
    for table in tables:
        console.print(framed(table))
