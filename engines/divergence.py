"""Which tensor of a typed graph differs first from the float32 graph: where a precision goes wrong, and how far.

Both graphs are opened up: every tensor of floats becomes an output. `precision.py` leaves the names of tensors as they
are, so what has the same name is compared. Needs the `build` extra.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from engines.base import Array
from engines.errors import BackendError
from engines.manifest import Precision

Run: TypeAlias = Callable[[bytes, Mapping[str, Array]], Mapping[str, Array]]
"""Runs an ONNX file with feeds, and gives all of its outputs."""

THRESHOLDS: Mapping[Precision, float] = {"float32": 1e-4, "float16": 0.02, "int8": 0.2}
"""Relative error of a tensor from which on it counts as wrong, rather than as what the precision costs."""

_EXPOSED = "ascstream_exposed_"
"""Names of added outputs begin so."""
_N_FIRST = 5
"""So many of the first tensors are told."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One tensor in both graphs."""

    tensor: str
    """Its name."""
    operator: str
    """What gives it: "Conv"."""
    node: str
    """That node's name, as far as it has one."""
    error: float
    """Largest absolute difference, as a share of the largest number of the tensor in float32; infinite where the typed
    graph gives NaN or infinity."""
    largest: float
    """The largest absolute number of the tensor in float32; float16 ends at 65,504."""

    def __str__(self) -> str:
        where = f"{self.operator} {self.node!r}" if self.node else self.operator
        off = f"off by {100 * self.error:.3g} %" if math.isfinite(self.error) else "NaN or infinite"
        return f"{self.tensor}, which {where} gives, is {off}; in float32 it reaches {self.largest:.3g}"


@dataclass(frozen=True, slots=True)
class Divergence:
    """How a typed graph parts from the float32 one."""

    first: tuple[Difference, ...]
    """The first tensors beyond the threshold, in the order of the graph; empty: there is none."""
    worst: Difference | None
    """The tensor with the largest error of all, beyond the threshold or not; None: nothing could be compared."""
    threshold: float
    """Relative error that counts."""
    n_compared: int
    """Tensors that are in both graphs."""

    def __str__(self) -> str:
        if not self.first:
            most = "" if self.worst is None else f"; most: {self.worst}"
            return f"none of {self.n_compared} tensors is off by more than {100 * self.threshold:g} %{most}"
        return f"first of {self.n_compared} tensors: {self.first[0]}; most: {self.worst}"


def find_divergence(
    reference: bytes,
    typed: bytes,
    feeds: Mapping[str, Array],
    *,
    run_reference: Run,
    run_typed: Run,
    precision: Precision,
    threshold: float | None = None,
) -> Divergence:
    """Run both graphs, opened up, and compare every tensor that is in both.

    Args:
        reference: The float32 graph.
        typed: The same graph in another precision.
        feeds: Input to [n, …].
        run_reference: Runs the first: `run_onnxruntime`.
        run_typed: Runs the second, with all feeds at once.
        precision: What the second is typed in.
        threshold: Relative error that counts; None: what is usual for that precision.

    Raises:
        BackendError: A graph cannot be read or run, or the extra is not installed.
    """
    n = len(next(iter(feeds.values())))
    limit = THRESHOLDS[precision] if threshold is None else threshold
    makers = _makers(typed)
    givers = {name: node for name, node in _makers(reference).items() if name in makers}
    exact = run_reference(_expose(reference, dict.fromkeys(givers)), feeds)
    expected = {name: exact[f"{_EXPOSED}{index}"] for index, name in enumerate(givers)}
    sizes = {name: array.size // n for name, array in expected.items() if array.size and array.size % n == 0}
    given = run_typed(_expose(typed, sizes), feeds)
    found = []
    for index, (name, size) in enumerate(sizes.items()):
        node = givers[name]
        error, largest = _error(expected[name].reshape(n, size), given[f"{_EXPOSED}{index}"])
        found.append(Difference(name, node.op_type, node.name, error, largest))
    first = [difference for difference in found if difference.error > limit]
    worst = max(found, key=lambda difference: difference.error, default=None)
    return Divergence(tuple(first[:_N_FIRST]), worst, limit, len(found))


def run_onnxruntime(graph: bytes, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Run a graph once, by ONNX Runtime."""
    from engines.ort import OrtEngine

    with OrtEngine(graph) as engine:
        return engine.infer(feeds)


def _makers(graph: bytes) -> dict[str, Any]:
    """Tensors of floats that follow from a graph's inputs, and the node that gives each, in the graph's order."""
    onnx, model = _load(graph)
    floats = _floats(onnx, model)
    constants = {tensor.name for tensor in model.graph.initializer}
    follows = {value.name for value in model.graph.input} - constants
    makers: dict[str, Any] = {}
    for node in model.graph.node:
        if node.op_type in ("Shape", "Size") or not follows.intersection(node.input):
            continue  # what follows from a size alone does not differ
        follows.update(node.output)
        makers |= {name: node for name in node.output if name in floats}
    return makers


def _expose(graph: bytes, sizes: Mapping[str, int | None]) -> bytes:
    """A graph whose outputs are these tensors, float32, [n, size] where a size is given.

    TensorRT's engines want outputs whose first axis is the batch and whose others are fixed. The numbers stay in the
    order they have in the tensor, so that both sides are compared number by number whatever its axes mean.
    """
    onnx, model = _load(graph)
    floats = _floats(onnx, model)
    float32 = onnx.TensorProto.FLOAT
    outputs = []
    for index, (name, size) in enumerate(sizes.items()):
        exposed, source = f"{_EXPOSED}{index}", name
        if floats[name] != float32:
            source = f"{exposed}_float32"
            model.graph.node.append(onnx.helper.make_node("Cast", [name], [source], source, to=float32))
        if size is None:
            model.graph.node.append(onnx.helper.make_node("Identity", [source], [exposed], exposed))
        else:
            shape = onnx.numpy_helper.from_array(np.array([-1, size], np.int64), f"{exposed}_shape")
            model.graph.initializer.append(shape)
            model.graph.node.append(onnx.helper.make_node("Reshape", [source, shape.name], [exposed], exposed))
        axes = None if size is None else ["n", size]
        outputs.append(onnx.helper.make_tensor_value_info(exposed, float32, axes))
    _replace(model.graph.output, outputs)
    return bytes(model.SerializeToString(deterministic=True))


def _floats(onnx: Any, model: Any) -> dict[str, int]:
    """Tensors of float32 or float16, and which."""
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.value_info, *inferred.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return {name: kind for name, kind in types.items() if kind in kinds}


def _error(expected: Array, got: Array) -> tuple[float, float]:
    """Largest difference relative to the largest number, and that number."""
    largest = float(np.abs(expected).max())
    if not np.isfinite(got).all():
        return math.inf, largest
    difference = float(np.abs(got.astype(np.float64) - expected).max())
    return difference / largest if largest else (math.inf if difference else 0.0), largest


def _replace(field: Any, values: Iterable[Any]) -> None:
    """Give a repeated field of a message other values."""
    del field[:]
    field.extend(values)


def _load(graph: bytes) -> tuple[Any, Any]:
    """The onnx package, and the model of a file."""
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
        import onnx.shape_inference
    except ImportError as error:
        raise BackendError(
            f"expected onnx, which graphs are opened up with, got: {error}; type: pip install 'ascstream[build]'"
        ) from None
    try:
        return onnx, onnx.load_from_string(graph)
    except Exception as error:  # noqa: BLE001  (protobuf's errors share no base that is public)
        raise BackendError(f"expected an ONNX file, got something else: {error}") from None
