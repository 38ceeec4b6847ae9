"""Tables on stdout: framed on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from trainer.evaluate.tables import Table

_NOTE_COLUMNS = 100
"""Width that a table's note is wrapped to in a pipe."""


def print_clip_report(report: Mapping[str, Any]) -> None:
    """Print the main metrics of a run on prepared clips, or of a bundle."""
    from trainer.evaluate.report_tables import main_tables

    print_tables(main_tables(report))


def print_tables(tables: Sequence[Table], *, notes: bool = False) -> None:
    """Print tables to stdout.

    Args:
        tables: The tables.
        notes: Whether to print the note below each table.
    """
    from trainer.evaluate.tables import table_to_lines

    if not sys.stdout.isatty():
        parts = []
        for table in tables:
            below = textwrap.wrap(table.note, _NOTE_COLUMNS, break_on_hyphens=False) if notes else []
            parts.append("\n".join([*table_to_lines(table), *below]))
        click.echo("\n\n".join(parts))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table as Frame

    def framed(table: Table) -> Frame:
        frame = Frame(title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1))
        if notes and table.note:
            frame.caption, frame.caption_justify = table.note, "left"
        for column, heading in enumerate(table.head):
            frame.add_column(heading, justify="left" if column == 0 else "right", no_wrap=column == 0)
        for row in table.rows:
            frame.add_row(*row)
        return frame

    console = Console(highlight=False, markup=False)
    for table in tables:
        console.print(framed(table))
