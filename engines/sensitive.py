"""Choose the nodes that stay float32 when the rest of a graph becomes float16: its ends, and what loses too much there.

`precision.py` does the conversion. A *layer* is an operator with weights; nodes between layers are cheap in any type.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from engines.errors import BackendError

RANGE_SENSITIVE = frozenset(
    {
        *("Softmax", "LogSoftmax", "LogSumExp", "Log", "Exp", "Softplus", "Pow", "Sqrt", "Reciprocal"),
        *("ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"),
        *("GlobalAveragePool", "CumSum"),
        *("BatchNormalization", "LayerNormalization", "InstanceNormalization"),
        *("GRU", "LSTM", "RNN"),  # ONNX Runtime 1.31 has no float16 kernels, and crashes where casts meet them
        "Resize",  # its scales are float32 whatever the type of its data
    }
)
"""Long sums, exponentials, logarithms, and divisions by a spread: float16 ends at 65,504 and has 11 bits."""
_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "GRU", "LSTM", "RNN"})
_RECURRENT = frozenset({"GRU", "LSTM", "RNN"})
_HALF_MAX, _HALF_TINY = 65504.0, 2.0**-25
"""Above the first, a number becomes infinite in float16; up to the second, it becomes 0."""


class Nodes:
    """A graph's nodes in order, the producer and the consumers of each tensor, and the constants."""

    def __init__(self, model: Any) -> None:
        """Index a model, and modify it: constants that nodes produce or rename become initializers.

        Raises:
            BackendError: It is not a float32 graph, or a tensor's type cannot be inferred.
        """
        import onnx

        self.nodes, self.constants = _split(model)
        self.inputs = [value.name for value in model.graph.input if value.name not in self.constants]
        self.outputs = [value.name for value in model.graph.output]
        self.giver = {name: index for index, node in enumerate(self.nodes) for name in node.output}
        self.takers: dict[str, list[int]] = {}
        for index, node in enumerate(self.nodes):
            for name in node.input:
                self.takers.setdefault(name, []).append(index)
        self._types = {tensor.name: tensor.data_type for tensor in self.constants.values()}
        inferred = onnx.shape_inference.infer_shapes(model).graph
        for value in (*inferred.value_info, *inferred.input, *inferred.output):
            self._types.setdefault(value.name, value.type.tensor_type.elem_type)
        self._float = onnx.TensorProto.FLOAT
        self._check()

    def is_float(self, name: str) -> bool:
        """Whether a tensor is float32."""
        return self._types.get(name) == self._float

    def floats(self, index: int) -> list[str]:
        """A node's float inputs that are not constants."""
        return [name for name in self.nodes[index].input if self.is_float(name) and name not in self.constants]

    def layers(self) -> list[int]:
        """Positions of the nodes with weights; a product of two activations has none."""
        return [index for index in range(len(self.nodes)) if self.is_layer(index)]

    def is_layer(self, index: int) -> bool:
        """Whether that node has weights."""
        node = self.nodes[index]
        weights = node.input[1:] if node.op_type in _RECURRENT else node.input[:2]
        return node.op_type in _LAYERS and any(name in self.constants for name in weights)

    def _check(self) -> None:
        """Reject graphs nested in nodes, and tensors of unknown types or of another precision."""
        for node in self.nodes:
            if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
                raise BackendError(f"expected a graph without branches, got {node.op_type}; export it unrolled")
            if any(name and not self._types.get(name) for name in node.output):
                raise BackendError(f"expected tensors of known types, got none for what {node.op_type} gives")
        other = {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in self.nodes}
        if other or not any(self.is_float(name) for name in self.inputs):
            raise BackendError("expected a float32 graph, got one of another precision; give the float32 one")


