"""`trainer build-engine`: TensorRT plans of a bundle for this very device, proven and timed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.errors import ConfigError, DataError

if TYPE_CHECKING:
    from engines.manifest import Precision
    from trainer.plans.make import Outcome

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
DATA is a media file, a folder of them, with a folder a scene if they are to
be judged, or a CSV: file,scene_label. docs/engines.md says more."""


@click.command("build-engine", epilog=_EPILOG)
@click.argument("bundle", required=False)
@click.option("--fp16", is_flag=True, help="Build in float16: what is meant where no precision is named.")
@click.option("--int8", is_flag=True, help="Build in int8: see --calibrate.")
@click.option("--fp32", is_flag=True, help="Build in float32.")
@click.option("--best", is_flag=True, help="Build in all three; keep those that answer as the reference.")
@click.option(
    "--calibrate",
    metavar="DATA",
    type=click.Path(path_type=Path),
    help="Measure the ranges of int8 on these recordings.  [default: the bundle's int8 graphs, or its golden inputs]",
)
@click.option(
    "--evaluate",
    metavar="DATA",
    type=click.Path(path_type=Path),
    help="Then compare the plans with ONNX Runtime on every window of these recordings.",
)
@click.option(
    "--batch",
    "batches",
    metavar="N",
    type=click.IntRange(1, 1024),
    multiple=True,
    help="Batch size to build for; may be given several times.  [default: 1 and 8]",
)
@click.option(
    "--effort",
    metavar="0-5",
    type=click.IntRange(0, 5),
    default=3,
    show_default=True,
    help="How long TensorRT searches.",
)
@click.option(
    "--workspace",
    metavar="MIB",
    type=click.IntRange(min=1),
    help="Most memory that a kernel may use while it runs.  [default: half of what is free]",
)
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="Keep the plans there, not in the cache.")
@click.option("--force", is_flag=True, help="Build anew what is there already.")
@click.option("--explain", is_flag=True, help="Where answers differ too much, name the layer that diverges first.")
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
    """Build TensorRT plans of BUNDLE for this device, prove them on its golden inputs, and time them.

    BUNDLE is a name or a folder; without it, the one that ships. A plan is for this kind of device and this version of
    TensorRT only; `ascstream` finds it by itself.
    """
    flags = {"--fp16": fp16, "--int8": int8, "--fp32": fp32, "--best": best}
    precisions = _precisions([flag for flag, given in flags.items() if given])
    if calibrate is not None and "int8" not in precisions:
        raise ConfigError("--calibrate: expected --int8 or --best with it, got neither; only int8 measures ranges")
    for name, data in (("--calibrate", calibrate), ("--evaluate", evaluate)):
        if data is not None and not data.exists():
            raise DataError(f"{name}: expected recordings at {data}, got nothing there; check the path")
    from engines.errors import BackendError
    from engines.trt.driver import find_machine, require_tensorrt

    require_tensorrt()  # before anything slow, and before anything of NVIDIA's is imported
    machine = find_machine()
    if machine is None:
        raise BackendError("expected a device with TensorRT, got one that went away; see: ascstream doctor")
    from ascstream.bundles import find_bundle
    from engines.bundle import open_bundle
    from engines.trt.plans import PlanStore
    from trainer.cli.build_bars import BuildBars
    from trainer.plans.make import Wanted, make_plans
    from trainer.plans.media import find_media

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
        calibrate=() if calibrate is None else find_media(calibrate, labels),
        evaluate=() if evaluate is None else find_media(evaluate, labels),
    )
    if not any(flags.values()):
        click.echo("no precision named: float16, as with --fp16", err=True)
    with BuildBars() as progress:
        store = PlanStore(out, tell=progress.say)
        outcome = make_plans(
            opened,
            wanted,
            store=store,
            machine=machine,
            say=progress.say,
            on_progress=progress.build,
            on_file=progress.compare,
        )
    if as_json:
        click.echo(json.dumps(outcome.to_json(opened, machine, store), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print_outcome(outcome)
    for sentence in next_steps(outcome, out):
        click.echo(sentence, err=True)


def _precisions(flags: list[str]) -> tuple[Precision, ...]:
    """What the flags ask for.

    Raises:
        UsageError: They contradict each other.
    """
    if len(flags) > 1:
        raise click.UsageError(f"expected one of {', '.join(_FLAGS)}, got {' and '.join(flags)}; --best builds all")
    return _FLAGS[flags[0] if flags else "--fp16"]


def print_outcome(outcome: Outcome) -> None:
    """The tables."""
    from trainer.cli.figures import print_tables
    from trainer.plans.tables import plan_tables

    print_tables(plan_tables(outcome.plans, outcome.evaluation), notes=True)


def next_steps(outcome: Outcome, out: Path | None) -> list[str]:
    """What was left out and why, what the runtime does now, and what to type."""
    sentences = [f"left out, {precision}: {why}" for precision, why in outcome.refused.items()]
    if outcome.evaluation is not None:
        sentences += [f"left out of the comparison: {failure}" for failure in outcome.evaluation.failures]
    option = "" if out is None else f" --plans {out}"
    if outcome.quickest is not None:
        sentences.append(
            f"{outcome.quickest} is the quickest that is there, and is taken; next: ascstream file CLIP{option}"
        )
    return sentences
