"""`trainer import`: convert a published network into a bundle."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.cli.common import count_clips, need_torch

if TYPE_CHECKING:
    from trainer.importers.imported import Imported

KINDS: Mapping[str, str] = {
    "cp-mobile": "trainer.importers.cp_mobile:import_cp_mobile",
    "places365": "trainer.importers.places365:import_places365",
    "clip": "trainer.importers.clip:import_clip",
    "efficientat": "trainer.importers.efficientat:import_efficientat",
    "panns": "trainer.importers.panns:import_panns",
    "onnx": "trainer.importers.onnx_graph:import_onnx",
}
"""Maps each kind to the function that imports it."""
_TAKES: Mapping[str, tuple[str, ...]] = {
    "clip": ("data", "vocabulary", "prompts", "activation"),
    "efficientat": ("data",),
    "panns": ("data",),
}
"""Maps each kind to the options it accepts besides --out and --overwrite."""
_NEEDS_DATA = ("efficientat", "panns")
"""Kinds that tag sounds and have no scene classes of their own."""
_EPILOG = """\b
Kinds:
  cp-mobile    CPJKU's checkpoint of DCASE 2023: ten scenes by ear
  places365    SqueezeNet's arrays (.npz), or CSAIL's ResNet-18 or -50 (.pth.tar): ten scenes by eye
  clip         OpenAI's, open_clip's or transformers' CLIP: scenes by eye, by sentences or a head fitted with --data
  efficientat  EfficientAT's MobileNets on AudioSet (mn04_as … mn40_as): scenes by ear, with a head fitted with --data
  panns        PANNs on AudioSet (Cnn6, Cnn10, Cnn14, ResNet, MobileNetV1): scenes by ear, likewise with --data
  onnx         any graph of one input and one answer; PATH is a TOML file that says what they are (docs/importing.md)"""


@click.command("import", epilog=_EPILOG)
@click.argument("kind", metavar="KIND", type=click.Choice(list(KINDS)))
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The bundle's folder.")
@click.option("--overwrite", is_flag=True, help="Replace the bundle at --out.")
@click.option("--data", type=click.Path(path_type=Path), help="Labelled clips or pictures to fit a head on.")
@click.option("--vocabulary", type=click.Path(path_type=Path), help="clip: the tokenizer's merges file.")
@click.option("--prompts", type=click.Path(path_type=Path), help="clip: a TOML file with sentences for each label.")
@click.option("--activation", type=click.Choice(["quick_gelu", "gelu"]), help="clip: which its weights expect.")
def import_(kind: str, path: Path, out: Path, overwrite: bool, **options: object) -> None:
    """Make a bundle from a published network whose weights are at PATH; nothing is downloaded.

    The file is hashed, and no code in it is executed. Nothing is written unless the graphs give the same answers as the
    network. The bundle's CARD.md names the authors, what is known of the licence, and what was checked.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if others := [name for name in given if name not in _TAKES.get(kind, ())]:
        kinds = [known for known, names in _TAKES.items() if others[0] in names]
        raise click.UsageError(f"--{others[0]}: expected with {' or '.join(kinds)}, got it with {kind}; leave it out")
    if kind in _NEEDS_DATA and "data" not in given:
        raise click.UsageError(
            f"{kind}: expected --data CLIPS, labelled recordings: tags become scenes by a head fitted on your clips"
        )
    need_torch()
    from trainer.evaluate.tables import table_to_lines
    from trainer.export.precision_table import golden_table
    from trainer.importers.bundle import check_place, write_import

    check_place(out, overwrite=overwrite)
    imported = _read(kind, path, given | ({"on_clip": count_clips} if "data" in given else {}))
    for source in imported.sources:
        known = imported.origin.known_files.get(source.sha256)
        click.echo(f"{source.sha256}  {source.path}{f'  (known: {known})' if known else ''}", err=True)
    if imported.found:
        click.echo(imported.found, err=True)
    done = write_import(imported, out, overwrite=overwrite)
    table = golden_table(done.costs, done.left_out)
    for line in (*table_to_lines(table), table.note, f"Terms: {imported.origin.terms}"):
        click.echo(line, err=True)
    click.echo(str(out))
    click.echo(f"next: ascstream file CLIP --bundle {shlex.quote(str(out))}", err=True)


def _read(kind: str, path: Path, options: Mapping[str, object]) -> Imported:
    """Import the file with the importer of that kind."""
    module, _, name = KINDS[kind].partition(":")
    imported: Imported = getattr(import_module(module), name)(path, **options)
    return imported
