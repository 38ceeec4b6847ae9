"""From a bundle to engines: which backend, which precision, and whether the graphs are what the manifest says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import bundles

from engines.backends import backends, load_engines
from engines.bundle import open_bundle
from engines.errors import BackendError, BundleError
from engines.manifest import GraphSpec


@pytest.mark.parametrize("shape", bundles.SHAPES)
def test_every_shape_of_bundle_loads(shape: str, tmp_path: Path) -> None:
    bundle = open_bundle(bundles.SHAPES[shape](tmp_path))
    with load_engines(bundle) as engines:
        assert set(engines.scene.inputs) == {entry.name for entry in bundle.manifest.inputs}
        assert (engines.frame is not None) == ("frame.onnx" in bundle.manifest.files)
        assert engines.backend == f"onnxruntime {onnxruntime.__version__} CPU, float32, 1 thread"
        assert engines.precision == "float32"


def test_closing_closes_both(tmp_path: Path) -> None:
    with load_engines(open_bundle(bundles.audio_visual(tmp_path)), threads=2) as engines:
        assert engines.backend.endswith("float32, 2 threads")
    assert engines.frame is not None
    for engine in (engines.scene, engines.frame):
        with pytest.raises(BackendError, match="expected an open engine, got one that was closed"):
            engine.infer({})


def test_the_backends_there_are() -> None:
    assert backends() == ("auto", "onnxruntime", "tensorrt")


def test_a_backend_there_is_not(tmp_path: Path) -> None:
    bundle = open_bundle(bundles.mono_logmel(tmp_path))
    with pytest.raises(BackendError) as caught:
        load_engines(bundle, backend="onnx")
    assert str(caught.value) == "backend: expected one of auto, onnxruntime, tensorrt, got 'onnx'"


def test_a_precision_the_bundle_does_not_hold(tmp_path: Path) -> None:
    path = bundles.mono_logmel(tmp_path)
    with pytest.raises(BundleError) as caught:
        load_engines(open_bundle(path), precision="int8")
    assert str(caught.value) == "bundle mono_logmel holds float32 only; drop --precision int8"


def test_a_precision_only_one_graph_has(tmp_path: Path) -> None:
    graphs = [
        GraphSpec("scene", {"float32": "scene.onnx", "float16": "scene.onnx"}),
        GraphSpec("frame", {"float32": "frame.onnx"}),
    ]
    path = bundles.audio_visual(tmp_path, graphs=graphs)
    with pytest.raises(BundleError) as caught:
        load_engines(open_bundle(path), precision="float16")
    assert str(caught.value) == "bundle audio_visual holds float32 only; drop --precision float16"


def test_an_altered_graph_is_not_loaded(tmp_path: Path) -> None:
    path = bundles.mono_logmel(tmp_path)
    (path / "scene.onnx").write_bytes(bundles.frame_graph())
    with pytest.raises(BundleError, match=r"scene.onnx: expected \d+ bytes, got \d+"):
        load_engines(open_bundle(path))


def test_a_graph_that_is_none_is_refused(tmp_path: Path) -> None:
    path = bundles.mono_logmel(tmp_path, scene=b"text")
    with pytest.raises(BackendError) as caught:
        load_engines(open_bundle(path))
    assert str(caught.value) == "scene: expected an ONNX graph, got bytes that are none; get or export it anew"


def scene(
    logmel: tuple[Any, ...] = ("n", 1, 64, 48),
    fused: tuple[Any, ...] = ("n", 10),
    *,
    element: int = TensorProto.FLOAT,
    names: tuple[str, str] = ("logmel", "fused"),
    more: bool = False,
) -> bytes:
    """A scene graph that fits `mono_logmel`, but for what is changed."""
    taken, given = names
    values = int(np.prod([size for size in logmel[1:] if isinstance(size, int)]))
    width = fused[-1] if isinstance(fused[-1], int) else 10
    weights = np.zeros((values, width), helper.tensor_dtype_to_np_dtype(element))
    nodes = [
        helper.make_node("Flatten", [taken], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], [given]),
    ]
    inputs = [helper.make_tensor_value_info(taken, element, logmel)]
    if more:
        inputs.append(helper.make_tensor_value_info("gain", element, ["n"]))
        nodes.append(helper.make_node("Identity", ["gain"], ["unused"]))
    outputs = [helper.make_tensor_value_info(given, element, fused)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


IN, OUT = "input logmel float32 [n, 1, 64, 48]", "output fused float32 [n, 10]"
FREE = "n must be free: export the graph and its manifest together"
MISFITS = {
    "bands": (scene(("n", 1, 40, 48)), f"{IN}, the graph has float32 [n, 1, 40, 48]; {FREE}"),
    "rank": (scene(("n", 64, 48)), f"{IN}, the graph has float32 [n, 64, 48]; {FREE}"),
    "batch": (scene((1, 1, 64, 48), (1, 10)), f"{IN}, the graph has float32 [1, 1, 64, 48]; {FREE}"),
    "element": (
        scene(element=TensorProto.DOUBLE),
        f"{IN}, the graph has float64 [n, 1, 64, 48]; {FREE}",
    ),
    "labels": (scene(fused=("n", 11)), f"{OUT}, the graph has float32 [n, 11]; {FREE}"),
    "input name": (scene(names=("mel", "fused")), f"{IN}, the graph has mel float32 [n, 1, 64, 48]"),
    "output name": (scene(names=("logmel", "logits")), f"{OUT}, the graph has logits float32 [n, 10]"),
}


@pytest.mark.parametrize(("graph", "message"), MISFITS.values(), ids=MISFITS)
def test_a_graph_that_does_not_fit_its_manifest_names_both_sides(graph: bytes, message: str, tmp_path: Path) -> None:
    path = bundles.mono_logmel(tmp_path, scene=graph)
    with pytest.raises(BundleError) as caught:
        load_engines(open_bundle(path))
    assert str(caught.value) == f"{path}: graph 'scene': the manifest says {message}"


def test_an_input_the_manifest_does_not_know(tmp_path: Path) -> None:
    path = bundles.mono_logmel(tmp_path, scene=scene(more=True))
    with pytest.raises(BundleError) as caught:
        load_engines(open_bundle(path))
    assert str(caught.value) == (
        f"{path}: graph 'scene': expected the inputs the manifest names, logmel, got one more: gain float32 [n]"
    )


def test_a_graph_that_leaves_sizes_open_fits(tmp_path: Path) -> None:
    path = bundles.mono_logmel(tmp_path, scene=scene(("batch", 1, "bands", "hops"), ("batch", "labels")))
    with load_engines(open_bundle(path)) as engines:
        assert engines.scene.inputs["logmel"].shape == ("batch", 1, "bands", "hops")


def test_a_frame_graph_that_does_not_fit(tmp_path: Path) -> None:
    path = bundles.audio_visual(tmp_path, frame=bundles.frame_graph(height=64))
    with pytest.raises(BundleError) as caught:
        load_engines(open_bundle(path))
    assert str(caught.value) == (
        f"{path}: graph 'frame': the manifest says input image float32 [n, 3, 32, 48], "
        f"the graph has float32 [n, 3, 64, 48]; {FREE}"
    )
