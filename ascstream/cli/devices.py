"""`ascstream devices`: lists the microphones and cameras present, whether they work, and what is missing."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import click

from ascstream.cli.options import Subcommand

if TYPE_CHECKING:
    from ascstream.devices import Camera, CameraMode, DeviceList, Microphone
    from ascstream.devices.probe import Probe


@click.command("devices", cls=Subcommand, short_help="List microphones and cameras.")
@click.option("--probe", is_flag=True, help="Record two seconds from each: does it open, and what does it deliver?")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(probe: bool, as_json: bool) -> None:
    """List microphones and cameras, each numbered from 0, and say what is missing.

    Only devices that can record are listed, not outputs or metadata nodes. A device's name, id or path stays the same
    when others are plugged in; its number may change.
    """
    from ascstream.devices import list_devices

    _show_debug_log()
    found = list_devices()
    if not probe:
        _print(found, as_json, None)
        return
    from ascstream.devices.probe import probe_all

    with probe_all(found) as (mics, cameras):
        _print(found, as_json, [*mics, *cameras])


def _show_debug_log() -> None:
    """With --debug, show messages of ALSA and JACK on stderr."""
    if "--debug" in sys.argv or os.environ.get("ASCSTREAM_DEBUG", "0") not in ("", "0"):
        logger = logging.getLogger("ascstream.devices")
        logger.setLevel(logging.DEBUG)
        logger.addHandler(logging.StreamHandler())


def _print(found: DeviceList, as_json: bool, probes: Sequence[Future[Probe]] | None) -> None:
    if as_json:
        click.echo(json.dumps(_report(found, probes), indent=2, ensure_ascii=False))
        return
    waiting = iter(probes or ())
    click.echo("Microphones")
    for mic in found.microphones:
        click.echo(_microphone(mic))
        _print_probe(waiting)
    if not found.microphones:
        click.echo("  none")
    click.echo("Cameras")
    for camera in found.cameras:
        click.echo(_camera(camera))
        _print_probe(waiting)
    if not found.cameras:
        click.echo("  none")
    for sentence in found.advice:
        click.echo(sentence, err=True)


def _report(found: DeviceList, probes: Sequence[Future[Probe]] | None) -> dict[str, Any]:
    report = {"schema": 1, **dataclasses.asdict(found)}
    if probes is not None:
        for entry, future in zip([*report["microphones"], *report["cameras"]], probes, strict=True):
            result = future.result()
            entry["probe"] = {**dataclasses.asdict(result), "silent": result.silent}
    return report


def _print_probe(waiting: Any) -> None:
    from ascstream.devices.probe import describe

    future = next(waiting, None)
    if future is not None:
        click.echo(f"     {describe(future.result())}")


def _microphone(mic: Microphone) -> str:
    channels = f"{mic.n_channels} channel{'s' if mic.n_channels > 1 else ''}"
    line = f"  {mic.index}  {mic.name}  [{mic.host_api}, {channels}, {mic.sample_rate} Hz]"
    return line + ("  (default)" if mic.default else "") + (f"\n     {mic.stable_id}" if mic.stable_id else "")


def _camera(camera: Camera) -> str:
    lines = [f"  {camera.index}  {camera.name}  [{camera.path}, {camera.driver}{f', {camera.bus}' * bool(camera.bus)}]"]
    if camera.stable_path is not None:
        lines.append(f"     {camera.stable_path}")
    if camera.modes:
        lines.append(f"     {_modes(camera.modes)}")
    return "\n".join(lines)


def _modes(modes: Sequence[CameraMode]) -> str:
    """The largest picture size of each pixel format, with its highest frame rate."""
    largest: dict[str, CameraMode] = {}
    for mode in modes:
        best = largest.get(mode.pixel_format)
        if best is None or mode.width * mode.height > best.width * best.height:
            largest[mode.pixel_format] = mode
    return ", ".join(
        f"{mode.pixel_format} up to {mode.width}×{mode.height}"
        + (f" at {mode.frame_rates[0]:g} a second" if mode.frame_rates else "")
        for mode in largest.values()
    )
