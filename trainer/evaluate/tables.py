"""A table and its cells: as Markdown or plain columns; `report_tables.py` makes those of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """One table; the first column is text, the others are numbers."""

    title: str
    """Heading."""
    head: tuple[str, ...]
    """Column names."""
    rows: tuple[tuple[str, ...], ...]
    """Cells, one per column."""
    note: str = ""
    """Explanation below the table."""


def table_to_lines(table: Table) -> list[str]:
    """A table as plain-text columns, with its title above."""
    lines = [table.head, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.head))]
    return [
        table.title,
        *(
            "  ".join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ),
    ]


def table_to_markdown(table: Table) -> str:
    """A table as Markdown: heading, table, note."""
    lines = [table.head, ["---", *["---:"] * (len(table.head) - 1)], *table.rows]
    grid = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return "\n\n".join(part for part in (f"## {table.title}" * bool(table.title), grid, table.note) if part)


def percent(value: float | None) -> str:
    """0.2564 as "25.6 %"; None as a dash."""
    return "–" if value is None else f"{100 * value:.1f} %"


def loss(value: float | None) -> str:
    """A loss with three decimals; None as a dash."""
    return "–" if value is None else f"{value:.3f}"


def interval(ends: Sequence[float] | None, factor: float, digits: int) -> str:
    """An interval to append to a figure: " (56.6–63.5)"; empty if there is none."""
    return "" if ends is None else f" ({'–'.join(f'{factor * end:.{digits}f}' for end in ends)})"
