"""`ascstream bench`: what each stage costs per window, from the file to the prediction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ascstream.cli.options import Subcommand, bundle_settings, stream_settings
from ascstream.wording import size_text

if TYPE_CHECKING:
    from ascstream.cli.timing import Measurement

_SYNTHETIC_SECONDS = 30


@click.command("bench", cls=Subcommand, short_help="Measure how long every stage takes.")
@click.argument("clip", required=False, type=click.Path())
@bundle_settings
@stream_settings
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    clip: str | None,
    bundle: str | None,
    backend: str,
    precision: str | None,
    plans: str | None,
    threads: int,
    step: float | None,
    smoothing: float | None,
    scene_threshold: float | None,
    group_threshold: float | None,
    as_json: bool,
) -> None:
    """Measure how long every stage of classifying CLIP takes, end to end, in one Python thread.

    Without CLIP, a 30 s clip is generated (640 × 360, 25 frames per second, stereo) and removed afterwards. p50, p95
    and p99 are percentiles of a stage's time per window; overlapping windows share work if they can.
    """
    import tempfile

    from ascstream.bundles import find_bundle
    from ascstream.cli.timing import measure_clip
    from ascstream.pipeline import StreamSettings, describe_fallback
    from engines.backends import load_engines
    from engines.bundle import open_bundle

    settings = StreamSettings(step, smoothing, scene_threshold, group_threshold)
    opened = open_bundle(find_bundle(bundle))
    settings.step(opened.manifest)  # refuse an invalid step before a clip is generated
    with (
        tempfile.TemporaryDirectory(prefix="ascstream-") as folder,
        load_engines(
            opened, backend=backend, precision=precision, threads=threads, plans=None if plans is None else Path(plans)
        ) as engines,
    ):
        where = clip if clip is not None else _make_clip(Path(folder) / "synthetic.mkv")
        measured = measure_clip(where, opened, engines, settings)
        note, failed = engines.note, engines.fell_back
    for sentence in (note, None if failed is None else describe_fallback(failed)):
        if sentence is not None:
            click.echo(f"ascstream: {sentence}", err=True)
    report = measured.to_json()
    if clip is None:
        report["clip"] = f"synthetic, {_SYNTHETIC_SECONDS} s"
    click.echo(json.dumps(report, indent=2, ensure_ascii=False) if as_json else _table(report, measured))


def _make_clip(path: Path) -> str:
    """Generate the synthetic clip in a separate process, to keep its encoder out of our measured time and memory."""
    import subprocess

    from engines.child_process import command_of

    words = [*command_of("ascstream.cli.bench_clip"), str(path), str(_SYNTHETIC_SECONDS)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise click.ClickException(f"the synthetic clip cannot be made; give one of your own\n{done.stderr.strip()}")
    return str(path)


def _table(report: dict[str, Any], measured: Measurement) -> str:
    """The report as a table for display."""
    lines = [
        f"clip    {report['clip']}",
        f"bundle  {measured.bundle}, {measured.backend}",
        f"step    {measured.step_seconds:g} s, {measured.n_windows} windows",
        "",
        f"{'ms a window':12} {'p50':>9} {'p95':>9} {'p99':>9} {'sum, s':>9} {'share':>7}",
    ]
    whole = report["stages"]["whole"]["sum_seconds"]
    for name, stage in report["stages"].items():
        numbers = " ".join(f"{stage[key]:9.3f}" for key in ("p50_ms", "p95_ms", "p99_ms", "sum_seconds"))
        lines.append(f"{name:12} {numbers} {stage['sum_seconds'] / whole:7.0%}")
    factor = measured.realtime_factor
    lines += [
        "",
        f"real-time factor {factor:.4f} ({1 / factor:.0f} × real time)",
        f"CPU {measured.cpu_seconds:.2f} s for {measured.stream_seconds:.1f} s, "
        f"peak memory {size_text(measured.peak_bytes)}",
    ]
    return "\n".join(lines)
