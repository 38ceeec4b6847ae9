"""What every TensorRT from 8.6 to 10.3 parses of ONNX opset 17, as far as exported networks may use it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto
from onnx.numpy_helper import to_array

TRT_OPERATORS = frozenset(
    {
        *("Conv", "ConvTranspose", "Gemm", "MatMul", "GRU", "LSTM", "BatchNormalization"),
        "LayerNormalization",  # from 8.6 on
        *("QuantizeLinear", "DequantizeLinear"),
        *("Relu", "LeakyRelu", "PRelu", "Elu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Erf", "Clip"),
        *("Softmax", "LogSoftmax", "Exp", "Log", "Sqrt", "Pow", "Abs", "Neg"),
        *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"),
        *("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL2"),
        *("Add", "Sub", "Mul", "Div", "Min", "Max", "Equal", "Greater", "Less", "Where"),
        *("Concat", "Split", "Slice", "Gather", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Expand"),
        *("Shape", "Constant", "ConstantOfShape", "Identity", "Cast", "Pad", "Resize"),
    }
)
"""The list is ours, an intersection of the parsers' own; it is kept as short as the networks allow."""
HALF_OPERATORS = TRT_OPERATORS - {"QuantizeLinear", "DequantizeLinear"}
"""Those that take float16; in ours it never meets Q/DQ pairs, whose float16 scales older parsers refuse."""
NEWEST_OPSET = 17
_TYPES = {
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.INT8,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.BOOL,
}
"""Element types; float64 is none."""


def operators(graph: bytes) -> Counter[str]:
    """How often a graph uses each operator."""
    return Counter(node.op_type for node in onnx.load_from_string(graph).graph.node)


def unknown_operators(graph: bytes) -> list[str]:
    """Operators that some TensorRT would refuse, and those of other domains than ONNX's own."""
    nodes = onnx.load_from_string(graph).graph.node
    return sorted({node.op_type for node in nodes if node.domain or node.op_type not in TRT_OPERATORS})


def faults(graph: bytes) -> list[str]:
    """Everything in a graph that some TensorRT from 8.6 to 10.3 would refuse; nothing, if it is well."""
    model = onnx.load_from_string(graph)
    return [*unknown_operators(graph), *_opsets(model), *_types(model), *_quantisers(model)]


def _opsets(model: onnx.ModelProto) -> Iterator[str]:
    for entry in model.opset_import:
        if entry.domain not in ("", "ai.onnx") or entry.version > NEWEST_OPSET:
            yield f"opset {entry.domain or 'ai.onnx'} {entry.version}"


def _types(model: onnx.ModelProto) -> Iterator[str]:
    """Float32 at the ends, types that are known, and float16 only where every version computes it."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        types.setdefault(value.name, value.type.tensor_type.elem_type)
    for value in (*graph.input, *graph.output):
        if types[value.name] != TensorProto.FLOAT:
            yield f"{value.name} is no float32"
    for name, kind in types.items():
        if kind not in _TYPES:
            yield f"{name} is {TensorProto.DataType.Name(kind).lower()}"
    for node in graph.node:
        half = any(types.get(name) == TensorProto.FLOAT16 for name in (*node.input, *node.output))
        if half and node.op_type not in HALF_OPERATORS:
            yield f"{node.op_type} {node.name} in float16"


def _quantisers(model: onnx.ModelProto) -> Iterator[str]:
    """Scales that are positive constants, no zero points, int8, one scale an axis of weights only."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        data, scale, zero = (*node.input, "")[:3]
        if scale not in constants:
            yield f"{node.op_type} {node.name}: a scale that is computed"
            continue
        if not (to_array(constants[scale]) > 0).all():
            yield f"{node.op_type} {node.name}: a scale that is not positive"
        if not zero or zero not in constants or constants[zero].data_type != TensorProto.INT8:
            yield f"{node.op_type} {node.name}: no int8 zero point, so that the type is unsigned"
        elif np.any(to_array(constants[zero])):
            yield f"{node.op_type} {node.name}: a zero point that is not zero"
        weights = data in constants or any(
            data == other.output[0] for other in model.graph.node if _of_weights(other, constants)
        )
        if to_array(constants[scale]).size > 1 and not weights:
            yield f"{node.op_type} {node.name}: a scale a channel of what is no weight"


def _of_weights(node: onnx.NodeProto, constants: dict[str, TensorProto]) -> bool:
    return node.op_type == "QuantizeLinear" and node.input[0] in constants
