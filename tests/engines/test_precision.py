"""Graphs typed float16 and with Q/DQ pairs: valid, near the original, strict about types, the same every time."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.bundles import IR_VERSION, OPSET

from engines.errors import BackendError
from engines.ort import OrtEngine
from engines.precision import rounded, to_float16, to_int8

RNG_SEED = 7
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def weights(name, *shape, seed=RNG_SEED):
    values = np.random.default_rng((seed, len(name), *shape)).standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    return numpy_helper.from_array(values.astype(np.float32), name)


def number(name, value, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def model(nodes, constants, inputs=None, outputs=None):
    """A graph from x [n, 3, 8, 8] to y [n, 4], unless said otherwise."""
    inputs, outputs = inputs or {"x": ["n", 3, 8, 8]}, outputs or {"y": ["n", 4]}
    sides = [
        [helper.make_tensor_value_info(k, FLOAT, shape) for k, shape in side.items()] for side in (inputs, outputs)
    ]
    graph = helper.make_graph([helper.make_node(*node[:3], **(node[3] if len(node) > 3 else {})) for node in nodes],
                              "g", *sides, constants)  # fmt: skip
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()


def convolutions(middle=(), constants=()):
    """Three convolutions and a linear layer; `middle` stands between the second and the third: "b" to "c"."""
    nodes = [
        ("Conv", ["x", "w1"], ["a"], {"pads": [1, 1, 1, 1]}),
        ("Conv", ["a", "w2", "bias"], ["b"], {"pads": [1, 1, 1, 1]}),
        *(middle or [("Relu", ["b"], ["c"])]),
        ("Conv", ["c", "w3"], ["d"]),
        ("GlobalAveragePool", ["d"], ["e"]),
        ("Flatten", ["e"], ["f"]),
        ("Gemm", ["f", "w4"], ["y"]),
    ]
    layers = [weights("w1", 6, 3, 3, 3), weights("w2", 6, 6, 3, 3), weights("bias", 6), weights("w3", 8, 6, 3, 3)]
    return model(nodes, [*layers, weights("w4", 8, 4), *constants])


def feeds(n=5, seed=0):
    return {"x": np.random.default_rng(seed).standard_normal((n, 3, 8, 8), dtype=np.float32)}


def answer(graph, given=None):
    with OrtEngine(graph) as engine:
        return engine.infer(given or feeds())


def types_of(graph):
    """Tensor name to element type, from the graph itself."""
    inferred = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph), strict_mode=True).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in inferred.initializer}


def layer_types(graph):
    """Type of the weights of each layer, in order."""
    types = types_of(graph)
    nodes = onnx.load_from_string(graph).graph.node
    return [types[node.input[1]] for node in nodes if node.op_type in ("Conv", "Gemm", "MatMul", "GRU")]


def operators(graph):
    return Counter(node.op_type for node in onnx.load_from_string(graph).graph.node)


def test_float16_is_near_float32_and_keeps_both_ends():
    graph = convolutions()
    half = to_float16(graph)
    assert layer_types(half) == [FLOAT, HALF, HALF, FLOAT]
    types = types_of(half)
    assert (types["x"], types["y"]) == (FLOAT, FLOAT)
    np.testing.assert_allclose(answer(half)["y"], answer(graph)["y"], atol=2e-3)
    assert not np.array_equal(answer(half)["y"], answer(graph)["y"])
    assert operators(half)["Cast"] == 2  # behind the first layer, before the mean
    for batch in (1, 2, 5):
        assert answer(half, feeds(batch))["y"].shape == (batch, 4)


def test_more_of_the_first_layers_may_stay_float32():
    half = to_float16(convolutions(), n_first=2)
    assert layer_types(half) == [FLOAT, FLOAT, HALF, FLOAT]
    assert layer_types(to_float16(convolutions(), n_first=1)) == [FLOAT, HALF, HALF, FLOAT]
    with pytest.raises(BackendError, match="expected layers that may be typed so between the first and the last, got"):
        to_float16(convolutions(), n_first=3)


@pytest.mark.parametrize(
    "operator",
    ["Softmax", "LogSoftmax", "Exp", "Sqrt", "ReduceMean", "ReduceL2", "GlobalAveragePool", "LayerNormalization"],
)
def test_what_needs_range_stays_float32(operator):
    middle = {
        "ReduceMean": [("ReduceMean", ["b"], ["m"], {"axes": [2, 3]}), ("Mul", ["b", "m"], ["c"])],
        "ReduceL2": [("ReduceL2", ["b"], ["m"], {"axes": [2, 3]}), ("Mul", ["b", "m"], ["c"])],
        "GlobalAveragePool": [("GlobalAveragePool", ["b"], ["m"]), ("Mul", ["b", "m"], ["c"])],
        "Sqrt": [("Abs", ["b"], ["m"]), ("Sqrt", ["m"], ["c"])],
        "LayerNormalization": [("LayerNormalization", ["b", "scale"], ["c"])],
    }.get(operator, [(operator, ["b"], ["c"])])
    graph = convolutions(middle, [number("scale", np.ones(8))])
    half = to_float16(graph)
    types = types_of(half)
    [node] = [node for node in onnx.load_from_string(half).graph.node if node.op_type == operator][:1]
    assert types[node.input[0]] == FLOAT
    assert layer_types(half) == [FLOAT, HALF, HALF, FLOAT]
    np.testing.assert_allclose(answer(half)["y"], answer(graph)["y"], atol=5e-3)


def test_between_two_that_stay_float32_nothing_is_cast():
    middle = [
        ("ReduceMean", ["b"], ["m"], {"axes": [2, 3]}),
        ("Mul", ["m", "m"], ["square"]),
        ("Add", ["square", "tiny"], ["sum"]),
        ("Sqrt", ["sum"], ["root"]),
        ("Div", ["b", "root"], ["c"]),
    ]
    half = to_float16(convolutions(middle, [number("tiny", 1e-5)]))
    types = types_of(half)
    assert [types[name] for name in ("m", "square", "sum", "root")] == [FLOAT] * 4
    assert types["c"] == HALF


@pytest.mark.parametrize("value", [1e-12, 1e6])
def test_a_constant_that_float16_cannot_hold_keeps_its_node(value):
    half = to_float16(convolutions([("Max" if value < 1 else "Min", ["b", "limit"], ["c"])], [number("limit", value)]))
    assert types_of(half)["limit"] == FLOAT
    assert layer_types(half) == [FLOAT, HALF, HALF, FLOAT]


def test_a_constant_used_in_both_types_is_there_twice():
    middle = [("Mul", ["b", "two"], ["m"]), ("Exp", ["m"], ["o"]), ("Mul", ["o", "two"], ["s"]), ("Sqrt", ["s"], ["c"])]
    graph = convolutions(middle, [number("two", 0.5)])
    half = to_float16(graph)
    held = Counter(tensor.data_type for tensor in onnx.load_from_string(half).graph.initializer)
    assert held == {FLOAT: 3, HALF: 4}  # w1, w4 and 0.5; w2, its bias, w3 and 0.5
    np.testing.assert_allclose(answer(half)["y"], answer(graph)["y"], atol=5e-3)


def test_a_residual_network_is_not_taken_for_one_long_end():
    nodes = [("Conv", ["x", "w1"], ["a0"], {"pads": [1, 1, 1, 1]})]
    for block in range(3):
        nodes += [
            ("Conv", [f"a{block}", "w2"], [f"b{block}"], {"pads": [1, 1, 1, 1]}),
            ("Add", [f"a{block}", f"b{block}"], [f"s{block}"]),
            ("Relu", [f"s{block}"], [f"a{block + 1}"]),
        ]
    nodes += [("GlobalMaxPool", ["a3"], ["m"]), ("Flatten", ["m"], ["y"])]
    graph = model(nodes, [weights("w1", 6, 3, 3, 3), weights("w2", 6, 6, 3, 3)], outputs={"y": ["n", 6]})
    half = to_float16(graph)
    assert layer_types(half) == [FLOAT, HALF, HALF, FLOAT]
    np.testing.assert_allclose(answer(half)["y"], answer(graph)["y"], rtol=5e-3)


def test_an_output_within_the_graph_keeps_its_name_and_type():
    nodes = [
        ("Conv", ["x", "w1"], ["a"]),
        ("Conv", ["a", "w2"], ["b"]),
        ("Conv", ["b", "w2"], ["inner"]),
        ("Relu", ["inner"], ["c"]),
        ("Conv", ["c", "w2"], ["d"]),
        ("Flatten", ["d"], ["y"]),
    ]
    graph = model(nodes, [weights("w1", 6, 3, 3, 3), weights("w2", 6, 6, 1, 1)],
                  outputs={"inner": ["n", 6, 6, 6], "y": ["n", 216]})  # fmt: skip
    half = to_float16(graph)
    assert {name: types_of(half)[name] for name in ("inner", "y")} == {"inner": FLOAT, "y": FLOAT}
    for name, expected in answer(graph).items():
        np.testing.assert_allclose(answer(half)[name], expected, atol=2e-2)


def test_two_inputs_and_flags_and_integer_shapes():
    nodes = [
        ("Conv", ["x", "w1"], ["a"], {"pads": [1, 1, 1, 1]}),
        ("Conv", ["a", "w2"], ["b"], {"pads": [1, 1, 1, 1]}),
        ("Shape", ["b"], ["shape"]),
        ("Gather", ["shape", "zero"], ["n"]),
        ("Unsqueeze", ["n", "axis"], ["n1"]),
        ("Concat", ["n1", "rest"], ["target"], {"axis": 0}),
        ("Reshape", ["b", "target"], ["c"]),
        ("Mul", ["c", "flag"], ["d"]),
        ("MatMul", ["d", "w3"], ["e"]),
        ("MatMul", ["e", "w4"], ["y"]),
    ]
    constants = [weights("w1", 6, 3, 3, 3), weights("w2", 6, 6, 3, 3), weights("w3", 384, 8), weights("w4", 8, 4)]
    constants += [number("zero", 0, np.int64), number("axis", [0], np.int64), number("rest", [-1], np.int64)]
    graph = model(nodes, constants, inputs={"x": ["n", 3, 8, 8], "flag": ["n", 1]})
    half = to_float16(graph)
    assert layer_types(half) == [FLOAT, HALF, HALF, FLOAT]
    for batch in (1, 3):
        given = feeds(batch) | {"flag": np.ones((batch, 1), np.float32)}
        np.testing.assert_allclose(answer(half, given)["y"], answer(graph, given)["y"], atol=5e-3)


def test_a_recurrent_layer_stays_float32():
    """ONNX Runtime has no float16 GRU, and some graphs with one end its process."""
    nodes = [
        ("MatMul", ["x", "w1"], ["a"]),
        ("MatMul", ["a", "w2"], ["b"]),
        ("GRU", ["b", "wx", "wh", "wb"], ["s", ""], {"hidden_size": 4}),
        ("Squeeze", ["s", "axis"], ["t"]),
        ("MatMul", ["t", "w3"], ["u"]),
        ("MatMul", ["u", "w4"], ["v"]),
        ("ReduceMax", ["v"], ["y"], {"axes": [0], "keepdims": 0}),
    ]
    constants = [weights("w1", 3, 5), weights("w2", 5, 5), weights("w3", 4, 6), weights("w4", 6, 4)]
    constants += [weights("wx", 1, 12, 5), weights("wh", 1, 12, 4), weights("wb", 1, 24), number("axis", [1], np.int64)]
    graph = model(nodes, constants, inputs={"x": [7, "n", 3]})
    half = to_float16(graph)
    assert layer_types(half) == [FLOAT, HALF, FLOAT, HALF, FLOAT]
    given = {"x": np.random.default_rng(0).standard_normal((7, 2, 3), dtype=np.float32)}
    np.testing.assert_allclose(answer(half, given)["y"], answer(graph, given)["y"], atol=5e-3)


def test_constants_made_or_renamed_by_nodes_count_as_such():
    graph = onnx.load_from_string(convolutions())
    [w2] = [tensor for tensor in graph.graph.initializer if tensor.name == "w2"]
    graph.graph.initializer.remove(w2)
    w2.name = "value"
    graph.graph.node.insert(0, helper.make_node("Constant", [], ["made"], value=w2))
    graph.graph.node.insert(1, helper.make_node("Identity", ["made"], ["w2"]))
    half = to_float16(graph.SerializeToString())
    assert operators(half) == operators(to_float16(convolutions()))
    np.testing.assert_array_equal(answer(half)["y"], answer(to_float16(convolutions()))["y"])


def test_rounding_is_float16s_own():
    nodes = [
        ("MatMul", ["x", "one"], ["a"]),
        ("MatMul", ["a", "third"], ["b"]),
        ("Mul", ["b", "b"], ["c"]),
        ("Tanh", ["c"], ["d"]),
        ("MatMul", ["d", "one"], ["e"]),
        ("MatMul", ["e", "one"], ["y"]),
    ]
    constants = [number("one", [[1]]), number("third", [[1 / 3]])]
    half = to_float16(model(nodes, constants, inputs={"x": ["n", 1]}, outputs={"y": ["n", 1]}))
    x = np.random.default_rng(0).standard_normal((500, 1), dtype=np.float32)
    a = x.astype(np.float16).astype(np.float32)
    b = (a * np.float32(np.float16(1 / 3))).astype(np.float16).astype(np.float32)
    c = (b * b).astype(np.float16).astype(np.float32)
    d = np.tanh(c).astype(np.float16).astype(np.float32)
    got = answer(rounded(half), {"x": x})["y"]
    assert np.abs(got - d).max() <= 2**-11  # one unit in the last place, where tanh itself differs
    assert (got == d).mean() >= 0.99
    assert not np.array_equal(got, answer(half, {"x": x})["y"])


def test_rounding_overflows_as_float16_does():
    """ONNX Runtime by itself need not: it computes in float32 what it has no float16 operator for."""
    middle = [("Mul", ["b", "big"], ["m"]), ("Mul", ["m", "big"], ["o"]), ("Mul", ["o", "small"], ["c"])]
    half = to_float16(convolutions(middle, [number("big", 1e3), number("small", 1e-6)]))
    assert not np.isfinite(answer(rounded(half))["y"]).any()
    assert np.isfinite(answer(rounded(to_float16(convolutions())))["y"]).all()


def test_int8_is_near_float32_and_keeps_the_last_layer():
    graph = convolutions()
    given = [feeds(2, seed) for seed in range(8)]
    eight = to_int8(graph, iter(given))
    kinds = operators(eight)
    assert kinds["QuantizeLinear"] == kinds["DequantizeLinear"] >= 3 * 2
    nodes = onnx.load_from_string(eight).graph.node
    givers = {name: node.op_type for node in nodes for name in node.output}
    assert [givers.get(node.input[1]) for node in nodes if node.op_type == "Conv"] == ["DequantizeLinear"] * 3
    [last] = [node for node in nodes if node.op_type == "Gemm"]
    assert givers.get(last.input[1]) is None
    expected = answer(graph)["y"]
    difference = np.abs(answer(eight)["y"] - expected).max()
    assert 0 < difference <= 0.1 * np.abs(expected).max()
    for batch in (1, 2, 5):
        assert answer(eight, feeds(batch))["y"].shape == (batch, 4)


def test_int8_pairs_are_symmetric_and_weights_have_a_scale_a_channel():
    eight = onnx.load_from_string(to_int8(convolutions(), [feeds()]))
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in eight.graph.initializer}
    points = [held[node.input[2]] for node in eight.graph.node if node.op_type == "QuantizeLinear"]
    assert all(point.dtype == np.int8 and not point.any() for point in points)
    scales = {held[node.input[1]].shape for node in eight.graph.node if node.op_type == "QuantizeLinear"}
    assert scales == {(), (6,), (8,)}


def test_int8_knows_the_whole_range_of_all_feeds():
    small, large = feeds(1, 0), {"x": 100 * feeds(1, 1)["x"]}
    scales = []
    for given in ([small, large], [large, small], [small]):
        eight = onnx.load_from_string(to_int8(convolutions(), given))
        held = {tensor.name: numpy_helper.to_array(tensor) for tensor in eight.graph.initializer}
        [first] = [node for node in eight.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "x"]
        scales.append(float(held[first.input[1]]))
    assert scales[0] == scales[1] == pytest.approx(np.abs(large["x"]).max() / 127, rel=0.01)
    assert scales[2] == pytest.approx(np.abs(small["x"]).max() / 127, rel=0.01)


def test_the_same_graph_and_feeds_give_the_same_bytes():
    given = [feeds(1, seed) for seed in range(3)]
    assert to_int8(convolutions(), given) == to_int8(convolutions(), given)
    assert to_float16(convolutions()) == to_float16(convolutions())


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    to_int8(convolutions(), [feeds()])
    assert list(tmp_path.iterdir()) == []


def test_quantising_prints_nothing(capfd, caplog):
    to_int8(convolutions(), [feeds()])
    captured = capfd.readouterr()
    assert (captured.out, captured.err, caplog.records) == ("", "", [])


def test_a_network_of_two_layers_has_nothing_to_gain():
    graph = model([("Flatten", ["x"], ["f"]), ("Gemm", ["f", "w"], ["y"])], [weights("w", 192, 4)])
    with pytest.raises(BackendError, match="float16: expected layers that may be typed so between the first and the"):
        to_float16(graph)
    with pytest.raises(BackendError, match="int8: expected convolutions or matrix products besides the last one"):
        to_int8(graph, [feeds()])


def test_what_is_no_float32_graph_is_refused():
    for broken in (b"", b"no graph", convolutions()[:200]):
        with pytest.raises(BackendError, match="expected"):
            to_float16(broken)
        with pytest.raises(BackendError, match="expected"):
            to_int8(broken, [feeds()])
    eight = to_int8(convolutions(), [feeds()])
    for change in (to_float16, lambda graph: to_int8(graph, [feeds()])):
        with pytest.raises(BackendError, match="expected a float32 graph, got one of another precision"):
            change(eight)
    with pytest.raises(BackendError, match="int8: expected feeds to measure ranges on, got none"):
        to_int8(convolutions(), [])
