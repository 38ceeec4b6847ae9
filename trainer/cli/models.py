"""`trainer models`: list our networks and the published ones as a table or as JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from trainer.models.record import Protocol, Reference

_HEADINGS = ("name", "modality", "input", "parameters", "MACs", "accuracy", "log loss", "protocol", "fit with")
_RIGHT = {"parameters", "MACs", "accuracy", "log loss"}
"""Columns that are right-aligned: the numbers."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print everything known about each network, as JSON.")
def models(as_json: bool) -> None:
    """List the networks: ours, then the published ones with the results their authors reported.

    Input is the shape for one window, without the batch axis: channels × bands × hops for features. Parameters and
    multiply-accumulates are for ten labels and one window including its frames. Accuracies come from different
    protocols: see the letters below.
    """
    from trainer.models.ours import OURS
    from trainer.models.reference import REFERENCES
    from trainer.models.sizes import config_of

    records = [*OURS.values(), *REFERENCES.values()]
    if as_json:
        click.echo(json.dumps([_plain(record) | {"config": config_of(record.name)} for record in records], indent=2))
        return
    protocols = list(dict.fromkeys(record.protocol for record in records if record.protocol is not None))
    rows = [_row(record, protocols) for record in records]
    widths = [max(len(cell) for cell in column) for column in zip(_HEADINGS, *rows, strict=True)]
    for row in (_HEADINGS, *rows):
        cells = zip(_HEADINGS, row, widths, strict=True)
        parts = [cell.rjust(width) if heading in _RIGHT else cell.ljust(width) for heading, cell, width in cells]
        click.echo("  ".join(parts).rstrip())
    click.echo("\nprotocols, never to be compared with each other:")
    for letter, protocol in zip(_LETTERS, protocols, strict=False):
        click.echo(f"  {letter}  {protocol.corpus}; {protocol.unit}; epoch: {protocol.selection}")
    click.echo("\nfit with –: trained and evaluated from Python, on embeddings that nothing here computes")


_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _row(record: Reference, protocols: list[Protocol]) -> tuple[str, ...]:
    """The table cells of one network."""
    from trainer.models.sizes import config_of

    shapes = " + ".join("×".join(str(size) for size in shape) for shape in record.inputs.values())
    accuracy = "–" if record.accuracy is None else f"{100 * record.accuracy:.1f} %"
    log_loss = "–" if record.log_loss is None else f"{record.log_loss:.3f}"
    letter = "–" if record.protocol is None else _LETTERS[protocols.index(record.protocol)]
    return (
        record.name,
        record.modality,
        shapes,
        f"{record.parameters:,}",
        _macs(record.macs),
        accuracy,
        log_loss,
        letter,
        config_of(record.name) or "–",
    )


def _macs(number: int) -> str:
    """A number with three significant digits and a unit: "39.5 M"."""
    for unit, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= unit:
            return f"{number / unit:.3g} {letter}"
    return str(number)


def _plain(record: Reference) -> dict[str, object]:
    """A record as plain JSON values, without what is needed to build the network."""
    protocol = None if record.protocol is None else dataclasses.asdict(record.protocol)
    names = [field.name for field in dataclasses.fields(record) if field.name not in ("factory", "options", "protocol")]
    shapes = {name: list(shape) for name, shape in record.inputs.items()}
    return {name: getattr(record, name) for name in names} | {"inputs": shapes, "protocol": protocol}
