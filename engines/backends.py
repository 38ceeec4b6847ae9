"""From a bundle to loaded engines: which backends there are, and whether a graph is what its manifest says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from engines.base import Engine, TensorSpec
from engines.bundle import Bundle
from engines.errors import BackendError, BundleError, one_line
from engines.manifest import FRAME_GRAPH, SCENE_GRAPH, GraphName, Manifest, graph_shapes

DEFAULT_BACKEND = "onnxruntime"


@dataclass(frozen=True, slots=True)
class Engines:
    """A bundle's graphs, loaded. Entered by `with`, or closed by hand."""

    scene: Engine
    """Features and embeddings, or images, to logits."""
    frame: Engine | None
    """One image to one embedding; None where the bundle has no such graph."""
    precision: str
    """What the graphs are typed in."""

    @property
    def backend(self) -> str:
        """What runs them and how: "onnxruntime 1.31.1 CPU, float32, 1 thread"."""
        return self.scene.backend

    def close(self) -> None:
        """Close both; may be called twice."""
        self.scene.close()
        if self.frame is not None:
            self.frame.close()

    def __enter__(self) -> Engines:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Backend(Protocol):
    """Loads one graph."""

    def __call__(self, model: bytes, *, name: str, threads: int, precision: str) -> Engine:
        """Make an engine of a graph's verified bytes; BackendError where that cannot be."""
        ...


def load_engines(
    bundle: Bundle, *, backend: str = DEFAULT_BACKEND, precision: str = "float32", threads: int = 1
) -> Engines:
    """Load the graphs of a bundle.

    Args:
        bundle: An opened bundle.
        backend: A name of `backends()`.
        precision: One the bundle holds: "float32", "float16", "int8".
        threads: CPU threads one call may use.

    Raises:
        BundleError: A graph is missing, altered, not what the manifest says, or not there in that precision.
        BackendError: There is no such backend, it is not installed, or it refuses a graph.
    """
    load = _find(backend)
    scene = _load(load, bundle, SCENE_GRAPH, precision, threads)
    try:
        encodes = bundle.manifest.graph(FRAME_GRAPH) is not None
        frame = _load(load, bundle, FRAME_GRAPH, precision, threads) if encodes else None
    except BaseException:
        scene.close()
        raise
    return Engines(scene, frame, precision)


def backends() -> tuple[str, ...]:
    """Names `load_engines` knows."""
    return tuple(_BACKENDS)


def check_fit(engine: Engine, manifest: Manifest, graph: GraphName) -> None:
    """Refuse a graph whose inputs or outputs are not what the manifest says.

    Raises:
        BundleError: Names, element types, ranks or sizes differ; the message gives both sides.
    """
    inputs, outputs = graph_shapes(manifest, graph)
    _check_side(graph, "input", inputs, engine.inputs)
    _check_side(graph, "output", outputs, engine.outputs)
    for name in engine.inputs:
        if name not in inputs:
            raise BundleError(
                f"graph {graph!r}: expected the inputs the manifest names, {', '.join(inputs)}, "
                f"got one more: {name} {engine.inputs[name]}"
            )


def _check_side(graph: str, side: str, wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, TensorSpec]) -> None:
    """Compare the inputs or the outputs: float32, a free batch axis, then the manifest's sizes."""
    for name, shape in wanted.items():
        promised = TensorSpec(name, "float32", ("n", *shape))
        spec = given.get(name)
        if spec is None:
            raise BundleError(
                f"graph {graph!r}: the manifest says {side} {name} {promised}, "
                f"the graph has {', '.join(f'{other.name} {other}' for other in given.values()) or 'none'}"
            )
        fits = spec.dtype == promised.dtype and len(spec.shape) == len(promised.shape)
        if not fits or any(
            (axis == 0 and isinstance(size, int)) or (axis > 0 and isinstance(size, int) and size != shape[axis - 1])
            for axis, size in enumerate(spec.shape)
        ):
            raise BundleError(
                f"graph {graph!r}: the manifest says {side} {name} {promised}, the graph has {spec}; "
                "n must be free: export the graph and its manifest together"
            )


def _load(load: Backend, bundle: Bundle, graph: GraphName, precision: str, threads: int) -> Engine:
    """One graph: read and verified, loaded, compared with the manifest."""
    spec = bundle.manifest.graph(graph)
    files: Mapping[str, str] = spec.files if spec is not None else {}
    if precision not in files:
        raise _lacks(bundle.manifest, precision)
    engine = load(bundle.read(files[precision]), name=graph, threads=threads, precision=precision)
    try:
        check_fit(engine, bundle.manifest, graph)
    except BundleError as error:
        engine.close()
        raise BundleError(f"{bundle.path}: {one_line(str(error))}") from None
    return engine


def _lacks(manifest: Manifest, precision: str) -> BundleError:
    """The error of a precision that not every graph of a bundle is there in."""
    held = sorted(set.intersection(*(set(entry.files) for entry in manifest.graphs)))
    hint = f"drop --precision {precision}" if "float32" in held else f"try --precision {held[0] if held else 'NAME'}"
    return BundleError(f"bundle {manifest.name} holds {' and '.join(held) or 'no precision'} only; {hint}")


def _find(backend: str) -> Backend:
    """The backend of that name."""
    if backend == "tensorrt":
        raise BackendError("backend: this version runs no TensorRT; type: --backend onnxruntime")
    if backend not in _BACKENDS:
        raise BackendError(f"backend: expected one of {', '.join(_BACKENDS)}, got {backend!r}")
    return _BACKENDS[backend]


def _load_onnxruntime(model: bytes, *, name: str, threads: int, precision: str) -> Engine:
    """ONNX Runtime on the CPU."""
    from engines.ort import OrtEngine

    return OrtEngine(model, name=name, threads=threads, precision=precision)


_BACKENDS: dict[str, Backend] = {"onnxruntime": _load_onnxruntime}
