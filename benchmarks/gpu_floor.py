"""What a graph costs at least: multiplications and bytes of one call, over what the device was measured to do.

Used by gpu.py; counts need onnx, the `build` extra.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx

_WIDTH = {"float32": 4, "float16": 2, "int8": 1}
"""Bytes of a weight; activations between layers need not leave the chip, and are not counted."""


@dataclass(frozen=True)
class Cost:
    """One window or image through a graph."""

    macs: int
    """Multiplications followed by an addition: of convolutions, matrix products and recurrent layers."""
    weights: int
    """Numbers that are read once a call, whatever the batch."""
    numbers: int
    """Numbers in and out, each read or written once: float32."""

    def bytes(self, precision: str, batch: int) -> int:
        """What a call must move at least."""
        return self.weights * _WIDTH[precision] + 4 * batch * self.numbers

    def flops(self, batch: int) -> int:
        """What a call must compute; a MAC is two."""
        return 2 * batch * self.macs


@dataclass(frozen=True)
class Ceilings:
    """What one device was measured to do, in the same run."""

    bytes_per_second: float
    """Copying on the device, read and written bytes together."""
    flops_per_second: dict[str, float]
    """Multiplying large matrices: by precision; what was not measured falls back to float32's."""
    launch_seconds: dict[int, float]
    """A CUDA graph of so many empty kernels, launched and waited for."""

    def floor_seconds(self, cost: Cost, precision: str, batch: int) -> float:
        """The longer of moving and computing: no implementation that reads its weights once is quicker."""
        flops = self.flops_per_second.get(precision, self.flops_per_second["float32"])
        return max(cost.bytes(precision, batch) / self.bytes_per_second, cost.flops(batch) / flops)

    def launch_floor(self, n_kernels: int) -> float:
        """What launching alone takes: along lines between the numbers of kernels that were measured."""
        counts, seconds = zip(*sorted(self.launch_seconds.items()), strict=True)
        beyond = max(1.0, n_kernels / counts[-1])
        return beyond * float(np.interp(n_kernels, counts, seconds))


def cost_of(graph: bytes) -> Cost:
    """Count a float32 graph; its free axis, the batch, is one."""
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
    """Of one node, if it multiplies."""
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
