"""From a bundle to loaded engines: which backends there are, and whether a graph is what its manifest says.

auto: TensorRT where the driver, the packages and proven plans are there, else ONNX Runtime. They are asked for in that
order: a machine without a GPU pays for one library that is not there, and nothing is loaded that could only crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from engines.base import Engine, TensorSpec
from engines.bundle import Bundle
from engines.errors import BackendError, BundleError, EngineError, one_line
from engines.fallback import Fallback, FallbackEngine
from engines.manifest import FRAME_GRAPH, SCENE_GRAPH, GraphName, Manifest, graph_shapes

if TYPE_CHECKING:
    from engines.trt.installed import TensorRt

DEFAULT_BACKEND, REFERENCE_BACKEND, _TENSORRT = "auto", "onnxruntime", "tensorrt"
"""What runs graphs where nothing is said, and what everything is compared with."""
_BACKENDS = (DEFAULT_BACKEND, REFERENCE_BACKEND, _TENSORRT)
_REFERENCE = "float32"
_LONGEST_NOTE = 2000
"""Characters: what to type stands at its end, with folders in it."""


@dataclass(frozen=True, slots=True)
class Engines:
    """A bundle's graphs, loaded. Entered by `with`, or closed by hand."""

    scene: Engine
    """Features and embeddings, or images, to logits."""
    frame: Engine | None
    """One image to one embedding; None where the bundle has no such graph."""
    precision: str
    """What the graphs are typed in."""
    note: str | None = None
    """What a user should know of the choice: why it is not TensorRT, where a GPU is there, and what to type."""
    fallback: Fallback | None = None
    """Whether TensorRT has failed since; None where it does not run."""

    @property
    def backend(self) -> str:
        """What runs them and how: "onnxruntime 1.31.1 CPU, float32, 1 thread"."""
        return self.scene.backend

    @property
    def fell_back(self) -> str | None:
        """Why ONNX Runtime has taken over from TensorRT; None where it has not."""
        return None if self.fallback is None else self.fallback.why

    def abandon(self, why: str) -> Engines | None:
        """Give TensorRT up, a call of which does not return.

        Returns:
            Engines that run ONNX Runtime and share nothing with these, which still have to be closed; None where there
            is nothing to go over to.
        """
        scene, frame = self.scene, self.frame
        if self.fell_back is not None or not isinstance(scene, FallbackEngine) or self.fallback is None:
            return None
        self.fallback.set(why)
        fallback = Fallback()
        fallback.set(why)
        spare = frame.successor(fallback) if isinstance(frame, FallbackEngine) else None
        return Engines(scene.successor(fallback), spare, self.precision, self.note, fallback)

    def close(self) -> None:
        """Close both; may be called twice."""
        self.scene.close()
        if self.frame is not None:
            self.frame.close()

    def __enter__(self) -> Engines:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def load_engines(
    bundle: Bundle,
    *,
    backend: str = DEFAULT_BACKEND,
    precision: str | None = None,
    threads: int = 1,
    plans: Path | None = None,
    tensorrt: TensorRt | None = None,
) -> Engines:
    """Load the graphs of a bundle.

    Args:
        bundle: An opened bundle.
        backend: A name of `backends()`; "auto": TensorRT where it can run and has plans, else ONNX Runtime.
        precision: "float32", "float16", "int8"; None: the plans' own with TensorRT, float32 with ONNX Runtime.
        threads: CPU threads one call of ONNX Runtime may use.
        plans: Folder to take plans from; None: the user's cache. A plan is code: name only a folder that you trust.
        tensorrt: What opens plans; None: the TensorRT that is installed.

    Raises:
        BundleError: A graph is missing, altered, not what the manifest says, or not there in that precision.
        BackendError: There is no such backend, it is not installed, has no plans, or refuses a graph.
    """
    if backend not in _BACKENDS:
        raise BackendError(f"backend: expected one of {', '.join(_BACKENDS)}, got {backend!r}")
    note = None
    if backend != REFERENCE_BACKEND:
        if tensorrt is None:
            from engines.trt.installed import Installed

            tensorrt = Installed()
        if backend == _TENSORRT or tensorrt.device() is not None:
            try:
                return _load_plans(bundle, tensorrt, precision, threads, plans)
            except Exception as error:  # noqa: BLE001  a broken TensorRT can raise anything
                if backend == _TENSORRT:
                    raise _refused(error) from None
                note = _note(_reason(error))
    return _load_graphs(bundle, precision or _REFERENCE, threads, note)


