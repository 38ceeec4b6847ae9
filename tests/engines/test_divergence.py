"""Which tensor of a typed graph differs first: with ONNX Runtime on both sides, and errors put where they are known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import bundles

from engines.base import Array
from engines.bundle import open_bundle
from engines.divergence import Difference, Divergence, find_divergence, run_onnxruntime
from engines.errors import BackendError
from engines.precision import rounded, to_float16, to_int8

N, WIDTH = 4, 16
FEEDS = {"x": np.random.default_rng(1).standard_normal((N, WIDTH), dtype=np.float32)}


def layers(gains: Sequence[float], *, alter: int | None = None) -> bytes:
    """Products with weights one after the other, each of that gain; a column of layer `alter` is another one."""
    nodes: list[Any] = []
    constants = []
    rng = np.random.default_rng(7)
    for index, gain in enumerate(gains):
        weights = rng.standard_normal((WIDTH, WIDTH)) * gain / math.sqrt(WIDTH)
        if index == alter:
            weights[:, 0] += gain
        constants.append(numpy_helper.from_array(weights.astype(np.float32), f"w{index}"))
        source, target = (f"h{index - 1}" if index else "x"), (f"p{index}")
        nodes.append(helper.make_node("MatMul", [source, f"w{index}"], [target], f"layer_{index}"))
        last = index == len(gains) - 1
        nodes.append(helper.make_node("Relu", [target], ["y" if last else f"h{index}"], f"relu_{index}"))
    return model(nodes, constants)


def model(nodes: Sequence[Any], constants: Sequence[Any] = (), width: int = WIDTH) -> bytes:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width]) for name in "xy")
    graph = helper.make_graph(list(nodes), "graph", [x], [y], list(constants))
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def diverge(reference: bytes, typed: bytes, **options: Any) -> Divergence:
    feeds = options.pop("feeds", FEEDS)
    given = {"precision": "float16", "run_reference": run_onnxruntime, "run_typed": run_onnxruntime, **options}
    return find_divergence(reference, typed, feeds, **given)


def test_an_overflow_is_found_where_it_begins() -> None:
    graph = layers([1.0, 1e3, 1e3, 1e-6, 1.0])
    found = diverge(graph, rounded(to_float16(graph)))
    first = found.first[0]
    assert (first.tensor, first.operator, first.node) == ("p2", "MatMul", "layer_2")
    assert math.isinf(first.error)
    assert 65_504 < first.largest < 1e8
    assert found.worst == first
    assert found.n_compared == 10
    assert str(found).startswith(
        "first of 10 tensors: p2, which MatMul 'layer_2' gives, is NaN or infinite; in float32 it reaches "
    )


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    graph = layers([1.0] * 5)
    found = diverge(graph, rounded(to_float16(graph)))
    assert found.first == ()
    assert found.worst is not None
    assert 0 < found.worst.error < 0.01
    assert found.n_compared == 10
    assert str(found).startswith("none of 10 tensors is off by more than 2 %; most: ")


@pytest.mark.parametrize("layer", range(5))
def test_a_wrong_weight_is_found_in_its_layer(layer: int) -> None:
    found = diverge(layers([1.0] * 5), layers([1.0] * 5, alter=layer))
    assert (found.first[0].tensor, found.first[0].node) == (f"p{layer}", f"layer_{layer}")
    assert 0.02 < found.first[0].error < 10
    assert len(found.first) == min(5, 10 - 2 * layer)
    names = [f"{kind}{index}" for index in range(layer, 5) for kind in "ph"]
    assert [one.tensor for one in found.first] == [name if name != "h4" else "y" for name in names[:5]]


def test_the_threshold_may_be_set() -> None:
    graph = layers([1.0] * 5)
    typed = rounded(to_float16(graph))
    assert diverge(graph, typed, threshold=1e-9).first[0].tensor == "h0"  # the first layer stays float32
    assert diverge(graph, graph, threshold=1e-9).first == ()
    assert diverge(graph, layers([1.0] * 5, alter=0), threshold=100.0).first == ()


def test_float16_tensors_are_answered_in_float32() -> None:
    graph = layers([1.0] * 5)
    typed = to_float16(graph)
    seen: list[Mapping[str, Array]] = []

    def run(opened: bytes, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        seen.append(run_onnxruntime(opened, feeds))
        return seen[-1]

    found = diverge(graph, typed, run_typed=run)
    assert found.n_compared == 10
    assert {array.dtype.name for array in seen[0].values()} == {"float32"}
    assert {array.shape for array in seen[0].values()} == {(N, WIDTH)}


def test_int8_graphs_keep_the_names() -> None:
    graph = layers([1.0] * 5)
    found = diverge(graph, to_int8(graph, [FEEDS]), precision="int8")
    assert found.n_compared == 10
    assert found.first == ()


def test_axes_may_mean_anything() -> None:
    """Time before the batch, the batch within an axis, and what follows from a size alone."""
    three = numpy_helper.from_array(np.array([-1, 2, 3], np.int64), "three")
    flat = numpy_helper.from_array(np.array([-1, 3], np.int64), "flat")
    two = numpy_helper.from_array(np.array([-1, 6], np.int64), "two")

    def made(scale: float) -> bytes:
        half = numpy_helper.from_array(np.float32(scale), "half")
        nodes = [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Cast", ["shape"], ["sizes"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", ["x", "three"], ["cut"]),
            helper.make_node("Transpose", ["cut"], ["turned"], perm=[1, 0, 2]),
            helper.make_node("Mul", ["turned", "half"], ["scaled"], "scale"),
            helper.make_node("Transpose", ["scaled"], ["back"], perm=[1, 0, 2]),
            helper.make_node("Reshape", ["back", "flat"], ["flattened"]),
            helper.make_node("Reshape", ["flattened", "two"], ["y"]),
        ]
        return model(nodes, [three, flat, two, half], width=6)

    feeds = {"x": np.random.default_rng(1).standard_normal((N, 6), dtype=np.float32)}
    found = diverge(made(0.5), made(0.6), feeds=feeds)
    assert [one.tensor for one in found.first] == ["scaled", "back", "flattened", "y"]
    assert all(one.error == pytest.approx(0.2) for one in found.first)
    assert found.n_compared == 6  # not the sizes


def test_what_reads_well() -> None:
    difference = Difference("a", "Conv", "", 0.123456, 70_000.0)
    assert str(difference) == "a, which Conv gives, is off by 12.3 %; in float32 it reaches 7e+04"
    assert str(Divergence((), None, 0.02, 0)) == "none of 0 tensors is off by more than 2 %"


def test_what_is_no_graph() -> None:
    with pytest.raises(BackendError, match="expected an ONNX file, got something else"):
        diverge(b"text", b"text")


def test_a_bundles_graph(tmp_path: Path) -> None:
    """A bundle's own float32 graph against itself."""
    bundle = open_bundle(bundles.audio_visual(tmp_path))
    graph = bundle.read("scene.onnx")
    feeds = bundles.golden_feeds(bundle.manifest.inputs, bundle.manifest.window)
    found = diverge(graph, graph, feeds=feeds)
    assert found.n_compared > 8
    assert found.worst is not None
    assert found.worst.error == 0.0
