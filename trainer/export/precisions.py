"""A network's graphs in other precisions: made, compared with PyTorch's answers, timed, and judged on real windows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from engines.backends import REFERENCE_BACKEND, Engines, load_engines
from engines.base import Array
from engines.bundle import Bundle
from engines.check import GoldenGraph, Timing, check_parity, measure, read_golden
from engines.errors import BackendError
from engines.manifest import FRAME_GRAPH, FRAME_INPUT, FRAME_OUTPUT, SCENE_GRAPH, GraphName, Precision, Tolerance
from engines.ort import OrtEngine
from engines.precision import rounded, to_float16, to_int8
from trainer.evaluate.bundle import evaluate_bundle
from trainer.evaluate.metrics import accuracy, log_loss, softmax
from trainer.export.cases import Material
from trainer.export.graphs import NetworkGraphs
from trainer.inputs import EMBEDDINGS, FRAMES

PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")
"""What a bundle may hold; float32 is the reference and always there."""
_LARGEST_DIFFERENCE: Mapping[Precision, float] = {"float32": 1e-5, "float16": 0.02, "int8": 0.5}
"""Of a probability on the golden cases; beyond it a graph is broken rather than coarse."""
_MARGIN = 4
"""A tolerance is so many times what ONNX Runtime came to: other backends sum in another order."""
_TIMED = 200
_EFFORT = ((0.005, 256, 2000), (0.05, 128, 500), (math.inf, 32, 100))
"""By the seconds that one window takes at most: windows that ranges are measured on, and windows to judge by."""


@dataclass(frozen=True, slots=True)
class GoldenCost:
    """What one precision costs and saves, as far as golden cases tell."""

    precision: Precision
    """Which."""
    n_bytes: int
    """Its graphs together."""
    scene: Timing
    """One window through the scene graph: ONNX Runtime, one thread."""
    frame: Timing | None
    """One image through the frame graph."""
    logit_difference: float
    """Largest difference of a logit to PyTorch's, on the golden cases."""
    embedding_difference: float
    """The same of an embedding, by the largest of them where that is above 1; 0 where there are none."""
    probability_difference: float
    """Largest difference of a probability, on the golden cases."""


@dataclass(frozen=True, slots=True)
class Cost(GoldenCost):
    """The same, and what real windows say of it."""

    accuracy: float
    """Of `n_windows` windows."""
    log_loss: float
    """Of the same, calibrated."""
    n_windows: int
    """How many there were."""


def make_precision(
    graphs: NetworkGraphs, precision: Precision, windows: Iterable[Mapping[str, Array]], *, n_first: int = 1
) -> dict[GraphName, bytes]:
    """The graphs of a network in another precision; one that has nothing to gain stays as it is.

    Args:
        graphs: The network.
        precision: Which.
        windows: The network's inputs of what it was trained on; ranges of int8 are measured on them.
        n_first: Layers from each graph's beginning that stay float32 in float16.

    Raises:
        BackendError: None of them can be made so.
    """
    made: dict[GraphName, bytes] = {}
    failures: list[BackendError] = []
    feeds = _feeds(graphs, windows) if precision == "int8" else {}
    for name, graph in graphs.graphs.items():
        try:
            made[name] = to_float16(graph, n_first=n_first) if precision == "float16" else to_int8(graph, feeds[name])
        except BackendError as error:
            failures.append(error)
            made[name] = graph
    if len(failures) == len(graphs.graphs):
        raise failures[-1]
    return made


def to_judge(made: Mapping[GraphName, bytes], precision: Precision) -> dict[GraphName, bytes]:
    """Graphs that answer on this machine's CPU as those in `made` would on an accelerator."""
    return {name: rounded(graph) if precision == "float16" else graph for name, graph in made.items()}


def measure_golden(bundle: Bundle, precision: Precision, made: Mapping[GraphName, bytes]) -> GoldenCost:
    """What a precision of a network comes to on its golden cases; arguments and errors are those of `measure_cost`."""
    manifest = bundle.manifest
    with load_engines(bundle, backend=REFERENCE_BACKEND, precision=precision) as engines:
        outputs = check_parity(bundle, engines).outputs
        if any(entry.max_difference is None for entry in outputs):
            raise BackendError(f"{precision}: expected numbers on the golden cases, got NaN or infinity")
        golden = read_golden(bundle.read(manifest.golden or ""), manifest)
        probability = _probability_difference(engines, golden[SCENE_GRAPH])
        if probability > _LARGEST_DIFFERENCE[precision]:
            raise BackendError(
                f"{precision}: expected PyTorch's probabilities within {_LARGEST_DIFFERENCE[precision]:g} on the "
                f"golden cases, got a difference of {probability:.3g}"
            )
    timings = {name: _time(made[name], golden[name]) for name in made}
    scene = [entry.max_difference or 0.0 for entry in outputs if entry.output.startswith(f"{SCENE_GRAPH}/")]
    frame = [entry.max_difference or 0.0 for entry in outputs if entry.output.startswith(f"{FRAME_GRAPH}/")]
    largest = np.abs(golden[FRAME_GRAPH].answers[FRAME_OUTPUT]).max() if FRAME_GRAPH in golden else 1.0
    return GoldenCost(
        precision=precision,
        n_bytes=sum(len(graph) for graph in made.values()),
        scene=timings[SCENE_GRAPH],
        frame=timings.get(FRAME_GRAPH),
        logit_difference=max(scene),
        embedding_difference=max(frame, default=0.0) / max(1.0, float(largest)),
        probability_difference=probability,
    )


