"""Two bundles to one: graphs in every precision, golden cases from the sources themselves, manifest, card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engines.backends import REFERENCE_BACKEND, load_engines
from engines.base import Array
from engines.bundle import Bundle, check_target, write_bundle
from engines.check import GoldenGraph, check_parity, golden_of, in_batches, require_parity, write_golden
from engines.errors import BackendError
from engines.manifest import (
    FRAME_GRAPH,
    SCENE_GRAPH,
    GraphName,
    GraphSpec,
    InputSpec,
    Manifest,
    OutputSpec,
    Precision,
    Tolerance,
)
from engines.ort import OrtEngine
from engines.precision import rounded, to_float16
from trainer.errors import ExportError
from trainer.evaluate.metrics import softmax
from trainer.fuse.card import write_card
from trainer.fuse.graph import HEADS, PRESENCE, Half, fuse_graphs, fused_inputs
from trainer.fuse.labels import check_halves, fit_window, merge_groups, merge_licences, merge_thresholds
from trainer.fuse.pool import Expert, Pool, make_pool
from trainer.fuse.weights import Fitted

GOLDEN, CARD = "golden.npz", "CARD.md"
_SUFFIX: Mapping[Precision, str] = {"float32": "", "float16": ".fp16", "int8": ".int8"}
_LARGEST_DIFFERENCE: Mapping[Precision, float] = {"float32": 1e-5, "float16": 0.02, "int8": 0.5}
"""Of a probability on the golden cases; beyond it a graph is broken rather than coarse."""
_MARGIN = 4
"""A tolerance is so many times what ONNX Runtime came to: other backends sum in another order."""
_PRESENCE_OF_CASES = ((1, 1), (1, 1), (0, 1), (1, 0), (1, 1), (0, 0), (0, 1), (1, 0))
"""Flags of the golden cases, the ear's first: each alone in some batch."""

Graphs = dict[GraphName, bytes]


@dataclass(frozen=True, slots=True)
class Naming:
    """What the user may say of the fused bundle; None: what follows from the sources."""

    name: str | None = None
    """Its name."""
    version: str = "1.0.0"
    """Its version."""
    description: str | None = None
    """What it is, in a line."""
    notes: str = ""
    """Markdown that the card ends with: where data are from, further figures."""


@dataclass(frozen=True, slots=True)
class Found:
    """What labelled data gave."""

    fitted: Fitted
    """Weights and figures."""
    thresholds: Mapping[str, float]
    """What `choose_thresholds` gives."""
    source: str
    """What the data were, in words for the card."""
    unit: str
    """What a sequence of windows is of: clips, or pairs."""


@dataclass(frozen=True, slots=True)
class Fusion:
    """A fused bundle that was written."""

    bundle: Bundle
    """Where it lies and what it says."""
    left_out: Mapping[Precision, str]
    """Precisions that are not in it, and why."""


def pool_of(audio: Manifest, video: Manifest, odds: Mapping[str, float] | None = None) -> Pool:
    """The pool of two bundles, with weights of 1.

    Args:
        audio: Of the bundle that hears.
        video: Of the bundle that sees.
        odds: Prior odds of some labels, to 1 for each other.

    Raises:
        ConfigError: Odds that cannot be.
    """
    return make_pool(_expert(audio), _expert(video), odds)


