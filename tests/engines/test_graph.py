"""Graphs are looked through before a backend sees them: other files, loops, functions are refused, however hidden."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from support import bundles

from engines.errors import BackendError
from engines.graph import check_graph

REFERS = (
    "scene: expected a graph that carries its weights, got one that refers to another file; "
    "export it with external_data=False"
)
NOT_ONNX = "scene: expected an ONNX graph, got bytes that are none; get or export it anew"
LOCATIONS = ["weights.bin", "../weights.bin", "/etc/passwd", "*/_ORT_MEM_ADDR_/*", ""]


def external(location: str = "weights.bin", name: str = "w") -> onnx.TensorProto:
    """Six numbers that lie in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[3, 2], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "24")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def inner(name: str = "w") -> onnx.TensorProto:
    """Six numbers that lie in the graph."""
    return numpy_helper.from_array(np.ones((3, 2), np.float32), name)


def model(*nodes: onnx.NodeProto, initializer: onnx.TensorProto | None = None) -> onnx.ModelProto:
    """A product of x and w, and further nodes."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), *nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [initializer if initializer is not None else inner()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def refusal(data: bytes) -> str:
    with pytest.raises(BackendError) as caught:
        check_graph(data, "scene")
    return str(caught.value)


def branch(tensor: onnx.TensorProto) -> onnx.GraphProto:
    """A graph inside a graph."""
    value = helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 2])
    return helper.make_graph([], "branch", [], [value], [tensor])


def hidden() -> dict[str, onnx.ModelProto]:
    """A tensor of another file in every place where a graph may hold one."""
    sparse = helper.make_sparse_tensor(external("v.bin"), numpy_helper.from_array(np.zeros(6, np.int64)), [9])
    places = {
        "initializer": model(initializer=external()),
        "constant": model(helper.make_node("Constant", [], ["c"], value=external())),
        "branch": model(helper.make_node("If", ["x"], ["c"], then_branch=branch(external()))),
        "branch of a branch": model(
            helper.make_node("If", ["x"], ["c"], then_branch=branch(inner())),
        ),
        "list of tensors": model(helper.make_node("Odd", [], ["c"], values=[inner("a"), external("b")])),
        "list of graphs": model(helper.make_node("Odd", [], ["c"], graphs=[branch(inner()), branch(external())])),
        "sparse constant": model(helper.make_node("Constant", [], ["c"], sparse_value=sparse)),
        "sparse initializer": model(),
        "training": model(),
        "only the flag": model(initializer=external()),
        "only the names": model(initializer=external()),
    }
    deeper = helper.make_node("If", ["x"], ["c"], then_branch=branch(external()))
    places["branch of a branch"].graph.node[1].attribute[0].g.node.append(deeper)
    places["sparse initializer"].graph.sparse_initializer.append(sparse)
    places["training"].training_info.add().initialization.initializer.append(external())
    del places["only the flag"].graph.initializer[0].external_data[:]
    places["only the names"].graph.initializer[0].ClearField("data_location")
    return places


@pytest.mark.parametrize("place", hidden())
def test_a_reference_to_another_file_is_found_wherever_it_hides(place: str) -> None:
    assert refusal(hidden()[place].SerializeToString()) == REFERS


@pytest.mark.parametrize("location", LOCATIONS)
def test_where_it_leads_does_not_matter(location: str) -> None:
    assert refusal(model(initializer=external(location)).SerializeToString()) == REFERS


def test_a_graph_with_all_its_weights_passes() -> None:
    check_graph(model().SerializeToString())
    check_graph(bundles.frame_graph())
    explicit = inner()
    explicit.data_location = TensorProto.DEFAULT
    check_graph(model(initializer=explicit).SerializeToString())


@pytest.mark.parametrize("operator", ["Loop", "Scan"])
def test_a_loop_is_refused_wherever_it_hides(operator: str) -> None:
    expected = f"scene: expected operators that end, got a {operator}; export it unrolled and inlined"
    loop = helper.make_node(operator, [], ["c"], body=branch(inner()))
    inside = branch(inner())
    inside.node.append(loop)
    for node in (loop, helper.make_node("If", ["x"], ["c"], then_branch=inside)):
        assert refusal(model(node).SerializeToString()) == expected


def test_functions_that_call_each_other_are_refused() -> None:
    """Forty of them, each calling the one before twice, are a trillion nodes to whoever inlines them."""
    bomb = model()
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for depth in range(40):
        twice = [helper.make_node(f"F{depth - 1}", ["x"], ["x"], domain="own")] * 2 if depth else []
        bomb.functions.append(helper.make_function("own", f"F{depth}", ["x"], ["x"], twice, opsets))
    expected = "scene: expected operators that end, got a function of its own; export it unrolled and inlined"
    assert refusal(bomb.SerializeToString()) == expected


def test_a_reference_in_a_second_part_of_the_graph_is_found() -> None:
    more = onnx.ModelProto()
    more.graph.initializer.append(external())
    assert refusal(model().SerializeToString() + more.SerializeToString()) == REFERS  # protobuf merges the two


def test_bytes_that_are_no_graph_are_refused() -> None:
    data = model().SerializeToString()
    for broken in (b"garbage", data[:-1], data + b"\x0a", b"\xff" * 20, b"\x0b", b"\x00", b"\x0d\x00", b"\x09\x00"):
        assert refusal(broken) == NOT_ONNX


@given(st.binary(max_size=300))
def test_any_bytes_pass_or_are_refused(data: bytes) -> None:
    try:
        check_graph(data, "scene")
    except BackendError as error:
        assert str(error) in (NOT_ONNX, REFERS)  # noqa: PT017


@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_reference_does_not_slip_through_where_protobuf_still_sees_it(position: int, value: int) -> None:
    data = bytearray(model(initializer=external()).SerializeToString())
    data[position % len(data)] = value
    try:
        parsed = onnx.ModelProto.FromString(bytes(data))
    except Exception:  # noqa: BLE001  (a DecodeError of whichever protobuf is installed)
        return
    if any(tensor.data_location or tensor.external_data for tensor in parsed.graph.initializer):
        assert refusal(bytes(data)) in (REFERS, NOT_ONNX)
