"""Check whether engines reproduce the training framework's results, and measure how fast they are.

`golden.npz` holds N_CASES cases for every graph, along the first axis of each array:

    scene/in/<input>   scene/out/<head>   frame/in/image   frame/out/embedding
"""

from __future__ import annotations

import io
import math
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.backends import Engines
from engines.base import Array, Engine
from engines.bundle import Bundle
from engines.errors import BundleError, ParityError, one_line
from engines.manifest import FRAME_GRAPH, SCENE_GRAPH, Manifest, Tolerance, graph_shapes
from engines.schema import encode

BATCHES = (1, 2, 5)
"""Parity is checked in batches of these sizes: a graph exported for a fixed batch size fails here."""
N_CASES = sum(BATCHES)
_HEADER_BYTES = 1 << 10
"""Upper bound for the size of an array's header."""
_TIE = 0.05
"""Logits closer than this count as equal: where nothing is perceived, all ten labels score about the same."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Timestamp inside the archive, fixed so that equal cases give equal bytes."""


@dataclass(frozen=True, slots=True)
class GoldenGraph:
    """The golden cases of one graph."""

    feeds: Mapping[str, Array]
    """Input name to float32 array [N_CASES, …]."""
    answers: Mapping[str, Array]
    """Output name to float32 array [N_CASES, …], as computed by the training framework."""


@dataclass(frozen=True, slots=True)
class OutputParity:
    """One output of one graph against its golden answers."""

    output: str
    """Graph and output: "scene/fused"."""
    max_difference: float | None
    """Largest absolute difference over all cases; None where the engine gave NaN or infinity."""
    tolerance: float
    """Largest difference allowed; for embeddings, scaled by the largest golden value if that is above 1."""
    agreement: float | None
    """Share of cases with the golden label, or one practically tied with it; None for an embedding."""
    ok: bool
    """Whether the difference is within the tolerance."""


@dataclass(frozen=True, slots=True)
class Report:
    """How engines compare with a bundle's golden answers."""

    bundle: str
    """Name and version of the bundle."""
    backend: str
    """What ran: "onnxruntime 1.31.1 CPU, float32, 1 thread"."""
    precision: str
    """Precision of the graphs."""
    n_cases: int
    """Number of cases for every output."""
    outputs: tuple[OutputParity, ...]
    """One entry per output, those of the frame graph first."""

    @property
    def ok(self) -> bool:
        """Whether every output is within its tolerance."""
        return all(entry.ok for entry in self.outputs)

    def to_json(self) -> dict[str, Any]:
        """The fields and `ok`, in a form that `json.dumps` takes."""
        return {**encode(self), "ok": self.ok}


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations of single calls, in seconds."""

    p50_seconds: float
    """Median."""
    p95_seconds: float
    """95th percentile."""
    p99_seconds: float
    """99th percentile."""
    n: int
    """Number of calls measured."""


def write_golden(graphs: Mapping[str, GoldenGraph]) -> bytes:
    """Pack golden cases into an npz archive; equal cases give equal bytes.

    Args:
        graphs: Graph name ("scene", and "frame" if there is one) to its cases.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for graph, cases in graphs.items():
            for side, arrays in (("in", cases.feeds), ("out", cases.answers)):
                for name, array in arrays.items():
                    entry = io.BytesIO()
                    np.lib.format.write_array(entry, np.ascontiguousarray(array), allow_pickle=False)
                    archive.writestr(zipfile.ZipInfo(f"{graph}/{side}/{name}.npy", _EPOCH), entry.getvalue())
    return buffer.getvalue()


def read_golden(data: bytes, manifest: Manifest) -> dict[str, GoldenGraph]:
    """Unpack golden cases and check them against the manifest; nothing in them is ever executed.

    Raises:
        BundleError: The data is not such an archive, holds objects, or does not match the graphs' inputs and outputs.
    """
    arrays = _unpack(data, _golden_bytes(manifest))
    golden: dict[str, GoldenGraph] = {}
    wanted: set[str] = set()
    for graph in (FRAME_GRAPH, SCENE_GRAPH):
        if manifest.graph(graph) is None:
            continue
        sides = []
        for side, shapes in zip(("in", "out"), graph_shapes(manifest, graph), strict=True):
            keys = {name: f"{graph}/{side}/{name}" for name in shapes}
            for name, key in keys.items():
                _check_array(key, arrays.get(key), (N_CASES, *shapes[name]))
            wanted |= set(keys.values())
            sides.append({name: arrays[key] for name, key in keys.items()})
        golden[graph] = GoldenGraph(*sides)
    unknown = sorted(set(arrays) - wanted)
    if unknown:
        raise BundleError(f"golden: expected {', '.join(sorted(wanted))}; got {one_line(unknown[0])!r} besides")
    return golden


def golden_of(bundle: Bundle) -> dict[str, GoldenGraph]:
    """A bundle's golden cases by graph, the frame graph's first.

    Raises:
        BundleError: The bundle has none, or they do not match its graphs' inputs and outputs.
    """
    manifest = bundle.manifest
    if manifest.golden is None:
        raise BundleError(f"{bundle.path}: expected golden cases to compare with, got a bundle without; export it anew")
    return read_golden(bundle.read(manifest.golden), manifest)


