"""Lower bound for a graph's time: the operations and bytes of one call, divided by the device's measured rates.

Used by gpu.py; counts need onnx, the `build` extra.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx

_WIDTH = {"float32": 4, "float16": 2, "int8": 1}
"""Bytes per weight; activations between layers need not leave the chip, and are not counted."""


@dataclass(frozen=True)
class Cost:
    """What one window or image costs in a graph."""

    macs: int
    """Multiply-accumulate operations of convolutions, matrix products and recurrent layers."""
    weights: int
    """Number of weights; they are read once per call, whatever the batch."""
    numbers: int
    """Number of input and output elements, float32, each read or written once."""

    def bytes(self, precision: str, batch: int) -> int:
        """Minimum number of bytes that a call must move."""
        return self.weights * _WIDTH[precision] + 4 * batch * self.numbers

    def flops(self, batch: int) -> int:
        """Floating-point operations of a call; a MAC counts as two."""
        return 2 * batch * self.macs


@dataclass(frozen=True)
class Ceilings:
    """The limits of one device, measured in the same run."""

    bytes_per_second: float
    """Rate of copies on the device, counting both read and written bytes."""
    flops_per_second: dict[str, float]
    """Rate of large matrix products by precision; precisions that were not measured use float32's."""
    launch_seconds: dict[int, float]
    """Number of empty kernels in a CUDA graph to the time to launch it and wait for it."""

    def floor_seconds(self, cost: Cost, precision: str, batch: int) -> float:
        """Time to move the data or to compute, whichever is longer; if weights are read once, nothing can be faster."""
        flops = self.flops_per_second.get(precision, self.flops_per_second["float32"])
        return max(cost.bytes(precision, batch) / self.bytes_per_second, cost.flops(batch) / flops)

    def launch_floor(self, n_kernels: int) -> float:
        """Time for launching alone, interpolated between the measured numbers of kernels."""
        counts, seconds = zip(*sorted(self.launch_seconds.items()), strict=True)
        beyond = max(1.0, n_kernels / counts[-1])
        return beyond * float(np.interp(n_kernels, counts, seconds))


def cost_of(graph: bytes) -> Cost:
    """Count the cost of a float32 graph for a batch of one."""
    model = onnx.load_from_string(graph)
    for value in (*model.graph.input, *model.graph.output):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.ClearField("dim_param")
                axis.dim_value = 1
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True, strict_mode=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        shapes.setdefault(value.name, tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim))
    floats = [tensor for tensor in inferred.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    return Cost(
        macs=sum(macs for node in inferred.node for macs in _macs(node, shapes)),
        weights=sum(math.prod(tensor.dims) for tensor in floats),
        numbers=sum(math.prod(shapes[value.name]) for value in (*inferred.input, *inferred.output)),
    )


def _macs(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> Iterator[int]:
    """Yield the MACs of a node, if it multiplies."""
    if node.op_type in ("Conv", "ConvTranspose"):
        moved = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]]
        yield _size(moved, node) * math.prod(shapes[node.input[1]][1:])
    elif node.op_type in ("MatMul", "Gemm"):
        taken = shapes[node.input[0]]
        transposed = any(entry.name == "transA" and entry.i for entry in node.attribute)
        yield _size(shapes[node.output[0]], node) * taken[0 if transposed else -1]
    elif node.op_type in ("GRU", "LSTM"):
        n_steps, batch, _ = shapes[node.input[0]]
        yield n_steps * batch * sum(math.prod(shapes[name]) for name in node.input[1:3])


def _size(shape: tuple[int, ...], node: onnx.NodeProto) -> int:
    size = math.prod(shape)
    if size <= 0:
        raise ValueError(f"{node.op_type} {node.name}: expected a shape that is known, got {list(shape)}")
    return size
