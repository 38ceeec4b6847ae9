"""From a bundle to loaded engines: which backends exist, and whether a graph is what its manifest says.

"auto" means TensorRT where the driver, the packages and proven plans are present, else ONNX Runtime. They are checked
in that order: without a GPU this costs one failed library lookup, and nothing is loaded that could only crash.
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
"""The default backend, the one every other is compared with, and TensorRT."""
_BACKENDS = (DEFAULT_BACKEND, REFERENCE_BACKEND, _TENSORRT)
_REFERENCE = "float32"
_LONGEST_NOTE = 2000
"""Maximum length in characters: the command to type comes last, and it contains folder names."""


@dataclass(frozen=True, slots=True)
class Engines:
    """A bundle's loaded graphs. Use as a context manager, or close explicitly."""

    scene: Engine
    """Features and embeddings, or images, to logits."""
    frame: Engine | None
    """One image to one embedding; None if the bundle has no such graph."""
    precision: str
    """Precision of the graphs."""
    note: str | None = None
    """What the user should know about the choice: why TensorRT is not used despite a GPU, and what to type."""
    fallback: Fallback | None = None
    """Whether TensorRT has failed since loading; None if it is not used."""

    @property
    def backend(self) -> str:
        """What runs the graphs and how: "onnxruntime 1.31.1 CPU, float32, 1 thread"."""
        return self.scene.backend

    @property
    def fell_back(self) -> str | None:
        """Why ONNX Runtime has taken over from TensorRT; None if it has not."""
        return None if self.fallback is None else self.fallback.why

    def abandon(self, why: str) -> Engines | None:
        """Give up on TensorRT when one of its calls does not return.

        Returns:
            Engines that run ONNX Runtime and share nothing with these, which must still be closed; None if there is
            nothing to switch to.
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
        """Close both engines; may be called twice."""
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
        backend: One of `backends()`; "auto": TensorRT where it can run and has plans, else ONNX Runtime.
        precision: "float32", "float16" or "int8"; None: that of the plans with TensorRT, float32 with ONNX Runtime.
        threads: CPU threads one call of ONNX Runtime may use.
        plans: Folder to take plans from; None: the user's cache. A plan is code: only name a folder you trust.
        tensorrt: Opens the plans; None: the installed TensorRT.

    Raises:
        BundleError: A graph is missing, altered, not what the manifest says, or not available in that precision.
        BackendError: There is no such backend, or it is not installed, has no plans, or rejects a graph.
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
    """The backend names that `load_engines` accepts."""
    return _BACKENDS


def check_fit(engine: Engine, manifest: Manifest, graph: GraphName) -> None:
    """Reject a graph whose inputs or outputs are not what the manifest says.

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
    """Compare the inputs or the outputs: they must be float32, with a free batch axis, then the manifest's sizes."""
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
    """Load every graph with TensorRT; ONNX Runtime in float32, the reference, is the fallback."""
    from engines.trt.opening import open_engines

    spare = partial(_load_graph, bundle, precision=_REFERENCE, threads=threads)
    return open_engines(bundle, tensorrt, plans, precision=precision, load_spare=spare)


def _load_graphs(bundle: Bundle, precision: str, threads: int, note: str | None) -> Engines:
    """Load every graph with ONNX Runtime."""
    scene = _load_graph(bundle, SCENE_GRAPH, precision=precision, threads=threads)
    try:
        encodes = bundle.manifest.graph(FRAME_GRAPH) is not None
        frame = _load_graph(bundle, FRAME_GRAPH, precision=precision, threads=threads) if encodes else None
    except BaseException:
        scene.close()
        raise
    return Engines(scene, frame, precision, note)


def _load_graph(bundle: Bundle, graph: GraphName, *, precision: str, threads: int) -> Engine:
    """Read and verify one graph, load it with ONNX Runtime, and compare it with the manifest."""
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
    """Why TensorRT does not run: our own message, or what it raised."""
    if isinstance(error, EngineError):
        return str(error)
    return f"TensorRT does not work here ({type(error).__name__}: {one_line(str(error))}); type: ascstream doctor"


def _note(reason: str) -> str:
    """The same reason on one line, for a user who did not ask for TensorRT."""
    first, _, more = reason.partition("\n")
    if more:  # doctor lists everything that is needed; this line only says what is missing
        first = first[max(0, first.find("missing: ")) :]
    why = one_line(first.removeprefix("TensorRT: "), longest=_LONGEST_NOTE)
    return f"not TensorRT: {why}{'; see: ascstream doctor' if more else ''}"


def _refused(error: Exception) -> BackendError:
    """The error when TensorRT was requested explicitly and does not run."""
    reason = _reason(error)
    joint = "\n  or" if "\n" in reason else "; or"
    return BackendError(f"{reason}{joint} go on without it: --backend onnxruntime")


def _lacks(manifest: Manifest, precision: str) -> BundleError:
    """The error when not every graph of a bundle is available in a precision."""
    held = sorted(set.intersection(*(set(entry.files) for entry in manifest.graphs)))
    hint = f"drop --precision {precision}" if "float32" in held else f"try --precision {held[0] if held else 'NAME'}"
    return BundleError(f"bundle {manifest.name} holds {' and '.join(held) or 'no precision'} only; {hint}")