def in_batches(
    infer: Callable[[Mapping[str, Array]], Mapping[str, Array]],
    feeds: Mapping[str, Array],
    names: Sequence[str],
    sizes: Sequence[int] = BATCHES,
) -> dict[str, Array]:
    """Run all cases in consecutive batches of these sizes; return an array [n_cases, …] for each output in `names`."""
    parts = []
    start = 0
    for size in sizes:
        parts.append(infer({name: array[start : start + size] for name, array in feeds.items()}))
        start += size
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def compare(
    graph: str, cases: GoldenGraph, answers: Mapping[str, Array], tolerance: Tolerance, precision: str
) -> tuple[OutputParity, ...]:
    """Compare one graph's answers with its golden ones, using the manifest's tolerance for the precision."""
    largest = {"float16": tolerance.float16_logits, "int8": tolerance.int8_logits}.get(precision, tolerance.logits)
    return tuple(_compare(graph, name, golden, answers[name], largest) for name, golden in cases.answers.items())


def worst_of(outputs: Iterable[OutputParity]) -> OutputParity | None:
    """The output that exceeds its tolerance by the largest factor; None if every output is within tolerance."""
    return max((entry for entry in outputs if not entry.ok), key=_badness, default=None)


def check_parity(bundle: Bundle, engines: Engines) -> Report:
    """Run a bundle's golden cases, in batches of `BATCHES`, and compare the answers.

    Raises:
        BundleError: The bundle has no golden cases, or they do not match its graphs' inputs and outputs.
        FeedError, BackendError: An engine cannot run them.
    """
    manifest = bundle.manifest
    outputs: list[OutputParity] = []
    for graph, cases in golden_of(bundle).items():
        engine = engines.frame if graph == FRAME_GRAPH else engines.scene
        if engine is None:
            raise BundleError(f"{bundle.path}: expected an engine for the graph {graph!r}, got none")
        answers = in_batches(engine.infer, cases.feeds, tuple(cases.answers))
        outputs += compare(graph, cases, answers, manifest.tolerance, engines.precision)
    return Report(f"{manifest.name} {manifest.version}", engines.backend, engines.precision, N_CASES, tuple(outputs))


def require_parity(report: Report) -> Report:
    """Return the report if every output is within its tolerance.

    Raises:
        ParityError: An output is not; the message names the worst one.
    """
    worst = worst_of(report.outputs)
    if worst is not None:
        got = "NaN or infinity" if worst.max_difference is None else f"{worst.max_difference:.3g}"
        raise ParityError(
            f"{report.bundle} on {report.backend}: expected answers within {worst.tolerance:.3g} of the golden ones, "
            f"got {got} in {worst.output}; use another precision or backend: --precision float32 --backend onnxruntime"
        )
    return report


def measure(
    engine: Engine,
    feeds: Mapping[str, Array],
    n: int = 200,
    *,
    warm_up: int = 20,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Time single calls with the same feeds.

    Args:
        engine: The engine to call.
        feeds: Its inputs.
        n: Number of measured calls.
        warm_up: Number of calls before them that are not measured.
        clock: Returns the time in seconds.
    """
    for _ in range(warm_up):
        engine.infer(feeds)
    seconds = np.empty(n)
    for index in range(n):
        begun = clock()
        engine.infer(feeds)
        seconds[index] = clock() - begun
    p50, p95, p99 = (float(value) for value in np.percentile(seconds, (50, 95, 99)))
    return Timing(p50, p95, p99, n)


def _golden_bytes(manifest: Manifest) -> int:
    """Upper bound for the unpacked size of the golden cases of a manifest's graphs."""
    sides = [side for graph in (FRAME_GRAPH, SCENE_GRAPH) for side in graph_shapes(manifest, graph)]
    shapes = [shape for side in sides for shape in side.values()]
    return sum(_HEADER_BYTES + N_CASES * math.prod(shape) * np.dtype(np.float32).itemsize for shape in shapes)


def _unpack(data: bytes, max_bytes: int) -> dict[str, Array]:
    """Unpack an npz archive of at most `max_bytes`, without object arrays, to name and array."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        arrays = {}
        if size <= max_bytes:
            with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
                arrays = {name: loaded[name] for name in loaded.files}
    except Exception as error:  # noqa: BLE001  (on hostile bytes, zipfile and numpy can raise almost anything)
        raise BundleError(f"golden: expected an npz archive of plain arrays, got: {one_line(str(error))}") from None
    if size > max_bytes:
        raise BundleError(f"golden: expected at most {max_bytes} bytes of arrays, got {size}")
    return arrays


def _check_array(key: str, array: Array | None, shape: tuple[int, ...]) -> None:
    """Reject anything but a finite float32 array of the given shape."""
    wanted = f"float32 {list(shape)}"
    if array is None:
        raise BundleError(f"golden: {key}: expected {wanted}, got nothing")
    if array.dtype != np.float32 or array.shape != shape:
        raise BundleError(f"golden: {key}: expected {wanted}, got {array.dtype.name} {list(array.shape)}")
    if not np.isfinite(array).all():
        raise BundleError(f"golden: {key}: expected finite numbers, got NaN or infinity")


def _compare(graph: str, name: str, expected: Array, got: Array, tolerance: float) -> OutputParity:
    """Compare one output: logits by absolute difference, embeddings relative to their size."""
    difference = float(np.abs(got.astype(np.float64) - expected).max())
    agreement = None
    if graph == SCENE_GRAPH:
        chosen = np.take_along_axis(expected, got.argmax(axis=-1)[:, None], axis=-1)[:, 0]
        agreement = float((chosen >= expected.max(axis=-1) - _TIE).mean())
    else:
        tolerance *= max(1.0, float(np.abs(expected).max()))
    finite = math.isfinite(difference)
    ok = finite and difference <= tolerance
    return OutputParity(f"{graph}/{name}", difference if finite else None, tolerance, agreement, ok)


def _badness(entry: OutputParity) -> float:
    """How far an output's difference is beyond its tolerance, as their ratio."""
    return math.inf if entry.max_difference is None else entry.max_difference / entry.tolerance
