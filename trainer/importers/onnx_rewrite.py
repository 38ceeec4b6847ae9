"""Rewrites an ONNX graph for a bundle: names, a free batch axis, outputs in order, the logarithm of probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.errors import BackendError, one_line
from engines.manifest import FRAME_INPUT
from trainer.inputs import EMBEDDINGS
from trainer.models.graph import OPSET

LEAST = 1e-30
"""Probabilities are clamped to at least this before the logarithm."""
_BATCH = "batch"
_ADDED = "imported_"
"""Prefix of the names of added nodes and tensors."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Names, shape and output order that a rewritten graph shall have."""

    source: str
    """Name of its input."""
    shape: tuple[int, ...]
    """Shape of one case of the input."""
    target: str
    """Name of its output."""
    order: Sequence[int]
    """Index of the original output at each new position."""
    takes_logarithm: bool
    """Whether the graph returns probabilities, whose logarithm is wanted."""


def rewrite(data: bytes, wanted: Wanted) -> tuple[bytes, int]:
    """Rename a graph's input and output, make its batch axis free, and put its outputs in order.

    Args:
        data: The ONNX file.
        wanted: What the rewritten graph shall look like.

    Returns:
        The rewritten file, and the number of its weights.

    Raises:
        BackendError: The file is not a graph with one float32 input of that shape and one output, or a weight is not
            finite.
    """
    import onnx
    from onnx import helper, numpy_helper

    try:
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model)
    except Exception as error:  # noqa: BLE001  (protobuf's and the checker's errors share no public base class)
        raise BackendError(f"expected an ONNX graph, got something else: {one_line(str(error))}") from None
    graph = model.graph
    n_numbers = 0
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise BackendError(f"expected finite weights, got NaN or infinity in {one_line(tensor.name, 80)!r}")
        n_numbers += math.prod(values.shape) if values.dtype.kind == "f" else 0
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise BackendError(f"expected one input and one output, got {len(inputs)} and {len(graph.output)}")
    _check_shape(inputs[0], wanted)
    given, answered = inputs[0].name, graph.output[0].name
    float32 = onnx.TensorProto.FLOAT
    order = numpy_helper.from_array(np.array(wanted.order, np.int64), f"{_ADDED}order")
    least = numpy_helper.from_array(np.array(LEAST, np.float32), f"{_ADDED}least")
    tail = f"{_ADDED}ordered" if wanted.takes_logarithm else wanted.target
    added = [helper.make_node("Gather", [f"{_ADDED}answers", order.name], [tail], axis=1)]
    if wanted.takes_logarithm:
        added.append(helper.make_node("Max", [tail, least.name], [f"{_ADDED}above"]))
        added.append(helper.make_node("Log", [f"{_ADDED}above"], [wanted.target]))
    names = {name: f"{_ADDED}own_{name}" for name in (wanted.source, wanted.target)}  # if the graph uses these inside
    names |= {given: f"{_ADDED}given", answered: f"{_ADDED}answers"}
    nodes = [_renamed(node, names) for node in graph.node]
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    first = helper.make_node("Identity", [wanted.source], [f"{_ADDED}given"])
    rewritten = helper.make_graph(
        [first, *nodes, *added],
        "imported",
        [helper.make_tensor_value_info(wanted.source, float32, [_BATCH, *wanted.shape])],
        [helper.make_tensor_value_info(wanted.target, float32, [_BATCH, len(wanted.order)])],
        [*graph.initializer, order, *([least] if wanted.takes_logarithm else [])],
    )
    return _file(rewritten, model.opset_import, model.ir_version), n_numbers


def scenes_of_frames(n_frames: int, n_labels: int) -> bytes:
    """Build a scene graph from [n, n_frames, n_labels] logits to the logarithm of their mean probabilities."""
    import onnx
    from onnx import helper, numpy_helper

    float32 = onnx.TensorProto.FLOAT
    least = numpy_helper.from_array(np.array(LEAST, np.float32), f"{_ADDED}least")
    nodes = [
        helper.make_node("Softmax", [EMBEDDINGS], [f"{_ADDED}scores"], axis=2),
        helper.make_node("ReduceMean", [f"{_ADDED}scores"], [f"{_ADDED}mean"], axes=[1], keepdims=0),
        helper.make_node("Max", [f"{_ADDED}mean", least.name], [f"{_ADDED}above"]),
        helper.make_node("Log", [f"{_ADDED}above"], ["fused"]),
    ]
    graph = helper.make_graph(
        nodes,
        "scenes",
        [helper.make_tensor_value_info(EMBEDDINGS, float32, [_BATCH, n_frames, n_labels])],
        [helper.make_tensor_value_info("fused", float32, [_BATCH, n_labels])],
        [least],
    )
    return _file(graph, [helper.make_opsetid("", OPSET)], 8)


def _check_shape(value: Any, wanted: Wanted) -> None:
    """Refuse an input that is not float32 [n, *shape]; dynamic sizes fit any shape."""
    import onnx

    kind = value.type.tensor_type
    sizes = [size.dim_value if size.HasField("dim_value") else None for size in kind.shape.dim]
    shown = ["n" if size is None else size for size in sizes]
    fits = len(sizes) == 1 + len(wanted.shape) and all(
        size in (None, expected) for size, expected in zip(sizes[1:], wanted.shape, strict=True)
    )
    if kind.elem_type != onnx.TensorProto.FLOAT or not fits:
        what = "a picture" if wanted.source == FRAME_INPUT else "the feature"
        types = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()} | {1: "float32"}
        type_name = types.get(kind.elem_type, "another type")
        raise BackendError(
            f"{one_line(value.name, 80)}: expected float32 {_sizes('n', *wanted.shape)}, as {what} is described, got "
            f"{type_name} {_sizes(*shown)}"
        )


def _sizes(*sizes: object) -> str:
    """A shape as text, in brackets."""
    return f"[{', '.join(map(str, sizes))}]"


def _renamed(node: Any, names: dict[str, str]) -> Any:
    """Rename the inputs and outputs of a node, and of the nodes in its subgraphs, in place; returns the node."""
    for side in (node.input, node.output):
        fresh = [names.get(name, name) for name in side]
        del side[:]
        side.extend(fresh)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                _renamed(inner, names)
    return node


def _file(graph: Any, opsets: Any, ir_version: int) -> bytes:
    """Serialise a graph as an ONNX file.

    Raises:
        BackendError: ONNX's checker refuses it.
    """
    import onnx

    model = onnx.helper.make_model(graph, opset_imports=list(opsets), ir_version=ir_version)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BackendError(f"expected a graph that can be taken as described, got: {one_line(str(error))}") from None
    return bytes(model.SerializeToString(deterministic=True))
