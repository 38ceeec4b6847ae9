"""Convert a float32 graph to lower precision: to float16, or to int8 with Q/DQ pairs.

The precision is written into the graph, not set by a builder's flags. Both results run in ONNX Runtime, and both are
what a strongly typed TensorRT network takes. The accuracy that float16 costs can be measured with `rounded`, because
ONNX Runtime itself computes float16 graphs in float32 on a CPU. `sensitive.py` decides which nodes stay float32. Needs
the `build` extra.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engines.base import Array
from engines.errors import BackendError
from engines.sensitive import RANGE_SENSITIVE, Nodes, end_layers, float32_nodes

_LAYERS = ("Conv", "Gemm", "MatMul")
"""Operators whose inputs and weights are quantised."""
_ADDED = "ascstream_"
"""Prefix of the names of everything added to a graph."""
_PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")
"""Tells the quantiser that shapes are known, so that it does not print a recommendation."""
_QUANTISER_OPTIONS: Mapping[str, Any] = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "DedicatedQDQPair": True,
    "AddQDQPairToWeight": True,
    "QuantizeBias": False,
    "MatMulConstBOnly": True,
}
"""Symmetric, since TensorRT supports no zero points; weights stay float32 in front of their own Q/DQ pair, as its older
parsers require; a product of two activations stays float32."""


def to_float16(graph: bytes, keep_float32: Collection[str] = RANGE_SENSITIVE, n_first: int = 1) -> bytes:
    """Convert a graph to float16: each node is entirely float16 or entirely float32, with casts in between.

    The graph's inputs and outputs stay float32. So do the first and last layers, operators in `keep_float32`, what lies
    between two of them, and nodes with a constant that float16 cannot hold.

    Args:
        graph: A float32 ONNX file with its weights inside.
        keep_float32: Operators that overflow or lose too much accuracy.
        n_first: How many of the first layers stay float32: more where a small network loses too much accuracy.

    Raises:
        BackendError: It is not such a graph, all of its layers stay float32, or onnx is not installed.
    """
    model = _load(graph)
    nodes = Nodes(model)
    kept = float32_nodes(nodes, keep_float32, n_first)
    if kept.issuperset(nodes.layers()):
        raise BackendError("float16: expected layers that may be typed so between the first and the last, got none")
    types = _Float16(nodes)
    rewritten: list[Any] = []
    for index, node in enumerate(nodes.nodes):
        rewritten += types.retype(node, half=index not in kept)
    rewritten += types.outputs(rewritten, [value.name for value in model.graph.output])
    _replace(model.graph.node, rewritten)
    _replace(model.graph.initializer, types.constants())
    _replace(model.graph.value_info, [])
    return _checked(model, "float16")


def rounded(graph: bytes) -> bytes:
    """Emulate a float16 graph with float32 operators whose outputs are rounded to float16 and back; overflow gives inf.

    ONNX Runtime has hardly any float16 operators on a CPU: it puts its own casts around float32 ones and removes casts
    that cancel out, so that only weights are rounded. Casts that are part of the graph are kept. Sums inside an
    operator are float32, as on most accelerators. For measurements only: it is slower, and never shipped.

    Args:
        graph: The result of `to_float16`.

    Raises:
        BackendError: It is not an ONNX file, or onnx is not installed.
    """
    onnx = _onnx()
    model = _load(graph)
    float16, float32 = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    inferred = onnx.shape_inference.infer_shapes(model).graph
    half = {v.name for v in inferred.value_info if v.type.tensor_type.elem_type == float16}
    for tensor in model.graph.initializer:
        if tensor.data_type == float16:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    nodes: list[Any] = []
    for node in model.graph.node:
        names = [name for name in node.output if name in half]
        _replace(node.output, [f"{_ADDED}{name}_exact" if name in half else name for name in node.output])
        if names:
            _retype_attributes(node, float32)
        nodes.append(node)
        for name in names:
            nodes.append(_cast_node(f"{_ADDED}{name}_exact", f"{_ADDED}{name}_half", half=True))
            nodes.append(_cast_node(f"{_ADDED}{name}_half", name, half=False))
    _replace(model.graph.node, nodes)
    _replace(model.graph.value_info, [])
    return _checked(model, "float16")


def to_int8(graph: bytes, feeds: Iterable[Mapping[str, Array]]) -> bytes:
    """Insert Q/DQ pairs around convolutions and matrix products with weights; everything else stays float32.

    A tensor's range is taken over all feeds, symmetrically; a weight has one range per output channel. The last layers
    stay float32: about two hundred levels are too few for logits.

    Args:
        graph: A float32 ONNX file with its weights inside.
        feeds: Calibration inputs like those met in use: input name to array, some tens to hundreds of windows. The same
            feeds in the same order give the same bytes.

    Raises:
        BackendError: It is not such a graph, nothing can be quantised, there are no feeds, or onnx is missing.
    """
    model = _load(graph)
    nodes = Nodes(model)
    for index, node in enumerate(nodes.nodes):
        node.name = f"node_{index}"  # nodes are selected by name below; exporters omit names, or use them twice
    layers = {index for index in nodes.layers() if nodes.nodes[index].op_type in _LAYERS}
    layers -= end_layers(nodes)
    if not layers:
        raise BackendError("int8: expected convolutions or matrix products besides the last one, got none to quantise")
    given = iter(feeds)
    first = next(given, None)
    if first is None:
        raise BackendError("int8: expected feeds to measure ranges on, got none")
    entry = model.metadata_props.add()
    entry.key, entry.value = _PREPARED
    quantised = _quantise(model, _chained(first, given), [nodes.nodes[index].name for index in sorted(layers)])
    _replace(quantised.metadata_props, [])
    return _checked(quantised, "int8")


class _Float16:
    """Provides every float tensor of a graph in the types its consumers need, with casts where necessary."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._is_half: dict[str, bool] = {}
        self._cast: dict[str, str] = {}
        self._made: dict[str, Any] = {}

    def retype(self, node: Any, *, half: bool) -> list[Any]:
        """Return the node in its new type, preceded by the casts its inputs need and do not have yet."""
        fresh: list[Any] = []
        for position, name in enumerate(node.input):
            if self._nodes.is_float(name):
                node.input[position] = self._in_type(name, half, fresh)
        floats = [name for name in node.output if self._nodes.is_float(name)]
        self._is_half |= dict.fromkeys(floats, half)
        if half and floats:
            _retype_attributes(node, _onnx().TensorProto.FLOAT16)
        return [*fresh, node]

    def outputs(self, nodes: list[Any], names: Iterable[str]) -> list[Any]:
        """Return casts that produce the graph's float32 outputs; rename the float16 originals among `nodes`."""
        fresh: list[Any] = []
        for name in names:
            if self._is_half.get(name, False):
                inner = f"{_ADDED}{name}_half"
                for node in nodes:
                    for side in (node.input, node.output):
                        _replace(side, [inner if other == name else other for other in side])
                fresh.append(_cast_node(inner, name, half=False))
        return fresh

    def constants(self) -> list[Any]:
        """Constants in the types in which they are used."""
        used = {name for node in self._nodes.nodes for name in node.input}
        return [tensor for tensor in (*self._nodes.constants.values(), *self._made.values()) if tensor.name in used]

    def _in_type(self, name: str, half: bool, fresh: list[Any]) -> str:
        """Name of that tensor in float16 or float32; a cast that this needs is added to `fresh`."""
        if self._is_half.get(name, False) == half:
            return name
        other = f"{_ADDED}{name}_{'float16' if half else 'float32'}"
        if name in self._nodes.constants:
            if other not in self._made:
                self._made[other] = _half_constant(self._nodes.constants[name], other)
        elif other not in self._cast:
            self._cast[other] = name
            fresh.append(_cast_node(name, other, half=half))
        return other


