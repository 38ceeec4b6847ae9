"""`trainer build-engine`: build, verify and time TensorRT plans of a bundle for the device it runs on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.errors import ConfigError, DataError

if TYPE_CHECKING:
    from engines.bundle import Bundle
    from engines.manifest import Precision
    from engines.trt.records import Machine
    from trainer.plans.make import Outcome, Wanted

_FLAGS: dict[str, tuple[Precision, ...]] = {
    "--fp16": ("float16",),
    "--int8": ("int8",),
    "--fp32": ("float32",),
    "--best": ("float32", "float16", "int8"),
}
_EPILOG = """\b
  trainer build-engine --fp16
  trainer build-engine bundles/slim-av --best --evaluate recordings
  trainer build-engine --int8 --calibrate street --evaluate heldout/labels.csv

\b
DATA is a media file, a folder of media files (one folder per scene if answers
are to be judged), or a CSV: file,scene_label. See docs/engines.md."""


@click.command("build-engine", epilog=_EPILOG)
@click.argument("bundle", required=False)
@click.option("--fp16", is_flag=True, help="Build in float16: the default.")
@click.option("--int8", is_flag=True, help="Build in int8: see --calibrate.")
@click.option("--fp32", is_flag=True, help="Build in float32.")
@click.option("--best", is_flag=True, help="Build in all three; keep those whose answers match the reference.")
@click.option(
    "--calibrate",
    metavar="DATA",
    type=click.Path(path_type=Path),
    help="Measure int8 ranges on these recordings.  [default: the bundle's int8 graphs, or its golden inputs]",
)
@click.option(
    "--evaluate",
    metavar="DATA",
    type=click.Path(path_type=Path),
    help="Afterwards compare the plans with ONNX Runtime on every window of these recordings.",
)
@click.option(
    "--batch",
    "batches",
    metavar="N",
    type=click.IntRange(1, 1024),
    multiple=True,
    help="Batch size to build for; may be repeated.  [default: 1 and 8]",
)
@click.option(
    "--effort",
    metavar="0-5",
    type=click.IntRange(0, 5),
    default=3,
    show_default=True,
    help="How thoroughly TensorRT searches for fast kernels.",
)
@click.option(
    "--workspace",
    metavar="MIB",
    type=click.IntRange(1, 1 << 20),
    help="Maximum memory a kernel may use while it runs.  [default: half of what is free]",
)
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="Keep the plans there, not in the cache.")
@click.option("--force", is_flag=True, help="Rebuild plans that already exist.")
@click.option("--explain", is_flag=True, help="If answers differ too much, name the first layer that diverges.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def build_engine(
    bundle: str | None,
    fp16: bool,
    int8: bool,
    fp32: bool,
    best: bool,
    calibrate: Path | None,
    evaluate: Path | None,
    batches: tuple[int, ...],
    effort: int,
    workspace: int | None,
    out: Path | None,
    force: bool,
    explain: bool,
    as_json: bool,
) -> None:
    """Build TensorRT plans of BUNDLE for this device, verify them on its golden inputs, and time them.

    BUNDLE is a name or a folder; without it, the bundle that ships. A plan works only with this kind of device and this
    version of TensorRT; `ascstream` finds it by itself.
    """
    flags = {"--fp16": fp16, "--int8": int8, "--fp32": fp32, "--best": best}
    precisions = _precisions([flag for flag, given in flags.items() if given])
    if calibrate is not None and "int8" not in precisions:
        raise ConfigError("--calibrate: expected --int8 or --best with it, got neither; only int8 measures ranges")
    for name, data in (("--calibrate", calibrate), ("--evaluate", evaluate)):
        if data is not None and not data.exists():
            raise DataError(f"{name}: expected recordings at {data}, got nothing there; check the path")
    from engines.trt.driver import require_machine

    machine = require_machine()  # before anything slow, and before any NVIDIA package is imported
    from ascstream.bundles import find_bundle
    from engines.bundle import open_bundle
    from trainer.data.labelled import read_media
    from trainer.plans.make import Wanted

    opened = open_bundle(find_bundle(bundle))
    labels = opened.manifest.labels
    wanted = Wanted(
        precisions=precisions,
        best=best,
        batches=batches or (1, 8),
        effort=effort,
        workspace_bytes=None if workspace is None else workspace << 20,
        force=force,
        explain=explain,
        calibrate=() if calibrate is None else read_media(calibrate, labels, "fit", "--calibrate").clips,
        evaluate=() if evaluate is None else read_media(evaluate, labels, "judge", "--evaluate").clips,
    )
    if not any(flags.values()):
        click.echo("no precision named: float16, as with --fp16", err=True)
    run_build(opened, wanted, machine, out=out, as_json=as_json)


def run_build(
    bundle: Bundle,
    wanted: Wanted,
    machine: Machine,
    *,
    out: Path | None,
    as_json: bool,
    build_command: Sequence[str] | None = None,
) -> None:
    """Build the plans once a device has been found, then print the outcome.

    Args:
        bundle: The bundle to build plans of.
        wanted: What to build.
        machine: The device that the plans are for.
        out: Folder that the plans are stored in; None: the cache.
        as_json: Whether to print JSON instead of tables.
        build_command: Command that builds a plan; None: `engines.trt.worker`.

    Raises:
        EngineError, TrainerError, AscstreamError: See `trainer.plans.make.make_plans`.
    """
    from engines.trt.build import BUILD_COMMAND
    from engines.trt.plans import PlanStore
    from trainer.cli.build_bars import BuildBars
    from trainer.plans.make import make_plans

    with BuildBars() as progress:
        store = PlanStore(out, tell=progress.say)
        outcome = make_plans(
            bundle,
            wanted,
            store=store,
            machine=machine,
            say=progress.say,
            on_progress=progress.build,
            on_file=progress.compare,
            build_command=build_command or BUILD_COMMAND,
        )
    if as_json:
        click.echo(json.dumps(outcome.to_json(bundle, machine, store), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print_outcome(outcome)
    for sentence in next_steps(outcome, bundle, out):
        click.echo(sentence, err=True)


def _precisions(flags: list[str]) -> tuple[Precision, ...]:
    """The precisions that the flags select.

    Raises:
        UsageError: More than one flag is given.
    """
    if len(flags) > 1:
        raise click.UsageError(f"expected one of {', '.join(_FLAGS)}, got {' and '.join(flags)}; --best builds all")
    return _FLAGS[flags[0] if flags else "--fp16"]


def print_outcome(outcome: Outcome) -> None:
    """Print the tables of plans and, if there was one, of the comparison."""
    from trainer.cli.figures import print_tables
    from trainer.plans.tables import plan_tables

    print_tables(plan_tables(outcome.plans, outcome.evaluation), notes=True)


def next_steps(outcome: Outcome, bundle: Bundle, out: Path | None) -> list[str]:
    """What was left out and why, which plan the runtime will use, and which command to type next."""
    from ascstream.bundles import DEFAULT, shipped

    sentences = [f"left out, {precision}: {why}" for precision, why in outcome.refused.items()]
    if outcome.evaluation is not None:
        sentences += [f"left out of the comparison: {failure}" for failure in outcome.evaluation.failures]
    words = ["ascstream file CLIP"]
    if bundle.path != shipped().get(DEFAULT):
        words.append(f"--bundle {shlex.quote(str(bundle.path))}")
    if out is not None:
        words.append(f"--plans {shlex.quote(str(out))}")
    if outcome.quickest is not None:
        sentences.append(f"{outcome.quickest} is the quickest that is there, and is taken; next: {' '.join(words)}")
    return sentences
