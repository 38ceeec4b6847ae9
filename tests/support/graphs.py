"""Graphs written node by node, for what no exporter would write."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from support.bundles import IR_VERSION, OPSET


def graph_of(*nodes: Any, width: int | str = 10, **constants: Any) -> bytes:
    """A graph of `mono_logmel`'s input and output, with y [n, 10] to go on from, and e = 0 that no optimiser folds."""
    first = [
        helper.make_node("ReduceMean", ["logmel"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
        helper.make_node("MatMul", ["column", "row"], ["y"]),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Cast", ["nothing"], ["e"], to=TensorProto.INT64),
    ]
    values = {"one": np.array([1], np.int64), "row": np.ones((1, 10), np.float32), "zero": np.float32(0)} | constants
    inputs = [helper.make_tensor_value_info("logmel", TensorProto.FLOAT, ["n", 1, 64, 48])]
    outputs = [helper.make_tensor_value_info("fused", TensorProto.FLOAT, ["m", width])]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    graph = helper.make_graph([*first, *nodes], "hostile", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", OPSET)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString())