def _load(graph: bytes) -> Any:
    """Parse the model in a file's bytes."""
    onnx = _onnx()
    try:
        return onnx.load_from_string(graph)
    except Exception as error:  # noqa: BLE001  (protobuf's errors have no public base class in common)
        raise BackendError(f"expected an ONNX file, got something else: {error}") from None


def _checked(model: Any, precision: str) -> bytes:
    """Validate a model, including its types and shapes, and serialise it."""
    onnx = _onnx()
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BackendError(f"{precision}: expected a graph that can be typed so, got: {error}") from None
    return bytes(model.SerializeToString(deterministic=True))


def _quantise(model: Any, feeds: Iterator[Mapping[str, Array]], names: list[str]) -> Any:
    """Have ONNX Runtime measure ranges and insert the Q/DQ pairs; its files are in a temporary folder of our own."""
    onnx = _onnx()
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    except ImportError as error:
        raise _missing("ONNX Runtime's quantiser", error) from None

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Mapping[str, Array] | None:
            return next(feeds, None)

    with tempfile.TemporaryDirectory(prefix="ascstream-") as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_LAYERS),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=names,
            extra_options=dict(_QUANTISER_OPTIONS),
        )
        return onnx.load(path)


def _chained(first: Mapping[str, Array], rest: Iterator[Mapping[str, Array]]) -> Iterator[Mapping[str, Array]]:
    """Yield the first item, then the rest."""
    yield first
    yield from rest


def _half_constant(tensor: Any, name: str) -> Any:
    """Convert a constant to float16."""
    onnx = _onnx()
    with np.errstate(over="ignore", under="ignore"):
        values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
    return onnx.numpy_helper.from_array(values, name)


def _retype_attributes(node: Any, kind: int) -> None:
    """For a node whose output type is set by an attribute, change that attribute to the given float type."""
    onnx = _onnx()
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i in floats:
            attribute.i = kind
        elif node.op_type == "ConstantOfShape" and attribute.name == "value":
            values = onnx.numpy_helper.to_array(attribute.t)
            values = values.astype(onnx.helper.tensor_dtype_to_np_dtype(kind))
            attribute.t.CopyFrom(onnx.numpy_helper.from_array(values, attribute.t.name))


def _cast_node(source: str, target: str, *, half: bool) -> Any:
    """Make one Cast node."""
    onnx = _onnx()
    kind = onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT
    return onnx.helper.make_node("Cast", [source], [target], f"{source}_to_{target}", to=kind)


def _replace(field: Any, values: Iterable[Any]) -> None:
    """Replace the values of a protobuf message's repeated field."""
    fresh = list(values)
    del field[:]
    field.extend(fresh)


def _onnx() -> Any:
    """Import onnx, or say what to type."""
    try:
        import onnx
        import onnx.checker
        import onnx.numpy_helper
        import onnx.shape_inference
    except ImportError as error:
        raise _missing("onnx", error) from None
    return onnx


def _missing(what: str, error: ImportError) -> BackendError:
    """The error for a package that is not installed."""
    return BackendError(
        f"expected {what}, which other precisions are made with, got: {error}; type: pip install 'ascstream[build]'"
    )
