"""A finished run to a bundle: graph, golden cases, manifest, card; nothing is written unless the answers agree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from ascstream.frontend import audio_tensor
from engines.backends import load_engines
from engines.bundle import Bundle, write_bundle
from engines.check import BATCHES, N_CASES, GoldenGraph, Timing, check_parity, measure, require_parity, write_golden
from engines.manifest import GraphSpec, InputSpec, OutputSpec, Thresholds
from engines.ort import OrtEngine
from trainer.card import write_card
from trainer.data.audio import decode
from trainer.data.augment import Floats
from trainer.errors import ExportError, RunError
from trainer.loop import Trained, load_trained
from trainer.metrics import softmax
from trainer.models.graph import export_graph
from trainer.run import FINAL, REPORT, Run

GRAPH, GOLDEN, CARD = "scene.onnx", "golden.npz", "CARD.md"
INPUT = "features"
OUTPUT: Final = "fused"
_TOLERANCE = 1e-5
"""Largest difference of a probability between the trained network and its graph."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle that was written."""

    bundle: Bundle
    """Where it lies and what it says."""
    n_parameters: int
    """Of the network."""
    timing: Timing
    """One call of the graph, ONNX Runtime, one thread."""


def export_run(run: Run, path: Path, root: Path, *, overwrite: bool = False) -> Exported:
    """Export the final network of a run.

    Args:
        run: A finished run.
        path: The bundle's folder; its parent is made.
        root: The data folder: the golden cases are windows of its recordings.
        overwrite: Whether to replace a bundle that is there.

    Raises:
        RunError: The run is not finished.
        ExportError: The graph does not answer as the network.
        BundleError: There is something in the way.
    """
    config = run.config
    report = _report(run)
    trained = load_trained(run.folder / FINAL, len(run.labels), config)
    features = golden_features(run, trained, root)
    graph = export_graph(trained.model, {INPUT: torch.from_numpy(features[:2])}, [OUTPUT])
    logits = trained.logits(features)
    check_batches(graph, features, logits)
    timing = measure(OrtEngine(graph, name="scene"), {INPUT: features[:1]}, 300)
    n_parameters = sum(parameter.numel() for parameter in trained.model.parameters())
    thresholds = {name: report["thresholds"][name] for name in ("scene", "group") if name in report["thresholds"]}
    fields = {
        "name": config.name,
        "version": config.bundle.version,
        "description": config.bundle.description,
        "licence": config.bundle.licence,
        "labels": run.labels,
        "groups": run.groups,
        "window": config.window,
        "inputs": (InputSpec(INPUT, audio=trained.audio),),
        "outputs": (OutputSpec(OUTPUT, report["temperature"]),),
        "graphs": (GraphSpec("scene", {"float32": GRAPH}),),
        "golden": GOLDEN,
        "card": CARD,
        "thresholds": replace(Thresholds(), **thresholds),
        "smoothing": config.smoothing,
    }
    files = {
        GRAPH: graph,
        GOLDEN: write_golden({"scene": GoldenGraph({INPUT: features}, {OUTPUT: logits})}),
        CARD: write_card(run, report, n_parameters, timing, len(graph)).encode(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    return Exported(write_bundle(path, fields, files, overwrite=overwrite, accept=_accept), n_parameters, timing)


def check_batches(graph: bytes, features: Floats, logits: Floats) -> None:
    """Compare the graph with the network in batches of 1, 2 and 5.

    Raises:
        ExportError: A probability differs by more than 1e-5.
    """
    with OrtEngine(graph, name="scene") as engine:
        for size in BATCHES:
            answers = engine.infer({INPUT: features[:size]})[OUTPUT]
            difference = float(np.abs(softmax(answers) - softmax(logits[:size])).max())
            if not difference <= _TOLERANCE:
                raise ExportError(
                    f"scene: expected the network's probabilities within {_TOLERANCE:g} in a batch of {size}, "
                    f"got a difference of {difference:.3g}; nothing was written"
                )


def golden_features(run: Run, trained: Trained, root: Path) -> Floats:
    """[N_CASES, 1, n_mels, n_hops]: the middle of one recording a scene, then of others until there are enough.

    Raises:
        DataError: A recording is not where it was.
    """
    config = run.config
    place = root / config.data.labels
    folder = place if place.is_dir() else place.parent
    cases = []
    for number in _golden_recordings(run):
        samples = decode(folder / run.entries[number].file, config.audio.sample_rate)
        start = (samples.size - config.n_window_samples) // 2
        cases.append(audio_tensor(samples[None, start : start + config.n_window_samples], trained.audio))
    return np.stack(cases)


def _golden_recordings(run: Run) -> Sequence[int]:
    """Positions of N_CASES recordings: the first of each scene, then the rest in order, from the start again if few."""
    labels = [entry.label for entry in run.entries]
    first = sorted({labels.index(label) for label in labels})
    order = first + [index for index in range(len(labels)) if index not in first]
    return np.resize(order, N_CASES).tolist()


def _accept(bundle: Bundle) -> None:
    """Refuse a bundle whose graph does not give its golden answers."""
    with load_engines(bundle) as engines:
        require_parity(check_parity(bundle, engines))


def _report(run: Run) -> dict[str, Any]:
    """The report of a run."""
    try:
        report: dict[str, Any] = json.loads((run.folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise RunError(
            f"{run.folder}: expected a finished run, got no report; go on with: trainer fit CONFIG --resume"
        ) from None
    return report
