"""Compares two bundles: their contents, the speed of their graphs, and how often their predictions agree."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

import click
import numpy as np

from ascstream.classifier import Classifier
from ascstream.cli.bundle_text import n_bytes, precisions_of
from ascstream.cli.exits import OK, explain
from ascstream.errors import SourceError
from ascstream.pipeline import StreamSettings, stream
from ascstream.records import Prediction
from ascstream.sinks.output import printable
from ascstream.sources.media import open_media
from ascstream.wording import size_text
from engines.backends import REFERENCE_BACKEND, Engines, load_engines
from engines.base import Array, Engine
from engines.bundle import Bundle
from engines.check import golden_of, measure
from engines.manifest import GraphName, Manifest, graph_shapes

_TURNS, _CALLS = 5, 40
"""Rounds in which each graph is timed, alternating with the other bundle's, and calls per round."""
_SLOW_SECONDS = 0.02
"""A graph slower than this is called fewer times."""
_NAME = 20
"""Width of the row names, in columns."""


def side_by_side(first: Bundle, second: Bundle) -> dict[str, Any]:
    """Both bundles' contents and the time per call of each graph: fields for JSON, the first bundle's first."""
    described = [_described(bundle) for bundle in (first, second)]
    labels = [bundle.manifest.labels for bundle in (first, second)]
    for entry, timing in zip(described, _timings(first, second), strict=True):
        entry["p50_ms"] = timing
    return {
        "bundles": described,
        "shared_labels": [label for label in labels[0] if label in labels[1]],
        "only_first": [label for label in labels[0] if label not in labels[1]],
        "only_second": [label for label in labels[1] if label not in labels[0]],
    }


def answers_on(first: Bundle, second: Bundle, inputs: Sequence[str], step: float | None) -> list[dict[str, Any]]:
    """Measure how often two bundles agree on media, over windows of both that end at the same time.

    Args:
        first: A bundle.
        second: Another.
        inputs: The inputs to open.
        step: Time between two windows in seconds; None: the shorter of the bundles' own.

    Returns:
        An entry per input, with `error` set if it could not be read, and the corresponding `exit_code`.
    """
    if step is None:
        step = min(bundle.manifest.window.default_step_seconds for bundle in (first, second))
    shared = [label for label in first.manifest.labels if label in second.manifest.labels]
    entries = []
    with _classifier(first) as one, _classifier(second) as other:
        for name in inputs:
            try:
                pairs = _paired(_predictions(one, name, step), _predictions(other, name, step))
            except SourceError as error:
                code, message = explain(error)
                entries.append({"input": name, "error": message.removeprefix("ascstream: "), "exit_code": code})
                continue
            entries.append({"input": name, "error": None, "exit_code": OK, **_agreement(pairs, shared)})
    return entries