def fuse_bundles(
    audio: Bundle,
    video: Bundle,
    path: Path,
    pool: Pool,
    *,
    naming: Naming | None = None,
    found: Found | None = None,
    overwrite: bool = False,
) -> Fusion:
    """Write the bundle that hears with one and sees with the other; nothing is written unless the answers agree.

    Args:
        audio: Hears.
        video: Sees.
        path: The bundle's folder; its parent is made.
        pool: How the answers become one.
        naming: Name and version.
        found: What the weights in `pool` were fitted on, if they were.
        overwrite: Whether to replace a bundle that is there.

    Raises:
        ConfigError: The bundles do not go together; the message says why.
        ExportError: Their graphs cannot be joined, or do not answer as they did apart.
        BundleError: One is incomplete or altered, has no golden cases, or there is something in the way.
    """
    check_halves(audio, video)
    path.parent.mkdir(parents=True, exist_ok=True)
    check_target(path.absolute(), overwrite)
    eyes = fit_window(video.manifest, audio.manifest.window)
    made, left_out = _made(audio, video, eyes, pool)
    golden = _golden(audio, video, pool)
    differences: dict[Precision, float] = {}
    for precision in list(made):
        try:
            differences[precision] = _difference(made[precision], golden, precision)
        except BackendError as error:
            if precision == "float32":
                raise ExportError(f"{error}; nothing was written") from None
            left_out[precision] = str(error)
            del made[precision]
    fields = _fields(audio.manifest, video.manifest, eyes, pool, naming or Naming(), found)
    fields["tolerance"] = _tolerance(audio.manifest, video.manifest, pool, differences)
    files = {_file(made, precision, name): graph for precision, of in made.items() for name, graph in of.items()}
    fields["graphs"] = tuple(
        GraphSpec(name, {precision: _file(made, precision, name) for precision in made}) for name in made["float32"]
    )
    files[GOLDEN] = write_golden({str(name): cases for name, cases in golden.items()})
    card = write_card(audio, video, pool, fields, found, left_out)
    notes = (naming or Naming()).notes.strip()
    files[CARD] = (f"{card}\n{notes}\n" if notes else card).encode()
    bundle = write_bundle(path, fields, files, overwrite=overwrite, accept=_accept)
    return Fusion(bundle, left_out)


def _expert(manifest: Manifest) -> Expert:
    """A bundle's part in a pool."""
    output = manifest.output("fused")
    return Expert(manifest.labels, 1.0 if output is None else output.temperature)


def _made(
    audio: Bundle, video: Bundle, eyes: tuple[InputSpec, ...], pool: Pool
) -> tuple[dict[Precision, Graphs], dict[Precision, str]]:
    """The graphs in every precision that can be, and why others are left out."""
    made: dict[Precision, Graphs] = {}
    left_out: dict[Precision, str] = {}
    precisions: tuple[Precision, ...] = ("float32", "float16", "int8")
    for precision in precisions:
        parts = {"audio": _held(audio, precision), "video": _held(video, precision)}
        lacking = [name for name, graphs in parts.items() if not graphs]
        if len(lacking) == 2:
            continue
        if lacking and precision == "int8":
            which = audio if lacking == ["audio"] else video
            left_out[precision] = f"{which.manifest.name} has no int8 graphs, and ranges need recordings to be measured"
            continue
        if lacking:
            parts[lacking[0]] = _halved(audio if lacking == ["audio"] else video)
        ear, eye = (parts[name][SCENE_GRAPH] for name in ("audio", "video"))
        scene = fuse_graphs(
            Half(ear, audio.manifest.inputs, audio.manifest.name),
            Half(eye, eyes, video.manifest.name),
            pool,
            audio.manifest.window,
        )
        made[precision] = {SCENE_GRAPH: scene, **{n: g for n, g in parts["video"].items() if n == FRAME_GRAPH}}
    return made, left_out


def _held(bundle: Bundle, precision: Precision) -> Graphs:
    """A bundle's graphs in a precision; none where it does not hold it."""
    specs = bundle.manifest.graphs
    if any(precision not in spec.files for spec in specs):
        return {}
    return {spec.name: bundle.read(spec.files[precision]) for spec in specs}


def _halved(bundle: Bundle) -> Graphs:
    """A bundle's graphs in float16; one that has nothing to gain stays as it is."""
    made = _held(bundle, "float32")
    for name, graph in made.items():
        try:
            made[name] = to_float16(graph)
        except BackendError:
            continue
    return made


def _golden(audio: Bundle, video: Bundle, pool: Pool) -> dict[GraphName, GoldenGraph]:
    """Golden cases: the sources' own, run in the sources' own graphs, pooled in numpy."""
    feeds: dict[str, Array] = {}
    logits: list[Array] = []
    frame: dict[GraphName, GoldenGraph] = {}
    for modality, bundle in (("audio", audio), ("video", video)):
        cases = golden_of(bundle)
        with load_engines(bundle, backend=REFERENCE_BACKEND) as engines:
            logits.append(in_batches(engines.scene.infer, cases[SCENE_GRAPH].feeds, ("fused",))["fused"])
        feeds |= {f"{modality}_{name}": array for name, array in cases[SCENE_GRAPH].feeds.items()}
        if FRAME_GRAPH in cases:
            frame = {FRAME_GRAPH: cases[FRAME_GRAPH]}
    feeds[PRESENCE] = np.array(_PRESENCE_OF_CASES, np.float32)
    answers = pool.answers(logits[0], logits[1], feeds[PRESENCE])
    scene = GoldenGraph(feeds, {head: values.astype(np.float32) for head, values in answers.items()})
    return {**frame, SCENE_GRAPH: scene}


