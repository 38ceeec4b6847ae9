"""Find the first tensor at which a lower-precision graph departs from the float32 graph, and by how much.

Every float tensor of both graphs is exposed as an output. `precision.py` keeps tensor names, so tensors are matched by
name. Needs the `build` extra.
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
"""Runs an ONNX file on feeds and returns all of its outputs."""

THRESHOLDS: Mapping[Precision, float] = {"float32": 1e-4, "float16": 0.02, "int8": 0.2}
"""Relative error above which a tensor counts as wrong, rather than as the normal cost of that precision."""

_EXPOSED = "ascstream_exposed_"
"""Prefix of the names of added outputs."""
_N_FIRST = 5
"""How many of the first diverging tensors are reported."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference in one tensor that both graphs have."""

    tensor: str
    """Its name."""
    operator: str
    """Type of the operator that produces it: "Conv"."""
    node: str
    """That node's name; empty if it has none."""
    error: float
    """Largest absolute difference, divided by the tensor's largest absolute value in float32; infinite where the
    lower-precision graph gives NaN or infinity."""
    largest: float
    """The tensor's largest absolute value in float32; float16 ends at 65,504."""

    def __str__(self) -> str:
        where = f"{self.operator} {self.node!r}" if self.node else self.operator
        off = f"off by {100 * self.error:.3g} %" if math.isfinite(self.error) else "NaN or infinite"
        return f"{self.tensor}, which {where} gives, is {off}; in float32 it reaches {self.largest:.3g}"


@dataclass(frozen=True, slots=True)
class Divergence:
    """How a lower-precision graph departs from the float32 one."""

    first: tuple[Difference, ...]
    """The first tensors beyond the threshold, in graph order; empty if there are none."""
    worst: Difference | None
    """The tensor with the largest error overall, beyond the threshold or not; None if nothing could be compared."""
    threshold: float
    """Relative error above which a tensor counts as wrong."""
    n_compared: int
    """Number of tensors found in both graphs and compared."""

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
    """Run both graphs with all float tensors exposed, and compare every tensor that both have.

    Args:
        reference: The float32 graph.
        typed: The same graph in another precision.
        feeds: Input name to array [n, …].
        run_reference: Runs the first graph, for example `run_onnxruntime`.
        run_typed: Runs the second graph on all feeds at once.
        precision: Precision of the second graph.
        threshold: Relative error above which a tensor counts as wrong; None: that precision's default.

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
    """Run a graph once with ONNX Runtime."""
    from engines.ort import OrtEngine

    with OrtEngine(graph) as engine:
        return engine.infer(feeds)


def _makers(graph: bytes) -> dict[str, Any]:
    """Float tensors that depend on the graph's inputs, mapped to the nodes that produce them, in graph order."""
    onnx, model = _load(graph)
    floats = _floats(onnx, model)
    constants = {tensor.name for tensor in model.graph.initializer}
    follows = {value.name for value in model.graph.input} - constants
    makers: dict[str, Any] = {}
    for node in model.graph.node:
        if node.op_type in ("Shape", "Size") or not follows.intersection(node.input):
            continue  # what depends on shapes alone cannot differ
        follows.update(node.output)
        makers |= {name: node for name in node.output if name in floats}
    return makers


def _expose(graph: bytes, sizes: Mapping[str, int | None]) -> bytes:
    """Return the graph with these tensors as its outputs: float32, reshaped to [n, size] where a size is given.

    TensorRT engines require the first axis of every output to be the batch and the others to be fixed. The elements
    keep their order, so the two sides can be compared element by element whatever their axes mean.
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
    """Float32 and float16 tensors, mapped to their element types."""
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.value_info, *inferred.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return {name: kind for name, kind in types.items() if kind in kinds}


def _error(expected: Array, got: Array) -> tuple[float, float]:
    """Largest difference relative to the largest expected absolute value, and that value."""
    largest = float(np.abs(expected).max())
    if not np.isfinite(got).all():
        return math.inf, largest
    difference = float(np.abs(got.astype(np.float64) - expected).max())
    return difference / largest if largest else (math.inf if difference else 0.0), largest


def _replace(field: Any, values: Iterable[Any]) -> None:
    """Replace the values of a protobuf message's repeated field."""
    del field[:]
    field.extend(values)


def _load(graph: bytes) -> tuple[Any, Any]:
    """Return the onnx package and the model parsed from a file's bytes."""
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
    except Exception as error:  # noqa: BLE001  (protobuf's errors have no public base class in common)
        raise BackendError(f"expected an ONNX file, got something else: {error}") from None
