"""What the tests with a GPU compare, tried on a stand-in for the builder: none may fail for a reason of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support import ort_builder, stand_in
from support.every_network import trace
from support.gpu import batches_for, lack, worker_python
from support.gpu_parity import compare, label_agreement
from support.gpu_streams import check_fallback, shipped
from support.tensorrt_failures import FailingAfter

from engines.trt.driver import find_device


def test_cases_are_cut_into_batches() -> None:
    assert batches_for(8, 8) == (1, 7)
    assert batches_for(33, 32) == (1, 32)
    assert batches_for(20, 8) == (1, 8, 8, 3)
    assert batches_for(1, 8) == (1,)


@pytest.mark.slow
def test_a_network_is_compared_with_pytorch_and_with_its_own_graph() -> None:
    traced = trace("slim_av")
    exact = compare(traced, "float32", ort_builder.command())
    assert set(exact) == {"frame", "scene"}
    assert max(max(pair) for pair in exact.values()) <= 1e-5
    to_pytorch, to_onnxruntime = compare(traced, "int8", ort_builder.command())["scene"]
    assert 0 < to_pytorch <= 0.5
    assert to_onnxruntime == 0.0


def test_a_wrong_answer_is_seen() -> None:
    (to_pytorch, to_onnxruntime) = compare(trace("slim_audio"), "float32", ort_builder.command("--bias", 5))["scene"]
    assert to_pytorch > 0.1
    assert to_onnxruntime > 0.1


@pytest.mark.slow
@pytest.mark.usefixtures("no_recordings")
def test_labels_of_the_clip_are_counted(tmp_path: Path) -> None:
    assert label_agreement("float32", tmp_path, ort_builder.command()) == 1.0


@pytest.fixture
def no_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASCSTREAM_TEST_DATA", raising=False)


@pytest.mark.slow
def test_a_fallback_is_judged(tmp_path: Path) -> None:
    stand_in.build(shipped(), tmp_path / "plans")
    check_fallback(tmp_path / "plans", FailingAfter(6, stand_in.StandIn()), 6)


def test_without_a_gpu_the_reason_is_told() -> None:
    if find_device() is not None:
        pytest.skip("this machine has a CUDA device")
    if worker_python() == sys.executable:
        assert "missing: NVIDIA's driver" in str(lack())
