"""Descriptions of a bundle for display: a line in a list, the whole manifest, the model card."""

from __future__ import annotations

import dataclasses
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from ascstream.sinks.output import printable
from ascstream.wording import size_text
from engines.bundle import Bundle
from engines.errors import BundleError
from engines.manifest import InputSpec, Manifest, Normalisation, graph_shapes

PRECISIONS = ("float32", "float16", "int8")
_HEAD = ("bundle", "version", "perceives", "scenes", "size", "precisions")
_INDENT = 14
"""Width of the row names, in columns."""
_MANY = 4
"""Longer lists of numbers (by more than one) are abbreviated to their first and last."""


def list_row(bundle: Bundle, *, is_default: bool) -> dict[str, Any]:
    """A bundle's entry in a list."""
    manifest = bundle.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "modalities": list(manifest.modalities),
        "n_labels": len(manifest.labels),
        "bytes": n_bytes(manifest),
        "precisions": precisions_of(manifest),
        "path": str(bundle.path),
        "default": is_default,
    }


def columns(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The list's rows as aligned columns, each followed by the bundle's path."""
    rows = [_HEAD] + [
        (
            entry["name"],
            entry["version"],
            "+".join(entry["modalities"]),
            str(entry["n_labels"]),
            size_text(entry["bytes"]),
            " ".join(entry["precisions"]) + "  (default)" * entry["default"],
        )
        for entry in entries
    ]
    widths = [max(len(printable(row[index])) for row in rows) for index in range(len(_HEAD))]
    for number, row in enumerate(rows):
        cells = (printable(cell).ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
        if number:
            yield f"  {printable(entries[number - 1]['path'])}"


def describe(bundle: Bundle) -> Iterator[str]:
    """Everything the manifest says, wrapped to the width of the terminal."""
    manifest = bundle.manifest
    yield from _wrapped("", f"{manifest.name} {manifest.version}: {manifest.description}")
    yield ""
    for name, text in (
        ("folder", str(bundle.path)),
        ("licence", manifest.licence),
        ("perceives", " and ".join(manifest.modalities)),
        ("scenes", f"{len(manifest.labels)}: {', '.join(manifest.labels)}"),
        *(("group", f"{group}: {', '.join(members)}") for group, members in manifest.groups.items()),
        ("window", _record(manifest.window)),
        ("smoothing", _record(manifest.smoothing)),
        ("thresholds", _record(manifest.thresholds)),
        ("tolerance", _record(manifest.tolerance)),
    ):
        yield from _wrapped(name, text)
    shapes, _ = graph_shapes(manifest, "scene")
    for entry in manifest.inputs:
        yield ""
        yield from _wrapped("input", f"{entry.name} [n, {', '.join(map(str, shapes[entry.name]))}]")
        for name, text in _input(entry):
            yield from _wrapped(f"  {name}", text)
    yield ""
    for output in manifest.outputs:
        yield from _wrapped("output", f"{output.name}, temperature {output.temperature:g}")
    yield from _files(manifest)


def print_card(text: str) -> None:
    """Render a model card on stdout."""
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.markdown import Markdown, TableElement
    from rich.table import Table

    class Whole(TableElement):
        """A table that drops nothing in a narrow terminal: long cells, such as hashes, are folded."""

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            for part in super().__rich_console__(console, options):
                for column in part.columns if isinstance(part, Table) else ():
                    column.overflow = "fold"
                yield part

    class Card(Markdown):
        """Markdown with such tables."""

        elements = Markdown.elements | {"table_open": Whole}

    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(Card("\n".join(printable(line) for line in text.splitlines())))
    click.echo()
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def card_of(bundle: Bundle) -> str | None:
    """A bundle's model card, or None if it has none.

    Raises:
        BundleError: It was altered, or is not UTF-8 text.
    """
    name = bundle.manifest.card
    if name is None:
        return None
    try:
        return bundle.read(name).decode()
    except UnicodeDecodeError:
        raise BundleError(f"{bundle.path / name}: expected a model card in UTF-8, got something else") from None


def n_bytes(manifest: Manifest) -> int:
    """Total size of all files but the manifest."""
    return sum(entry.size for entry in manifest.files.values())


def precisions_of(manifest: Manifest) -> list[str]:
    """The precisions in which every graph is available."""
    return [name for name in PRECISIONS if all(name in graph.files for graph in manifest.graphs)]


def _input(entry: InputSpec) -> Iterator[tuple[str, str]]:
    """Rows that describe one input."""
    if entry.presence is not None:
        yield "presence", f"1 where it is there: {', '.join(entry.presence)}"
    if entry.video is not None:
        yield "video", _record(entry.video)
    if entry.audio is not None:
        yield "audio", _record(entry.audio, leave_out=("feature", "normalisation"))
        yield "feature", _record(entry.audio.feature)
        yield "normalised", _record(entry.audio.normalisation, leave_out=_unused(entry.audio.normalisation))


def _unused(normalisation: Normalisation) -> tuple[str, ...]:
    """Fields that have no meaning for this kind of normalisation."""
    return (*("epsilon",) * (normalisation.kind != "per_clip"), *("low", "high") * (normalisation.kind != "min_max"))


def _files(manifest: Manifest) -> Iterator[str]:
    """The graphs by precision and the other files, with sizes and hashes; a hash may take a line of its own."""
    used = {name: f"{graph.name} {precision}" for graph in manifest.graphs for precision, name in graph.files.items()}
    if manifest.golden is not None:
        used[manifest.golden] = "golden cases"
    if manifest.card is not None:
        used[manifest.card] = "model card"
    for name, entry in manifest.files.items():
        yield ""
        yield from _wrapped(used.get(name, "file"), f"{name}, {size_text(entry.size)}")
        yield from _wrapped("  SHA-256", entry.sha256)


def _record(record: Any, leave_out: Iterable[str] = ()) -> str:
    """A record's fields by name, except those that are None."""
    parts = []
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if field.name not in leave_out and value is not None:
            parts.append(f"{field.name.replace('_', ' ')} {_value(value)}")
    return " · ".join(parts)


def _value(value: Any) -> str:
    """Format a number, a word, or a list of numbers."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple):
        if len(value) > _MANY + 1:
            return f"{_value(value[0])} … {_value(value[-1])} ({len(value)} numbers)"
        return ", ".join(_value(item) for item in value)
    return str(value)


def _wrapped(name: str, text: str) -> Iterator[str]:
    """A named row wrapped to the width of the terminal; continuation lines are indented."""
    indent = _INDENT if name else 0
    name = f"{printable(name):{indent}}" if len(name) < indent else f"{printable(name)}  " * bool(name)
    width = max(shutil.get_terminal_size().columns, indent + 20)
    yield from textwrap.wrap(
        printable(text),
        width,
        initial_indent=name,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [name.rstrip()]
