"""A graph to a plan: with TensorRT-RTX, real compiles by the real child."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from support.stand_in_builder import ROOT
from support.tensorrt_tools import rtx_python

from engines.bundle import open_bundle
from engines.errors import BackendError
from engines.manifest import Precision
from engines.precision import to_float16
from engines.trt.builder import BuildProgress, Built, run_builder
from engines.trt.compile import NO_DEVICE_WORKSPACE_BYTES
from engines.trt.exchange import Request
from engines.trt.records import profiles_of
from engines.trt.worker import NO_DEVICE

SHIPPED = ROOT / "ascstream" / "bundles" / "slim-audio"


def graph(*nodes: object, inputs: tuple[object, ...] = ("n", 4), domains: tuple[str, ...] = ()) -> bytes:
    """A graph from x to y."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, inputs) for name in "xy"]
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(name, 1) for name in domains)]
    made = helper.make_graph(list(nodes), "graph", values[:1], values[1:])
    return bytes(helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString())


def compiled(data: bytes, precision: Precision = "float32", **options: object) -> Built:
    """What the real child makes of a graph with TensorRT-RTX."""
    words = ["env", f"PYTHONPATH={ROOT}", str(rtx_python()), "-m", "engines.trt.worker", "--module", "tensorrt_rtx"]
    request = {"graph": "scene", "precision": precision, "profiles": profiles_of((1, 8)), "run": False}
    request |= {name: options.pop(name) for name in ("effort", "workspace_bytes") if name in options}
    given = {"command": words, "cases": {"x": np.zeros((8, 4), np.float32)}, **options}
    return run_builder(Request(**request), graph=data, **given)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_bundle_that_ships_compiles(precision: Precision) -> None:
    data = open_bundle(SHIPPED).read("scene.onnx")
    seen: list[BuildProgress] = []
    built = compiled(data if precision == "float32" else to_float16(data), precision, on_progress=seen.append)
    assert len(built.plan) > 10_000
    assert built.answers == {}
    assert built.report.device == NO_DEVICE
    assert built.report.build_seconds > 0
    assert built.report.workspace_bytes == NO_DEVICE_WORKSPACE_BYTES
    fractions = [one.fraction for one in seen]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1], seen[-1].phase) == (0.0, 1.0, "writing")


@pytest.mark.slow
def test_settings_reach_tensorrt_and_timings_come_and_go() -> None:
    relu = graph(helper.make_node("Relu", ["x"], ["y"]))
    built = compiled(relu, workspace_bytes=64 << 20, effort=0)
    assert built.report.workspace_bytes == 64 << 20
    assert built.timing
    again = compiled(relu, timing=built.timing)
    assert again.timing
    assert compiled(relu, timing=b"no timing cache").plan  # what TensorRT does not want is left out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            graph(helper.make_node("Frobnicate", ["x"], ["y"], "strange", domain="our.own"), domains=("our.own",)),
            "got Frobnicate in the node 'strange', an operator it does not know; export the graph without it",
        ),
        (
            graph(
                helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
                helper.make_node("Add", ["x", "h"], ["y"], "sum"),
            ),
            "got Add in the node 'sum': sum: ElementWiseOperation SUM must have same input types. But they are of "
            "types Float and Half; get a fresh copy of the bundle, or export it anew",
        ),
        (
            graph(helper.make_node("Relu", ["x"], ["y"]), inputs=("n", "m")),
            "scene: expected inputs whose first axis alone, the batch, is free, got x [-1, -1]; "
            "export the graph with fixed sizes",
        ),
        (b"", " can parse, got no inputs and outputs; get a fresh copy of the bundle, or export it anew"),
        (b"\xff\xff\xff", "scene: expected an ONNX graph, got bytes that are none"),
    ],
    ids=["unknown operator", "wrong types", "two free axes", "empty", "garbage"],
)
def test_graphs_that_tensorrt_does_not_take(data: bytes, message: str) -> None:
    with pytest.raises(BackendError) as caught:
        compiled(data)
    assert message in str(caught.value)
    assert str(caught.value).startswith("scene: expected ")


@pytest.mark.slow
def test_a_graph_that_was_cut() -> None:
    data = open_bundle(SHIPPED).read("scene.onnx")
    for end in (len(data) - 1, len(data) // 2, 100):
        with pytest.raises(BackendError, match=r"scene: expected an? .*graph"):
            compiled(data[:end])


@pytest.mark.slow
def test_a_compile_that_is_killed(tmp_path: Path) -> None:
    data = open_bundle(SHIPPED).read("scene.onnx")
    inner = ["env", f"PYTHONPATH={ROOT}", str(rtx_python()), "-m", "engines.trt.worker", "--module", "tensorrt_rtx"]
    words = ["sh", "-c", f'echo $$ > {tmp_path / "pid"}; exec "$@"', "sh", *inner]

    def kill(progress: BuildProgress) -> None:
        if progress.fraction < 1:
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

    with pytest.raises(BackendError, match=r"scene: the builder was killed \(signal 9\)"):
        compiled(data, command=words, on_progress=kill)
