"""A plan in use on a GPU: memory stays flat, CUDA graphs change nothing, an error ends no stream."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.every_network import trace
from support.gpu import ask_worker, build, require_gpu, require_gpu_here
from support.gpu_streams import check_fallback, shipped
from support.tensorrt_failures import FailingAfter

from engines.trt.build import build_plans
from engines.trt.driver import find_machine
from engines.trt.plans import PlanStore
from trainer.export.precisions import make_precision

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def plan() -> tuple[bytes, dict]:
    """slim_audio in float16, and cases."""
    require_gpu()
    traced = trace("slim_audio")
    graph = make_precision(traced.graphs, "float16", [])["scene"]
    feeds = dict(traced.graphs.golden["scene"].feeds)
    return build(graph, "scene", "float16", feeds).plan, feeds


def test_ten_thousand_inferences_leave_memory_as_it_was(plan: tuple[bytes, dict], tmp_path: Path) -> None:
    found = ask_worker("soak", *plan, tmp_path)
    assert found["n"] == 10_000
    assert found["device_growth"] == 0
    assert found["host_growth"] <= 1 << 20
    assert found["equal"]


def test_a_cuda_graph_gives_the_bits_of_a_stream(plan: tuple[bytes, dict], tmp_path: Path) -> None:
    found = ask_worker("graphs", *plan, tmp_path)
    assert found["differ"] == []
    assert found["backend"].endswith(", CUDA graphs")


def test_a_stream_goes_on_with_onnx_runtime_when_a_plan_fails(tmp_path: Path) -> None:
    require_gpu_here()
    bundle, machine = shipped(), find_machine()
    assert machine is not None
    build_plans(bundle, "float32", store=PlanStore(tmp_path / "plans"), machine=machine, timed=0)
    check_fallback(tmp_path / "plans", FailingAfter(6), 6)
