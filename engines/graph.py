"""Inspect an ONNX file's bytes before any backend sees them: does it contain all its weights, and will it terminate?

A tensor of a graph can declare that its values are stored in another file. Backends resolve such names against the
working directory, or even as memory addresses, so a bundle could read data it was never given. This module walks the
few message types that lead to tensors in the protobuf wire format, which needs neither protobuf nor onnx. The field
numbers are those of onnx.proto.

A bundle is data and must not be able to hang the program that opens it: loops and functions, with which a few bytes can
cause endless work, are rejected. No network in this field needs them; recurrent layers are operators of their own.
"""

from __future__ import annotations

from engines.errors import BackendError

_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""For each message type, the fields that lead to tensors and the message types they hold."""
_TENSOR_EXTERNAL_DATA = 13
_TENSOR_DATA_LOCATION = 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_FIELD = (1 << 29) - 1
_NODE_OPERATOR = 4
_MODEL_FUNCTION = 25
_ENDLESS = (b"Loop", b"Scan")


def check_graph(model: bytes, name: str = "graph") -> None:
    """Reject a graph that refers to another file or may never terminate, and bytes that are not a protocol buffer.

    Args:
        model: The bytes of an ONNX file.
        name: What error messages call the graph.

    Raises:
        BackendError: A tensor's values are stored elsewhere, there is a loop or a function, or the bytes are truncated
            or malformed.
    """
    todo = [("model", 0, len(model))]
    while todo:
        message, position, end = todo.pop()
        while position < end:
            tag, position = _varint(model, position, end, name)
            field, wire = tag >> 3, tag & 7
            if not 0 < field <= _MAX_FIELD:
                raise _broken(name)
            start = position
            value = 0
            if wire == _VARINT:
                value, position = _varint(model, position, end, name)
            elif wire == _FIXED64:
                position += 8
            elif wire == _FIXED32:
                position += 4
            elif wire == _BYTES:
                length, start = _varint(model, position, end, name)
                position = start + length
            else:
                raise _broken(name)
            if position > end:
                raise _broken(name)
            if message == "tensor" and (field == _TENSOR_EXTERNAL_DATA or (field == _TENSOR_DATA_LOCATION and value)):
                raise BackendError(
                    f"{name}: expected a graph that carries its weights, got one that refers to another file; "
                    "export it with external_data=False"
                )
            endless = message == "node" and field == _NODE_OPERATOR and model[start:position] in _ENDLESS
            if endless or (message == "model" and field == _MODEL_FUNCTION):
                what = f"a {model[start:position].decode()}" if endless else "a function of its own"
                raise BackendError(f"{name}: expected operators that end, got {what}; export it unrolled and inlined")
            child = _CHILDREN[message].get(field)
            if child is not None and wire == _BYTES:
                todo.append((child, start, position))


def _varint(data: bytes, position: int, end: int, name: str) -> tuple[int, int]:
    """Read a variable-length integer of at most 64 bits; return it and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise _broken(name)
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _broken(name)


def _broken(name: str) -> BackendError:
    """The error for bytes that are not a valid protocol buffer."""
    return BackendError(f"{name}: expected an ONNX graph, got bytes that are none; get or export it anew")
