"""`trainer export`: export a run as a bundle."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.cli.common import data_option, need_torch, open_named_run, run_argument

if TYPE_CHECKING:
    from engines.manifest import Precision

_SHIPPED = Path("ascstream/bundles")
"""In a checkout: the folder of the bundles that ship."""


@click.command()
@run_argument
@click.option("--out", type=click.Path(path_type=Path), help="The bundle's folder  [default: see above]")
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(["float32", "float16", "int8"]),
    multiple=True,
    help="Precision to include beside float32, which always is; may be repeated  [default: all that are possible]",
)
@click.option("--overwrite", is_flag=True, help="Replace the bundle at --out.")
@data_option
def export(run: Path | None, out: Path | None, precisions: tuple[Precision, ...], overwrite: bool, root: Path) -> None:
    """Export a run as a bundle; without RUN, the newest run.

    Nothing is written unless the graphs give the same answers as the network. What each precision costs is printed and
    recorded in the bundle's CARD.md. Without --out the bundle goes to ascstream/bundles/NAME in a checkout, otherwise
    to bundles/NAME, and replaces what is there.
    """
    need_torch()
    from trainer.clip_run import ClipRun
    from trainer.evaluate.tables import table_to_lines
    from trainer.export.bundle import export_run
    from trainer.export.precision_table import precision_table

    opened = open_named_run(run)
    if out is None:
        out, overwrite = (_SHIPPED if _SHIPPED.is_dir() else Path("bundles")) / opened.config.name, True
    done = export_run(opened, out, root, precisions=precisions or None, overwrite=overwrite)
    table = precision_table(done.costs, done.left_out, held_out=isinstance(opened, ClipRun))
    for line in (*table_to_lines(table), table.note):
        click.echo(line, err=True)
    size = sum(entry.size for entry in done.bundle.manifest.files.values())
    click.echo(str(out))
    try_it = f"next: ascstream file CLIP --bundle {shlex.quote(str(out))}"
    click.echo(f"{done.n_parameters:,} parameters, {size / 1024:,.0f} KiB; {try_it}", err=True)
