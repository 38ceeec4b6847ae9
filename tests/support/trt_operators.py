"""Operators of ONNX opset 17 that every TensorRT from 8.6 to 10.3 parses, as far as exported networks may use them."""

from __future__ import annotations

from collections import Counter

import onnx

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


def operators(graph: bytes) -> Counter[str]:
    """How often a graph uses each operator."""
    return Counter(node.op_type for node in onnx.load_from_string(graph).graph.node)


def unknown_operators(graph: bytes) -> list[str]:
    """Operators that some TensorRT would refuse, and those of other domains than ONNX's own."""
    nodes = onnx.load_from_string(graph).graph.node
    return sorted({node.op_type for node in nodes if node.domain or node.op_type not in TRT_OPERATORS})
