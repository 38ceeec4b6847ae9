"""ONNX Runtime: it computes what the graph says, in any batch, says nothing by itself, and fails in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import bundles

from engines.base import TensorSpec
from engines.bundle import open_bundle
from engines.errors import BackendError, FeedError
from engines.manifest import Manifest, WindowSpec, input_shape
from engines.ort import OrtEngine


def model(*nodes: onnx.NodeProto, **constants: np.ndarray) -> onnx.ModelProto:
    """A product of x [n, 3] and ones, and further nodes."""
    constants = {"w": np.ones((3, 2), np.float32), **constants}
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), *nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def manifest_of(path: Path) -> Manifest:
    return open_bundle(path).manifest


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("shape", bundles.SHAPES)
def test_every_shape_of_system_gives_its_known_answer_in_any_batch(shape: str, n: int, tmp_path: Path) -> None:
    manifest = manifest_of(bundles.SHAPES[shape](tmp_path))
    rng = np.random.default_rng(n)
    feeds = {
        entry.name: rng.standard_normal((n, *input_shape(entry, manifest.window)), dtype=np.float32)
        for entry in manifest.inputs
    }
    expected = bundles.expected_logits(feeds, manifest.inputs)
    model = bundles.scene_graph(manifest.inputs, manifest.outputs, manifest.window)
    with OrtEngine(model, name="scene") as engine:
        answers = engine.infer(feeds)
    assert set(answers) == {output.name for output in manifest.outputs}
    for head, logits in answers.items():
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected[head], atol=2e-5)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_frame_graph_gives_its_known_embedding(n: int) -> None:
    images = np.random.default_rng(n).random((n, 3, 32, 48), dtype=np.float32)
    with OrtEngine(bundles.frame_graph()) as engine:
        answers = engine.infer({"image": images})
    np.testing.assert_allclose(answers["embedding"], bundles.expected_embedding(images), atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_engine_says_what_it_is(threads: int) -> None:
    with OrtEngine(model().SerializeToString(), name="scene", threads=threads, precision="float16") as engine:
        plural = "" if threads == 1 else "s"
        assert engine.backend == f"onnxruntime {onnxruntime.__version__} CPU, float16, {threads} thread{plural}"
        assert engine.name == "scene"
        assert engine.inputs == {"x": TensorSpec("x", "float32", ("n", 3))}
        assert engine.outputs == {"y": TensorSpec("y", "float32", ("n", 2))}
        np.testing.assert_array_equal(engine.infer({"x": np.ones((4, 3), np.float32)})["y"], np.full((4, 2), 3))


def n_threads() -> int:
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208


def test_one_thread_is_one_thread() -> None:
    with OrtEngine(model().SerializeToString()):
        before = n_threads()
        with OrtEngine(model().SerializeToString()):
            assert n_threads() == before
        with OrtEngine(model().SerializeToString(), threads=3) as engine:
            assert n_threads() == before + 2
            engine.infer({"x": np.ones((1, 3), np.float32)})
        del engine
    assert n_threads() == before


@pytest.mark.parametrize("threads", [0, -1, True, 1.0, "2"])
def test_a_number_of_threads_that_cannot_be(threads: int) -> None:
    with pytest.raises(BackendError) as caught:
        OrtEngine(model().SerializeToString(), threads=threads)
    assert str(caught.value) == f"threads: expected a whole number of at least 1, got {threads!r}"


def test_answers_belong_to_the_caller() -> None:
    with OrtEngine(model().SerializeToString()) as engine:
        first = engine.infer({"x": np.ones((1, 3), np.float32)})["y"]
        second = engine.infer({"x": np.zeros((1, 3), np.float32)})["y"]
    np.testing.assert_array_equal(first, [[3, 3]])
    np.testing.assert_array_equal(second, [[0, 0]])
    first[:] = 7
    np.testing.assert_array_equal(second, [[0, 0]])


def test_feeds_are_never_written_to() -> None:
    feed = np.ones((2, 3), np.float32)
    feed.setflags(write=False)
    with OrtEngine(model().SerializeToString()) as engine:
        engine.infer({"x": feed})


def test_feeds_are_checked_before_the_session_sees_them() -> None:
    with OrtEngine(model().SerializeToString()) as engine, pytest.raises(FeedError) as caught:
        engine.infer({"x": np.ones((1, 4), np.float32)})
    assert str(caught.value) == "x: expected float32 [n, 3], got float32 [1, 4]"


def test_a_closed_engine_is_not_used() -> None:
    engine = OrtEngine(model().SerializeToString(), name="scene")
    engine.close()
    engine.close()
    with pytest.raises(BackendError) as caught:
        engine.infer({"x": np.ones((1, 3), np.float32)})
    assert str(caught.value) == "scene: expected an open engine, got one that was closed"


def test_engines_in_several_threads_do_not_disturb_each_other() -> None:
    results: dict[int, float] = {}

    def work(value: int) -> None:
        with OrtEngine(model().SerializeToString()) as engine:
            for _ in range(50):
                results[value] = float(engine.infer({"x": np.full((1, 3), value, np.float32)})["y"][0, 0])

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {value: 3.0 * value for value in range(4)}


def edited(change: str) -> onnx.ModelProto:
    """A graph with something wrong."""
    broken = model()
    if change == "operator":
        broken = model(helper.make_node("Nope", ["x"], ["z"]))
    elif change == "version":
        broken.ir_version = 99
    elif change == "dangling":
        broken.graph.node[0].input[1] = "zz"
    elif change == "sequence":
        broken = model(helper.make_node("SequenceConstruct", ["x"], ["q"]))
        broken.graph.output.append(helper.make_tensor_sequence_value_info("q", TensorProto.FLOAT, None))
    return broken


CANNOT = "scene: expected a graph that ONNX Runtime can run, got: "
BROKEN = {
    "operator": f"{CANNOT}No Op registered for Nope with domain_version of 17",
    "version": f"{CANNOT}Unsupported model IR version: 99, max supported IR version: ",
    "dangling": f"{CANNOT}Invalid model. Node input 'zz' is not a graph input, initializer, or output of a previous",
    "sequence": "scene: expected tensors of numbers, got q: seq(tensor(float))",
}


@pytest.mark.parametrize(("change", "message"), BROKEN.items(), ids=BROKEN)
def test_a_broken_graph_is_refused_in_one_sentence(change: str, message: str) -> None:
    with pytest.raises(BackendError) as caught:
        OrtEngine(edited(change).SerializeToString(), name="scene")
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1
    assert ".cc:" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x00\x00\x00\x00ORTM" + bytes(100)], ids=["empty", "text", "ort"])
def test_bytes_that_are_no_graph_are_refused(data: bytes) -> None:
    with pytest.raises(BackendError, match=r"^scene: expected (an ONNX graph|a graph that ONNX Runtime can run), got"):
        OrtEngine(data, name="scene")


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "absolute"])
def test_weights_in_another_file_are_refused_though_the_file_is_there(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)  # where ONNX Runtime would look for it
    for place in (tmp_path, folder):
        (place / "weights.bin").write_bytes(np.ones((3, 2), np.float32).tobytes())
    graph = model()
    weights = graph.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    where = str(tmp_path / "weights.bin") if location == "absolute" else location
    for key, value in (("location", where), ("offset", "0"), ("length", "24")):
        weights.external_data.add(key=key, value=value)
    with pytest.raises(BackendError) as caught:
        OrtEngine(graph.SerializeToString(), name="scene")
    assert str(caught.value) == (
        "scene: expected a graph that carries its weights, got one that refers to another file; "
        "export it with external_data=False"
    )


def test_a_failure_while_running_is_one_sentence() -> None:
    graph = model(helper.make_node("Reshape", ["y", "shape"], ["z"]), shape=np.array([7, -1]))
    graph.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["a", "b"]))
    with OrtEngine(graph.SerializeToString(), name="scene") as engine, pytest.raises(BackendError) as caught:
        engine.infer({"x": np.ones((1, 3), np.float32)})
    assert str(caught.value).startswith("scene: ONNX Runtime failed: Non-zero status code returned while running Resha")
    assert len(str(caught.value).splitlines()) == 1


QUIET = """
import pathlib, sys
import numpy as np
from engines.errors import BackendError
from engines.ort import OrtEngine
model = pathlib.Path(sys.argv[1]).read_bytes()
with OrtEngine(model) as engine:
    engine.infer({"x": np.ones((1, 3), np.float32)})