def _difference(graphs: Graphs, golden: Mapping[GraphName, GoldenGraph], precision: Precision) -> float:
    """Largest difference of an answer to the golden ones; of float16 as an accelerator rounds it, too.

    Raises:
        BackendError: It is no number, or too large for one of a probability.
    """
    cases = golden[SCENE_GRAPH]
    largest = 0.0
    for graph in (graphs[SCENE_GRAPH], *([rounded(graphs[SCENE_GRAPH])] if precision == "float16" else [])):
        with OrtEngine(graph) as engine:
            answers = in_batches(engine.infer, cases.feeds, HEADS)
        for head, expected in cases.answers.items():
            difference = float(np.abs(answers[head].astype(np.float64) - expected).max())
            probability = float(np.abs(softmax(answers[head]) - softmax(expected)).max())
            if not probability <= _LARGEST_DIFFERENCE[precision]:
                raise BackendError(
                    f"{precision}: expected probabilities within {_LARGEST_DIFFERENCE[precision]:g} of those that the "
                    f"sources give, pooled in numpy, got a difference of {probability:.3g} in {head}"
                )
            largest = max(largest, difference)
    return largest


def _tolerance(audio: Manifest, video: Manifest, pool: Pool, differences: Mapping[Precision, float]) -> Tolerance:
    """What backends may differ by: what the sources' may come to behind the pool, and what was seen here.

    A logarithm of a softmax moves by at most twice what its logits do.
    """

    def allowed(precision: Precision, ear: float, eye: float) -> float:
        parts = ((pool.audio, ear), (pool.video, eye))
        pooled = sum(2 * max(1.0, expert.weight) * own / expert.temperature for expert, own in parts)
        return float(f"{max(ear, eye, pooled, _MARGIN * differences.get(precision, 0.0)):.1e}")

    ear, eye = audio.tolerance, video.tolerance
    return Tolerance(
        allowed("float32", ear.logits, eye.logits),
        allowed("float16", ear.float16_logits, eye.float16_logits),
        allowed("int8", ear.int8_logits, eye.int8_logits),
    )


def _fields(
    audio: Manifest, video: Manifest, eyes: tuple[InputSpec, ...], pool: Pool, naming: Naming, found: Found | None
) -> dict[str, Any]:
    """The manifest, without files, graphs and tolerance."""
    thresholds = merge_thresholds(audio.thresholds, video.thresholds)
    if found is not None:
        chosen = {name: found.thresholds[name] for name in ("scene", "group") if name in found.thresholds}
        thresholds = replace(thresholds, **chosen)
    return {
        "name": naming.name or f"{audio.name}-{video.name}",
        "version": naming.version,
        "description": naming.description
        or f"{audio.name} {audio.version} for sound and {video.name} {video.version} for pictures, pooled.",
        "licence": merge_licences(audio.licence, video.licence),
        "labels": pool.labels,
        "groups": merge_groups(audio, video),
        "window": audio.window,
        "inputs": fused_inputs(audio.inputs, eyes),
        "outputs": tuple(OutputSpec(head) for head in HEADS),  # type: ignore[arg-type]
        "golden": GOLDEN,
        "card": CARD,
        "thresholds": thresholds,
        "smoothing": audio.smoothing,
    }


def _file(made: Mapping[Precision, Graphs], precision: Precision, name: GraphName) -> str:
    """A graph's file; one that a precision leaves as it is stands in the bundle once."""
    changed = made[precision][name] != made["float32"][name]
    return f"{name}{_SUFFIX[precision] if changed else ''}.onnx"


def _accept(bundle: Bundle) -> None:
    """Refuse a bundle whose graphs do not give its golden answers, in any precision it holds."""
    for precision in bundle.manifest.graphs[0].files:
        with load_engines(bundle, backend=REFERENCE_BACKEND, precision=precision) as engines:
            require_parity(check_parity(bundle, engines))
