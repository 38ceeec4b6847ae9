"""`trainer export`: a run as a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from trainer.cli.common import data_option, need_torch, open_named_run, run_argument

_SHIPPED = Path("ascstream/bundles")
"""In a checkout, where bundles that ship lie."""


@click.command()
@run_argument
@click.option("--out", type=click.Path(path_type=Path), help="The bundle's folder  [default: as described]")
@click.option("--overwrite", is_flag=True, help="Replace the bundle at --out.")
@data_option
def export(run: Path | None, out: Path | None, overwrite: bool, root: Path) -> None:
    """Export a run as a bundle; the newest run where none is named.

    Without --out it goes to ascstream/bundles/NAME in a checkout, else to bundles/NAME, and replaces what is there.
    """
    need_torch()
    from trainer.export import export_run

    opened = open_named_run(run)
    if out is None:
        out, overwrite = (_SHIPPED if _SHIPPED.is_dir() else Path("bundles")) / opened.config.name, True
    done = export_run(opened, out, root, overwrite=overwrite)
    size = sum(entry.size for entry in done.bundle.manifest.files.values())
    click.echo(str(out))
    click.echo(
        f"{done.n_parameters:,} parameters, {size / 1024:.0f} KiB, one window {done.timing.p50_seconds * 1e3:.2f} ms "
        f"(p95 {done.timing.p95_seconds * 1e3:.2f} ms); next: ascstream file CLIP --bundle {out}",
        err=True,
    )