def backends() -> tuple[str, ...]:
    """Names `load_engines` knows."""
    return _BACKENDS


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


def _load_plans(bundle: Bundle, tensorrt: TensorRt, precision: str | None, threads: int, plans: Path | None) -> Engines:
    """Every graph with TensorRT; ONNX Runtime's float32, the reference, stands by."""
    from engines.trt.opening import open_engines

    spare = partial(_load_graph, bundle, precision=_REFERENCE, threads=threads)
    return open_engines(bundle, tensorrt, plans, precision=precision, load_spare=spare)


def _load_graphs(bundle: Bundle, precision: str, threads: int, note: str | None) -> Engines:
    """Every graph with ONNX Runtime."""
    scene = _load_graph(bundle, SCENE_GRAPH, precision=precision, threads=threads)
    try:
        encodes = bundle.manifest.graph(FRAME_GRAPH) is not None
        frame = _load_graph(bundle, FRAME_GRAPH, precision=precision, threads=threads) if encodes else None
    except BaseException:
        scene.close()
        raise
    return Engines(scene, frame, precision, note)


def _load_graph(bundle: Bundle, graph: GraphName, *, precision: str, threads: int) -> Engine:
    """One graph with ONNX Runtime: read and verified, loaded, compared with the manifest."""
    from engines.ort import OrtEngine

    spec = bundle.manifest.graph(graph)
    files: Mapping[str, str] = spec.files if spec is not None else {}
    if precision not in files:
        raise _lacks(bundle.manifest, precision)
    engine = OrtEngine(bundle.read(files[precision]), name=graph, threads=threads, precision=precision)
    try:
        check_fit(engine, bundle.manifest, graph)
    except BundleError as error:
        engine.close()
        raise BundleError(f"{bundle.path}: {one_line(str(error))}") from None
    return engine


def _reason(error: Exception) -> str:
    """Why TensorRT does not run: our own words, or what it raised."""
    if isinstance(error, EngineError):
        return str(error)
    return f"TensorRT does not work here ({type(error).__name__}: {one_line(str(error))}); type: ascstream doctor"


def _note(reason: str) -> str:
    """The same in a line, for who did not ask for TensorRT."""
    first, _, more = reason.partition("\n")
    if more:  # what is needed beside what is missing, doctor says
        first = first[max(0, first.find("missing: ")) :]
    why = one_line(first.removeprefix("TensorRT: "), longest=_LONGEST_NOTE)
    return f"not TensorRT: {why}{'; see: ascstream doctor' if more else ''}"


def _refused(error: Exception) -> BackendError:
    """The error of a TensorRT that was asked for and does not run."""
    reason = _reason(error)
    joint = "\n  or" if "\n" in reason else "; or"
    return BackendError(f"{reason}{joint} go on without it: --backend onnxruntime")


def _lacks(manifest: Manifest, precision: str) -> BundleError:
    """The error of a precision that not every graph of a bundle is there in."""
    held = sorted(set.intersection(*(set(entry.files) for entry in manifest.graphs)))
    hint = f"drop --precision {precision}" if "float32" in held else f"try --precision {held[0] if held else 'NAME'}"
    return BundleError(f"bundle {manifest.name} holds {' and '.join(held) or 'no precision'} only; {hint}")
