"""`ascstream devices`: the microphones and cameras there are, and what is missing."""

from __future__ import annotations

import dataclasses
import json

import click

from ascstream.cli.options import Subcommand


@click.command("devices", cls=Subcommand, short_help="List microphones and cameras.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List microphones and cameras, each counted from 0, and say what is missing.

    Only devices that can record are listed: outputs and metadata nodes are left out. A name or a path under
    /dev/v4l/by-id stays the same when others are plugged in; a number may not.
    """
    from ascstream.devices import list_devices

    found = list_devices()
    if as_json:
        click.echo(json.dumps({"schema": 1, **dataclasses.asdict(found)}, indent=2, ensure_ascii=False))
        return
    click.echo("Microphones")
    for mic in found.microphones:
        channels = f"{mic.n_channels} channel{'s' if mic.n_channels > 1 else ''}"
        default = "  (default)" if mic.default else ""
        click.echo(f"  {mic.index}  {mic.name}  [{mic.host_api}, {channels}, {mic.sample_rate} Hz]{default}")
    if not found.microphones:
        click.echo("  none")
    click.echo("Cameras")
    for camera in found.cameras:
        click.echo(f"  {camera.index}  {camera.name}  [{camera.path}, {camera.driver}, {camera.bus}]")
        if camera.stable_path is not None:
            click.echo(f"     {camera.stable_path}")
    if not found.cameras:
        click.echo("  none")
    for sentence in found.advice:
        click.echo(sentence, err=True)
