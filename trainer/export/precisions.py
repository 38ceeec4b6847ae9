"""Converts a network's graphs to other precisions, compares them with PyTorch, times them, and judges real windows."""

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
"""The precisions a bundle may have; float32 is the reference and always present."""
_LARGEST_DIFFERENCE: Mapping[Precision, float] = {"float32": 1e-5, "float16": 0.02, "int8": 0.5}
"""Largest allowed difference of a probability on the golden cases; beyond it a graph is broken, not just imprecise."""
_MARGIN = 4
"""Tolerances are this multiple of ONNX Runtime's difference, as other backends sum in another order."""
_TIMED = 200
_EFFORT = ((0.005, 256, 2000), (0.05, 128, 500), (math.inf, 32, 100))
"""Largest seconds per window, then how many windows to measure int8 ranges on, and how many to judge precisions on."""


@dataclass(frozen=True, slots=True)
class GoldenCost:
    """What one precision costs and saves, measured on golden cases."""

    precision: Precision
    """The precision."""
    n_bytes: int
    """Size of its graphs together."""
    scene: Timing
    """One window through the scene graph: ONNX Runtime, one thread."""
    frame: Timing | None
    """One image through the frame graph; None if there is none."""
    logit_difference: float
    """Largest difference of a logit from the golden answers."""
    embedding_difference: float
    """Largest difference of an embedding from them, relative to its largest value if above 1; 0 without embeddings."""
    probability_difference: float
    """Largest difference of a probability from them."""


@dataclass(frozen=True, slots=True)
class Cost(GoldenCost):
    """The same, and its quality on real windows."""

    accuracy: float
    """Accuracy on `n_windows` windows."""
    log_loss: float
    """Log loss on the same windows, with the calibrated temperature."""
    n_windows: int
    """Number of windows judged."""


def make_precision(
    graphs: NetworkGraphs, precision: Precision, windows: Iterable[Mapping[str, Array]], *, n_first: int = 1
) -> dict[GraphName, bytes]:
    """Convert the graphs of a network to another precision; a graph that cannot be converted stays as it is.

    Args:
        graphs: The network's float32 graphs.
        precision: The precision: float16 or int8.
        windows: The network's inputs for windows it was trained on; int8 ranges are measured on them.
        n_first: Number of leading layers of each graph that stay float32 in float16.

    Raises:
        BackendError: None of the graphs can be converted.
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
    """Return graphs that answer on this machine's CPU as those in `made` would on an accelerator."""
    return {name: rounded(graph) if precision == "float16" else graph for name, graph in made.items()}


def measure_golden(bundle: Bundle, precision: Precision, made: Mapping[GraphName, bytes]) -> GoldenCost:
    """Measure a precision on the golden cases alone; arguments and errors are those of `measure_cost`."""
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
    """Measure what a precision of a network costs.

    Args:
        bundle: Bundle that holds the graphs to judge (`to_judge`) under that precision.
        precision: The precision.
        made: The graphs whose speed and size are measured.
        material: Where the windows come from.
        temperature: Temperature of the fused logits.
        clips: The clips to judge it on.

    Raises:
        BackendError: A graph cannot be run, gives NaN or infinity, or is too imprecise to be shipped.
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
    """Return the manifest's tolerances for all backends: the differences measured here times a margin, with a floor."""
    least = Tolerance()
    found = {"float32": least.logits, "float16": least.float16_logits, "int8": least.int8_logits}
    for cost in costs:
        worst = _MARGIN * max(cost.logit_difference, cost.embedding_difference)
        floor = least.logits if cost.precision == "float32" else 10 * least.logits
        found[cost.precision] = max(floor, float(f"{worst:.1e}"))
    return Tolerance(found["float32"], found["float16"], found["int8"])


def effort(graphs: NetworkGraphs) -> tuple[int, int]:
    """Return how many windows to measure int8 ranges on and how many to judge by: fewer if a window takes long."""
    seconds = 0.0
    for name, graph in graphs.graphs.items():
        feeds = {key: array[:1] for key, array in graphs.golden[name].feeds.items()}
        with OrtEngine(graph, name=name) as engine:
            n_frames = graphs.golden[SCENE_GRAPH].feeds[EMBEDDINGS].shape[1] if name == FRAME_GRAPH else 1
            seconds += n_frames * measure(engine, feeds, 3, warm_up=1).p50_seconds
    return next((n_ranges, n_judged) for limit, n_ranges, n_judged in _EFFORT if seconds <= limit)


def _time(graph: bytes, golden: GoldenGraph) -> Timing:
    """Time a graph on one case at a time; fewer repetitions if it is slow."""
    feeds = {key: array[:1] for key, array in golden.feeds.items()}
    with OrtEngine(graph) as engine:
        once = measure(engine, feeds, 3, warm_up=1).p50_seconds
        return measure(engine, feeds, max(10, min(_TIMED, int(2 / max(once, 1e-6)))), warm_up=5)


def _feeds(graphs: NetworkGraphs, windows: Iterable[Mapping[str, Array]]) -> dict[GraphName, list[Mapping[str, Array]]]:
    """The inputs of each graph for these windows; the scene graph behind a frame graph gets the latter's embeddings."""
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
    """Largest difference of the scene graph's probabilities from PyTorch's."""
    answers = engines.scene.infer(dict(golden.feeds))
    distances = [np.abs(softmax(answers[name]) - softmax(expected)).max() for name, expected in golden.answers.items()]
    return float(max(distances))