def print_comparison(report: dict[str, Any]) -> None:
    """Print a report in two columns that fit the terminal."""
    first, second = report["bundles"]
    rows: list[tuple[str, ...]] = [
        (name, _text(first[name]), _text(second[name])) for name in first if name not in ("p50_ms", "path")
    ]
    for graph in dict.fromkeys([*first["p50_ms"], *second["p50_ms"]]):
        times = [entry["p50_ms"].get(graph) for entry in (first, second)]
        rows.append((f"one {graph} call", *("–" if ms is None else f"{ms:.3f} ms" for ms in times)))
    only = (", ".join(report[name]) or "none" for name in ("only_first", "only_second"))
    rows.append(("known to it alone", *only))
    width = max(24, (shutil.get_terminal_size().columns - _NAME - 2) // 2)
    for name, *cells in rows:
        columns = [textwrap.wrap(printable(cell), width, break_on_hyphens=False) or [""] for cell in cells]
        for number in range(max(map(len, columns))):
            left, right = (column[number] if number < len(column) else "" for column in columns)
            label = name.replace("_", " ") if number == 0 else ""
            click.echo(f"{label:{_NAME}}{left:{width}}  {right}".rstrip())
    for answer in report.get("answers", []):
        click.echo(f"\n{printable(answer['input'])}")
        for line in _answer_lines(answer):
            click.echo(f"  {line}")


def _described(bundle: Bundle) -> dict[str, Any]:
    """The contents of one bundle."""
    manifest = bundle.manifest
    return {
        "bundle": f"{manifest.name} {manifest.version}",
        "path": str(bundle.path),
        "perceives": list(manifest.modalities),
        "scenes": list(manifest.labels),
        "inputs": [f"{name} {list(shape)}" for name, shape in graph_shapes(manifest, "scene")[0].items()],
        "window_seconds": manifest.window.seconds,
        "step_seconds": manifest.window.default_step_seconds,
        "size": size_text(n_bytes(manifest)),
        "precisions": precisions_of(manifest),
        "float32_graphs": size_text(_graph_bytes(manifest)),
        "temperatures": {output.name: output.temperature for output in manifest.outputs},
        "scene_threshold": manifest.thresholds.scene,
        "group_threshold": manifest.thresholds.group,
        "smoothing_seconds": manifest.smoothing.time_constant_seconds,
        "licence": manifest.licence,
    }


def _graph_bytes(manifest: Manifest) -> int:
    """Total size of the float32 graphs."""
    return sum(manifest.files[graph.files["float32"]].size for graph in manifest.graphs)


def _timings(first: Bundle, second: Bundle) -> list[dict[str, float]]:
    """Milliseconds per call of each graph, a dictionary per bundle: the median of the rounds' medians."""
    found: list[dict[str, list[float]]] = [{}, {}]
    with _load(first) as one, _load(second) as other:
        pairs = [(bundle, engines, index) for index, (bundle, engines) in enumerate(((first, one), (second, other)))]
        calls = [
            (index, name, engine, _feeds(bundle, name))
            for bundle, engines, index in pairs
            for name, engine in _graphs(engines)
        ]
        for _ in range(_TURNS):
            for index, name, engine, feeds in calls:
                once = measure(engine, feeds, 1, warm_up=1).p50_seconds
                n = _CALLS if once < _SLOW_SECONDS else 3
                found[index].setdefault(name, []).append(measure(engine, feeds, n, warm_up=1).p50_seconds)
    return [{name: round(1e3 * float(np.median(seconds)), 4) for name, seconds in side.items()} for side in found]


def _graphs(engines: Engines) -> list[tuple[GraphName, Engine]]:
    """A bundle's loaded graphs by name."""
    frame: list[tuple[GraphName, Engine]] = [] if engines.frame is None else [("frame", engines.frame)]
    return [("scene", engines.scene), *frame]


def _feeds(bundle: Bundle, graph: GraphName) -> dict[str, Array]:
    """Feeds for one call: the first golden case, or zeros if there are none."""
    if bundle.manifest.golden is not None:
        return {name: array[:1] for name, array in golden_of(bundle)[graph].feeds.items()}
    shapes, _ = graph_shapes(bundle.manifest, graph)
    return {name: np.zeros((1, *shape), np.float32) for name, shape in shapes.items()}


def _load(bundle: Bundle) -> Engines:
    """Load the bundle's float32 graphs in ONNX Runtime."""
    return load_engines(bundle, backend=REFERENCE_BACKEND)


def _classifier(bundle: Bundle) -> Classifier:
    """The same, wrapped in a classifier."""
    return Classifier(bundle, _load(bundle))


def _predictions(classifier: Classifier, name: str, step: float) -> list[Prediction]:
    """All predictions of a bundle on one input."""
    with open_media(name) as source:
        return list(stream(classifier, source, StreamSettings(step_seconds=step)))


def _paired(first: Sequence[Prediction], second: Sequence[Prediction]) -> list[tuple[Prediction, Prediction]]:
    """Pair up predictions whose windows end at the same time."""
    by_end = {round(prediction.end, 6): prediction for prediction in second}
    ends = [(prediction, by_end.get(round(prediction.end, 6))) for prediction in first]
    return [(one, other) for one, other in ends if other is not None]


def _agreement(pairs: Sequence[tuple[Prediction, Prediction]], shared: Sequence[str]) -> dict[str, Any]:
    """Measures of agreement; None where there is nothing to compare."""
    raw = [(one.raw_scores, other.raw_scores) for one, other in pairs if one.raw_scores and other.raw_scores]
    differences = [abs(one[label] - other[label]) for one, other in raw for label in shared]
    best = [max(one, key=one.__getitem__) == max(other, key=other.__getitem__) for one, other in raw]
    alike = [one.label == other.label for one, other in pairs]
    return {
        "n_windows": len(pairs),
        "n_scored_by_both": len(raw),
        "same_answer": _mean(alike),
        "same_best_scene": _mean(best),
        "mean_abs_difference": _mean(differences),
        "largest_difference": max(differences, default=None),
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _answer_lines(answer: dict[str, Any]) -> list[str]:
    """Describe the agreement on one input for display."""
    if answer["error"] is not None:
        return [printable(answer["error"])]
    if not answer["n_windows"]:
        return ["no window of either ends where one of the other does; try another --step"]
    share = [
        "–" if answer[name] is None else f"{100 * answer[name]:.1f} %" for name in ("same_answer", "same_best_scene")
    ]
    lines = [f"{answer['n_windows']} windows: the same answer in {share[0]}, the same best scene in {share[1]}"]
    if answer["mean_abs_difference"] is not None:
        lines.append(f"mean |Δp| {answer['mean_abs_difference']:.4f}, largest {answer['largest_difference']:.4f}")
    return lines


def _text(value: Any) -> str:
    """Format a table cell."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry:g}" for name, entry in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