def _split(model: Any) -> tuple[list[Any], dict[str, Any]]:
    """A graph's nodes, and its constants by name; constants that nodes produce or rename become initializers."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    other: dict[str, str] = {}
    nodes = []
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = other.get(name, name)
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
            constants[node.output[0]].name = node.output[0]
        elif node.op_type == "Identity" and node.input[0] in constants and node.output[0] not in outputs:
            other[node.output[0]] = node.input[0]
        else:
            nodes.append(node)
    nodes, tensors = [_copied(node) for node in nodes], [_copied(tensor) for tensor in constants.values()]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tensors)
    return list(graph.node), {tensor.name: tensor for tensor in graph.initializer}


def _copied(message: Any) -> Any:
    """Copy a protobuf message, so that it survives removal from its owner."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def float32_nodes(nodes: Nodes, operators: Collection[str], n_first: int = 1) -> set[int]:
    """Positions of the nodes that stay float32, including the first `n_first` layers."""
    kept = {index for index, node in enumerate(nodes.nodes) if node.op_type in operators}
    kept |= {index for index in range(len(nodes.nodes)) if not _fits(nodes, index)}
    kept |= _first(nodes) | _last(nodes) | set(nodes.layers()[: n_first if n_first > 1 else 0])
    return kept | _between(nodes, kept)


def end_layers(nodes: Nodes) -> set[int]:
    """Positions of the layers that produce the outputs."""
    return {index for index in _last(nodes) if nodes.is_layer(index)}


def _first(nodes: Nodes) -> set[int]:
    """First layers, and the nodes that process the inputs before them."""
    raw = set(nodes.inputs)
    first: set[int] = set()
    for index, node in enumerate(nodes.nodes):
        floats = nodes.floats(index)
        if not floats or not raw.issuperset(floats):
            continue
        if not nodes.is_layer(index):
            raw.update(node.output)
        first.add(index)
    return first


def _last(nodes: Nodes) -> set[int]:
    """Last layers, and the nodes after them; at a junction that layers feed directly, only those are followed.

    The skip connections of a residual network would otherwise lead all the way back to its beginning.
    """
    last: set[int] = set()
    todo = [nodes.giver[name] for name in nodes.outputs if name in nodes.giver]
    while todo:
        index = todo.pop()
        if index in last:
            continue
        last.add(index)
        if nodes.is_layer(index):
            continue
        givers = {nodes.giver[name] for name in nodes.floats(index) if name in nodes.giver}
        todo += {giver for giver in givers if nodes.is_layer(giver)} or givers
    return last


def _between(nodes: Nodes, kept: set[int]) -> set[int]:
    """Weightless nodes with only float32 or nothing before them and float32 after them: casts could only lose."""
    after = set(nodes.inputs)
    for index, node in enumerate(nodes.nodes):
        if index in kept or (not nodes.is_layer(index) and after.issuperset(nodes.floats(index))):
            after.update(node.output)
    before: set[int] = set()
    for index in reversed(range(len(nodes.nodes))):
        takers = {taker for name in nodes.nodes[index].output for taker in nodes.takers.get(name, ())}
        if not nodes.is_layer(index) and takers & (kept | before):
            before.add(index)
    return {index for index in before if after.issuperset(nodes.nodes[index].output)}


def _fits(nodes: Nodes, index: int) -> bool:
    """Whether float16 can hold a node's constants: none becomes infinite, and no scalar becomes 0."""
    return all(_holds(nodes.constants[name]) for name in _float_constants(nodes, index))


def _float_constants(nodes: Nodes, index: int) -> Iterable[str]:
    """A node's float constants, which would be converted."""
    return (name for name in nodes.nodes[index].input if name in nodes.constants and nodes.is_float(name))


def _holds(tensor: Any) -> bool:
    """Whether float16 can hold a constant."""
    import onnx

    sizes = np.abs(onnx.numpy_helper.to_array(tensor))
    finite = sizes[np.isfinite(sizes)]
    if finite.size and finite.max() > _HALF_MAX:
        return False
    return not (finite.size == 1 and 0 < finite.max() <= _HALF_TINY)
