"""Exports a finished run: graphs, golden cases, manifest and card; nothing is written unless the answers agree."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engines.bundle import Bundle, check_target
from engines.errors import BackendError
from engines.manifest import OutputSpec, Precision, Thresholds
from trainer.clip_run import EVALUATION, NETWORK, ClipRun
from trainer.errors import ExportError, RunError
from trainer.evaluate.recordings import recordings_report
from trainer.evaluate.report import read_segments, run_report
from trainer.export.card import write_card as write_recordings_card
from trainer.export.cases import Cases, open_material
from trainer.export.clip_card import write_clip_card
from trainer.export.contents import Made, write_network
from trainer.export.graphs import NetworkGraphs, trace_network
from trainer.export.precisions import PRECISIONS, Cost, effort, make_precision, measure_cost, to_judge, tolerance_of
from trainer.fit.loop import load_trained
from trainer.models.counts import count_parameters
from trainer.run import FINAL, REPORT, Run


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle that was written."""

    bundle: Bundle
    """Its path and manifest."""
    n_parameters: int
    """Number of the network's parameters."""
    costs: tuple[Cost, ...]
    """What each precision in the bundle costs, float32 first."""
    left_out: Mapping[Precision, str]
    """Precisions that are not in the bundle, and why."""


def export_run(
    run: Run | ClipRun,
    path: Path,
    root: Path,
    *,
    precisions: Sequence[Precision] | None = None,
    overwrite: bool = False,
) -> Exported:
    """Export the network of a run.

    Args:
        run: A finished run.
        path: The bundle's folder; its parent is created.
        root: The data folder, whose clips give the windows for golden cases, ranges and figures.
        precisions: Precisions the bundle shall have besides float32, which it always has; None: all that can be made.
        overwrite: Whether to replace an existing bundle.

    Raises:
        RunError: The run is not finished.
        ExportError: A graph does not give the network's answers, or a requested precision cannot be made.
        BundleError: Something is in the way of `path`.
    """
    report = _report(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    check_target(path.absolute(), overwrite)
    trained = load_trained(run.folder / (NETWORK if isinstance(run, ClipRun) else FINAL), len(run.labels), run.config)
    cases = Cases(open_material(run, trained.inputs, root), trained.system, trained.inputs, run.config)
    graphs = trace_network(trained.system, trained.network, trained.inputs, cases.golden())
    fields = _fields(run, report, graphs)
    made, costs, left_out = _precisions(graphs, cases, fields, precisions)
    n_parameters = count_parameters(trained.network).parameters
    write_card = write_clip_card if isinstance(run, ClipRun) else write_recordings_card
    card = write_card(run, report, trained, costs, left_out)  # type: ignore[arg-type]  # the function for this kind of run
    fields["tolerance"] = tolerance_of(costs)
    bundle = write_network(path, graphs, made, fields, card=card, overwrite=overwrite)
    return Exported(bundle, n_parameters, costs, left_out)


def _precisions(
    graphs: NetworkGraphs, cases: Cases, fields: Mapping[str, Any], asked: Sequence[Precision] | None
) -> tuple[Made, tuple[Cost, ...], dict[Precision, str]]:
    """The graphs of the wanted precisions that can be made, what each costs, and why others are left out."""
    n_ranges, n_judged = effort(graphs)
    made: Made = {"float32": graphs.graphs}
    left_out: dict[Precision, str] = {}
    for precision in PRECISIONS[1:]:
        if asked is not None and precision not in asked:
            continue
        try:
            made[precision] = make_precision(graphs, precision, cases.ranges(n_ranges))
        except BackendError as error:
            left_out[precision] = _reason(error, asked)
    costs: list[Cost] = []
    with tempfile.TemporaryDirectory(prefix="ascstream-") as folder:
        judged: Made = {precision: to_judge(parts, precision) for precision, parts in made.items()}
        draft = write_network(Path(folder) / "draft", graphs, judged, fields, check=False)
        temperature = next(output.temperature for output in draft.manifest.outputs if output.name == "fused")
        for precision in list(made):
            try:
                cost = measure_cost(
                    draft, precision, made[precision], cases.material, temperature, cases.judged(n_judged)
                )
                costs.append(cost)
            except BackendError as error:
                if precision == "float32":
                    raise ExportError(f"{error}; nothing was written") from None
                left_out[precision] = _reason(error, asked)
                del made[precision]
    return made, tuple(costs), left_out


def _reason(error: BackendError, asked: Sequence[Precision] | None) -> str:
    """The reason why a precision is left out.

    Raises:
        ExportError: The precision was requested.
    """
    if asked is not None:
        raise ExportError(f"{error}; nothing was written: leave that --precision out") from None
    return str(error)


def _fields(run: Run | ClipRun, report: Mapping[str, Any], graphs: NetworkGraphs) -> dict[str, Any]:
    """The manifest's fields, without those that depend on the precisions."""
    config = run.config
    temperatures = report["temperatures"] if isinstance(run, ClipRun) else {"fused": report["temperature"]}
    thresholds = {name: report["thresholds"][name] for name in ("scene", "group") if name in report["thresholds"]}
    return {
        "name": config.name,
        "version": config.bundle.version,
        "description": config.bundle.description,
        "licence": config.bundle.licence,
        "labels": run.labels,
        "groups": run.groups,
        "window": config.window,
        "outputs": tuple(OutputSpec(name, temperatures.get(name, 1.0)) for name in graphs.outputs),  # type: ignore[arg-type]
        "thresholds": replace(Thresholds(), **thresholds),
        "smoothing": config.smoothing,
    }


def _report(run: Run | ClipRun) -> dict[str, Any]:
    """The report of a finished run, computed anew: the file may be about another corpus, or of an older trainer."""
    try:
        report = json.loads((run.folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        report = None
    if not isinstance(report, dict) or "thresholds" not in report:
        raise RunError(f"{run.folder}: expected a finished run, got no report; go on with: trainer fit CONFIG --resume")
    if isinstance(run, ClipRun):
        return run_report(run, read_segments(run, EVALUATION))
    return recordings_report(run)
