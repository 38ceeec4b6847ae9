"""Builds the fused bundle: graphs in every precision, golden cases from the sources themselves, manifest and card."""

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
    Modality,
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
"""Largest allowed difference of a probability on the golden cases; beyond it a graph is broken, not just imprecise."""
_MARGIN = 4
"""Tolerances are at least this multiple of ONNX Runtime's difference, as other backends sum in another order."""
_PRESENCE_OF_CASES = ((1, 1), (1, 1), (0, 1), (1, 0), (1, 1), (0, 0), (0, 1), (1, 0))
"""Presence flags of the golden cases, audio first; every combination occurs."""

Graphs = dict[GraphName, bytes]


@dataclass(frozen=True, slots=True)
class Naming:
    """What the user may choose for the fused bundle; None: derived from the sources."""

    name: str | None = None
    """Its name."""
    version: str = "1.0.0"
    """Its version."""
    description: str | None = None
    """Its description, in one line."""
    notes: str = ""
    """Markdown appended to the card, such as the origin of the data or further figures."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was fitted on labelled data."""

    fitted: Fitted
    """Weights and figures."""
    thresholds: Mapping[str, float]
    """The result of `choose_thresholds`."""
    source: str
    """Description of the data, for the card."""
    unit: str
    """What a sequence of windows comes from: clips or pairs."""


@dataclass(frozen=True, slots=True)
class Fusion:
    """A fused bundle that was written."""

    bundle: Bundle
    """Its path and manifest."""
    left_out: Mapping[Precision, str]
    """Precisions that are not in the bundle, and why."""


def pool_of(audio: Manifest, video: Manifest, odds: Mapping[str, float] | None = None) -> Pool:
    """Return the pool of two bundles, with weights of 1.

    Args:
        audio: Manifest of the audio bundle.
        video: Manifest of the video bundle.
        odds: Prior odds of some labels; every other label has 1.

    Raises:
        ConfigError: The odds are invalid.
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
    """Write a bundle that combines an audio and a video bundle; nothing is written unless the answers agree.

    Args:
        audio: The bundle for sound.
        video: The bundle for pictures.
        path: The fused bundle's folder; its parent is created.
        pool: How the answers are combined.
        naming: Name, version, description and notes.
        found: What the weights in `pool` were fitted on, if they were fitted.
        overwrite: Whether to replace an existing bundle.

    Raises:
        ConfigError: The bundles do not fit together; the message says why.
        ExportError: Their graphs cannot be joined, or answer differently than they do separately.
        BundleError: One is incomplete or altered, has no golden cases, or something is in the way of `path`.
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
    """The expert that a bundle contributes to a pool."""
    output = manifest.output("fused")
    return Expert(manifest.labels, 1.0 if output is None else output.temperature)


def _made(
    audio: Bundle, video: Bundle, eyes: tuple[InputSpec, ...], pool: Pool
) -> tuple[dict[Precision, Graphs], dict[Precision, str]]:
    """The graphs in every possible precision, and the reasons why others are left out.

    A source without float16 graphs has its float32 graphs converted if the other source has float16.
    """
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
    """A bundle's graphs in a precision; empty if the bundle does not have it."""
    specs = bundle.manifest.graphs
    if any(precision not in spec.files for spec in specs):
        return {}
    return {spec.name: bundle.read(spec.files[precision]) for spec in specs}


def _halved(bundle: Bundle) -> Graphs:
    """A bundle's graphs converted to float16; a graph that cannot be converted stays float32."""
    made = _held(bundle, "float32")
    for name, graph in made.items():
        try:
            made[name] = to_float16(graph)
        except BackendError:
            continue
    return made


def _golden(audio: Bundle, video: Bundle, pool: Pool) -> dict[GraphName, GoldenGraph]:
    """Golden cases: the sources' own inputs, run through the sources' own graphs and pooled in numpy."""
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
    """Largest difference between the logits and the golden ones; float16 is also run rounded as on an accelerator.

    Raises:
        BackendError: A probability differs by NaN or by more than is allowed.
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
    """Tolerances for backends: the sources' own, carried through the pool, and a multiple of the differences seen here.

    A log-softmax changes by at most twice the change of its logits.
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
    """The manifest's fields, without files, graphs and tolerance."""
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
        "outputs": (OutputSpec("fused"), _head("audio", pool), _head("video", pool)),
        "golden": GOLDEN,
        "card": CARD,
        "thresholds": thresholds,
        "smoothing": audio.smoothing,
    }


def _head(modality: Modality, pool: Pool) -> OutputSpec:
    """The head of one modality, with the labels it has learnt if these are not all."""
    known = pool.expert(modality).labels
    return OutputSpec(modality, labels=None if known == pool.labels else known)


def _file(made: Mapping[Precision, Graphs], precision: Precision, name: GraphName) -> str:
    """File name of a graph; a graph that a precision leaves unchanged shares the float32 file."""
    changed = made[precision][name] != made["float32"][name]
    return f"{name}{_SUFFIX[precision] if changed else ''}.onnx"


def _accept(bundle: Bundle) -> None:
    """Refuse a bundle whose graphs do not reproduce its golden answers in every precision it has."""
    for precision in bundle.manifest.graphs[0].files:
        with load_engines(bundle, backend=REFERENCE_BACKEND, precision=precision) as engines:
            require_parity(check_parity(bundle, engines))