def measure_cost(
    bundle: Bundle,
    precision: Precision,
    made: Mapping[GraphName, bytes],
    material: Material,
    temperature: float,
    clips: Sequence[int],
) -> Cost:
    """What a precision of a network comes to.

    Args:
        bundle: It holds the graphs to judge by (`to_judge`) as that precision.
        precision: Which.
        made: The graphs to time and to weigh.
        material: Where the windows come from.
        temperature: Of the fused logits.
        clips: Which clips to judge it on.

    Raises:
        BackendError: A graph cannot be run, gives NaN or infinity, or is too coarse to be shipped.
    """
    golden, manifest = measure_golden(bundle, precision, made), bundle.manifest
    answers = evaluate_bundle(bundle, material.store, clips, manifest.labels, precision=precision)
    if not all(np.isfinite(logits).all() for logits in answers.logits.values()):
        raise BackendError(f"{precision}: expected numbers on the windows to judge by, got NaN or infinity")
    probabilities = softmax(answers.logits["whole"], temperature)
    targets = material.targets[answers.clips]
    return Cost(
        **{field.name: getattr(golden, field.name) for field in fields(golden)},
        accuracy=accuracy(probabilities, targets),
        log_loss=log_loss(probabilities, targets),
        n_windows=len(targets),
    )


def tolerance_of(costs: Iterable[GoldenCost]) -> Tolerance:
    """What the manifest demands of every backend: what was measured here, times a margin, and no less than usual."""
    least = Tolerance()
    found = {"float32": least.logits, "float16": least.float16_logits, "int8": least.int8_logits}
    for cost in costs:
        worst = _MARGIN * max(cost.logit_difference, cost.embedding_difference)
        floor = least.logits if cost.precision == "float32" else 10 * least.logits
        found[cost.precision] = max(floor, float(f"{worst:.1e}"))
    return Tolerance(found["float32"], found["float16"], found["int8"])


def effort(graphs: NetworkGraphs) -> tuple[int, int]:
    """Windows to measure ranges on, and windows to judge by: fewer where one takes long."""
    seconds = 0.0
    for name, graph in graphs.graphs.items():
        feeds = {key: array[:1] for key, array in graphs.golden[name].feeds.items()}
        with OrtEngine(graph, name=name) as engine:
            n_frames = graphs.golden[SCENE_GRAPH].feeds[EMBEDDINGS].shape[1] if name == FRAME_GRAPH else 1
            seconds += n_frames * measure(engine, feeds, 3, warm_up=1).p50_seconds
    return next((n_ranges, n_judged) for limit, n_ranges, n_judged in _EFFORT if seconds <= limit)


def _time(graph: bytes, golden: GoldenGraph) -> Timing:
    """One case at a time through a graph; fewer times where it is slow."""
    feeds = {key: array[:1] for key, array in golden.feeds.items()}
    with OrtEngine(graph) as engine:
        once = measure(engine, feeds, 3, warm_up=1).p50_seconds
        return measure(engine, feeds, max(10, min(_TIMED, int(2 / max(once, 1e-6)))), warm_up=5)


def _feeds(graphs: NetworkGraphs, windows: Iterable[Mapping[str, Array]]) -> dict[GraphName, list[Mapping[str, Array]]]:
    """What each graph meets in use; behind a frame graph, its own embeddings."""
    feeds: dict[GraphName, list[Mapping[str, Array]]] = {name: [] for name in graphs.graphs}
    frame = OrtEngine(graphs.graphs[FRAME_GRAPH], name=FRAME_GRAPH) if FRAME_GRAPH in graphs.graphs else None
    for window in windows:
        scene = dict(window)
        if frame is not None:
            feeds[FRAME_GRAPH].append({FRAME_INPUT: scene.pop(FRAMES)[0]})
            scene[EMBEDDINGS] = frame.infer(feeds[FRAME_GRAPH][-1])[FRAME_OUTPUT][None]
        feeds[SCENE_GRAPH].append(scene)
    if frame is not None:
        frame.close()
    return feeds


def _probability_difference(engines: Engines, golden: GoldenGraph) -> float:
    """Largest difference of a probability of the scene graph to PyTorch's."""
    answers = engines.scene.infer(dict(golden.feeds))
    distances = [np.abs(softmax(answers[name]) - softmax(expected)).max() for name, expected in golden.answers.items()]
    return float(max(distances))