try:
    OrtEngine(model[:-1])
except BackendError:
    print("still here", file=sys.stderr)
"""


def test_nothing_is_printed(tmp_path: Path) -> None:
    graph = model(unused=np.ones(3, np.float32))  # an initializer nobody uses is worth a warning to ONNX Runtime
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    run = subprocess.run(
        [sys.executable, "-c", QUIET, str(tmp_path / "model.onnx")], capture_output=True, text=True, check=True
    )
    assert (run.stdout, run.stderr) == ("", "still here\n")


def test_it_works_without_a_standard_error(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(model().SerializeToString())
    command = f'"{sys.executable}" -c "$0" "{tmp_path}/model.onnx" 2>&-'
    run = subprocess.run(["sh", "-c", command, QUIET], capture_output=True, text=True, check=True)
    assert run.stdout == "still here\n"  # Python prints there when there is no standard error


MISSING = """
import sys
sys.modules["onnxruntime"] = None
from engines.backends import load_engines
from engines.errors import BackendError
from engines.ort import OrtEngine
try:
    OrtEngine(b"")
except BackendError as error:
    print(error)
"""


def test_without_onnx_runtime_the_message_is_the_command() -> None:
    run = subprocess.run([sys.executable, "-c", MISSING], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("expected ONNX Runtime, which runs the networks, got: ")
    assert run.stdout.endswith("; type: pip install onnxruntime\n")


def test_importing_the_backend_does_not_import_onnx_runtime() -> None:
    code = "import sys, engines.ort, engines.backends, engines.check; print('onnxruntime' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_a_longer_window_is_another_graph(tmp_path: Path) -> None:
    manifest = manifest_of(bundles.mono_logmel(tmp_path, window=WindowSpec(2.0, 1.0)))
    with OrtEngine(open_bundle(tmp_path / "mono_logmel").read("scene.onnx")) as engine:
        assert engine.inputs["logmel"].shape[1:] == input_shape(manifest.inputs[0], manifest.window) == (1, 64, 98)
