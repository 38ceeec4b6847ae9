"""The GPU benchmark as far as it goes without a GPU: what it counts, plans and prints, and what it says without one."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import ort_builder
from support.every_network import trace

from benchmarks import gpu, gpu_part
from benchmarks.gpu_floor import Ceilings, Cost, cost_of
from engines.trt.driver import find_device
from trainer.models.ours import OURS
from trainer.models.reference import REFERENCES

LIMITS = Ceilings(2e12, {"float32": 50e12, "float16": 500e12}, {1: 5e-6, 10: 14e-6, 100: 104e-6})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slim_audio", "cp_mobile", "se_audio", "slim_av"])
def test_multiplications_of_the_graphs_are_those_of_the_network(name: str) -> None:
    record = {**REFERENCES, **OURS}[name]
    graphs = trace(name).graphs.graphs
    costs = [cost_of(graph) for graph in graphs.values()]
    assert sum(cost.macs for cost in costs) == record.macs  # slim_av looks at one frame a window
    assert sum(cost.weights for cost in costs) == pytest.approx(
        record.parameters, rel=0.03
    )  # normalisations are folded


def test_a_floor_is_the_longer_of_moving_and_multiplying() -> None:
    light, heavy = Cost(1000, 1_000_000, 500), Cost(15_350_000_000, 14_714_688, 151_040)
    assert light.bytes("float16", 2) == 2_000_000 + 4 * 2 * 500
    assert LIMITS.floor_seconds(light, "float32", 1) == pytest.approx(4_002_000 / 2e12)
    assert LIMITS.floor_seconds(heavy, "float32", 5) == pytest.approx(2 * 5 * 15.35e9 / 50e12)
    assert LIMITS.floor_seconds(heavy, "int8", 5) == LIMITS.floor_seconds(heavy, "float32", 5)  # was not measured


@pytest.mark.parametrize(("n_kernels", "microseconds"), [(1, 5), (10, 14), (55, 59), (100, 104), (200, 208)])
def test_the_launch_floor_lies_between_what_was_measured(n_kernels: int, microseconds: float) -> None:
    assert LIMITS.launch_floor(n_kernels) == pytest.approx(microseconds / 1e6)


def test_a_run_measures_the_device_then_every_network_then_a_tick() -> None:
    parts = gpu.plan(["shipped", "slim_av"])
    assert parts[:2] == [("ceilings", "device"), ("export", "shipped")]
    assert ("max-autotune", "shipped") not in parts
    assert ("max-autotune", "slim_av") in parts
    assert parts[-1] == ("tick", "slim_av")
    assert {kind for kind, _ in parts} <= set(gpu_part.KINDS)
    assert ("tick", "slim_av") not in gpu.plan(["slim_audio"])


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    path = gpu.result_of(tmp_path, "pytorch", "slim_audio")
    assert not gpu.is_done(path, again=False)
    path.parent.mkdir()
    path.write_text('{"rows": []}')
    assert gpu.run_part(tmp_path, "pytorch", "slim_audio", again=True) == "was measured"
    path.write_text('{"error": "1: out of memory"}')
    assert gpu.is_done(path, again=False)
    assert not gpu.is_done(path, again=True)


def test_a_part_that_fails_leaves_its_reason(tmp_path: Path) -> None:
    said = gpu.run_part(tmp_path, "onnxruntime", "slim_audio", again=False)
    result = json.loads(gpu.result_of(tmp_path, "onnxruntime", "slim_audio").read_text())
    assert said == result.get("error", "measured")
    assert "error" in result or "CUDA" in result["failed"]["all"]


@pytest.mark.slow
def test_windows_of_the_clip_go_through_the_bundle_that_ships_and_into_the_tables(tmp_path: Path) -> None:
    folder = tmp_path / "shipped"
    folder.mkdir()
    exported = gpu_part.export("shipped", folder)
    assert exported["n"] > 300
    assert exported["costs"]["scene"]["macs"] == pytest.approx(OURS["slim_audio"].macs, rel=1e-3)  # and a little fusion
    assert exported["costs"]["frame"]["macs"] == pytest.approx(OURS["slim_visual"].macs, rel=1e-3)  # nine labels
    assert exported["precisions"] == ["float32", "float16", "int8"]
    assert len(exported["seen"]["frames"]) == exported["n"] == max(exported["seen"]["frames"]) + 1  # a frame each
    (folder / "export.json").write_text(json.dumps(exported))
    built = gpu_part.tensorrt("int8", ort_builder.command())("shipped", folder)
    assert built["graphs"]["scene"]["cases"] == built["graphs"]["frame"]["cases"] == exported["n"]
    assert 0.9 <= built["graphs"]["scene"]["agreement"] <= 1  # by ONNX Runtime: the stand-in
    assert 0.9 <= built["graphs"]["scene"]["every_head"] <= built["graphs"]["scene"]["agreement"]
    assert built["graphs"]["frame"]["agreement"] is None
    assert 0 < built["graphs"]["frame"]["max_difference"] <= 0.3
    built["graphs"]["scene"]["every_head"] = 0.875  # as of a head that is near ties more often
    (folder / "tensorrt-int8.json").write_text(json.dumps(built))
    results = gpu.collect(tmp_path)
    text = "\n".join(gpu.tables(results))
    assert f"| labels of the bundle that ships, int8 | {built['graphs']['scene']['agreement']:.2%} | ≥ 99 % |" in text
    assert "| labels of the bundle that ships, float16 | not measured | ≥ 99.9 % |" in text
    assert "| scene | 1 | TensorRT int8, CUDA graph | 0.375 ms | 1.500 ms |  |  |" in text
    assert "| frame | 1 | TensorRT int8, CUDA graph | 0.375 ms | 1.500 ms |  |  |" in text
    assert "of the worst head 87.50%" in text


@pytest.mark.slow
def test_what_the_plan_of_the_frames_gives_reaches_the_scene(tmp_path: Path) -> None:
    exported = gpu_part.export_shipped(tmp_path)
    (tmp_path / "export.json").write_text(json.dumps(exported))
    with np.load(tmp_path / "frame.npz") as archive:
        np.savez(tmp_path / "frame.npz", image=archive["image"][::-1])  # the plan is shown other frames
    built = gpu_part.tensorrt("float32", ort_builder.command())("shipped", tmp_path)
    assert built["graphs"]["frame"]["max_difference"] == 0
    assert built["graphs"]["scene"]["max_difference"] > 0.1


def test_a_window_without_a_picture_keeps_its_zeros() -> None:
    array = np.zeros((3, 1, 2), np.float32)
    given = gpu_part.with_embeddings(array, [1, -1, 0], np.array([[1, 2], [3, 4]], np.float32))
    assert given.tolist() == [[[3, 4]], [[0, 0]], [[1, 2]]]


def test_tables_give_ratios_and_figures() -> None:
    rows = [gpu_part.row("scene", "TensorRT float16, CUDA graph", 1, 20e-6, 30e-6)]
    eager = [gpu_part.row("scene", "PyTorch eager", 1, 1e-3, 2e-3)]
    graph = {"tensorrt": "10.3.0", "device": "Invented", "layers": 10, "build_seconds": 9.0, "memory_bytes": 1e6}
    graph |= {"max_difference": 0.001, "agreement": 1.0, "cases": 33}
    results = {
        "device": {"ceilings": {**vars(LIMITS), "device": "Invented"}},
        "slim_audio": {
            "export": {"costs": {"scene": vars(Cost(4_085_792, 83_644, 3082))}},
            "tensorrt-float16": {"rows": rows, "graphs": {"scene": graph}},
            "pytorch": {"rows": eager, "failed": {"scene, 1, CUDA-graph": "RuntimeError: no"}},
        },
    }
    text = "\n".join(gpu.tables(results))
    assert "Invented: copies 2,000 GB/s, multiplies float32 50, float16 500 TFLOP/s" in text
    assert "PyTorch eager | 50.00 × | ≥ 5 × |" in text
    assert "| `slim_audio` by as many empty kernels | 1.43 × | ≤ 1.5 × |" in text
    assert "| scene | 1 | TensorRT float16, CUDA graph | 0.020 ms | 0.030 ms | 50.00 | 1.4 |" in text
    assert "pytorch, scene, 1, CUDA-graph: RuntimeError: no" in text
    assert "10 layers, built in 9.0 s, 1 MB, TensorRT 10.3.0; 33 cases: differs by 0.001, labels agree 100.00%" in text


def test_agreement_is_of_labels_and_of_embeddings_by_their_size() -> None:
    logits = np.array([[0.0, 1.0], [2.0, 0.0]], np.float32)
    wrong = {"max_difference": 2.0, "agreement": 0.0, "every_head": 0.0}
    assert gpu_part.agreement({"fused": logits}, {"fused": logits[::-1]}) == wrong
    other = gpu_part.agreement({"fused": logits, "audio": logits}, {"fused": logits, "audio": logits[::-1]})
    assert other == {"max_difference": 2.0, "agreement": 1.0, "every_head": 0.0}
    embedding = {"embedding": np.array([[10.0, -20.0]], np.float32)}
    given = {"embedding": np.array([[10.0, -20.5]], np.float32)}
    assert math.isclose(gpu_part.agreement(embedding, given)["max_difference"], 0.025)


def test_without_a_gpu_it_says_what_is_missing() -> None:
    if find_device() is not None:
        pytest.skip("this machine has a CUDA device")
    script = Path(gpu.__file__)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "missing: NVIDIA's driver" in done.stderr
    assert "Traceback" not in done.stderr


def python_that(says: str, folder: Path) -> str:
    """A program in place of a Python that has TensorRT."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o700)
    return str(program)


def test_the_python_that_has_tensorrt_is_the_one_that_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASCSTREAM_TRT_PYTHON", python_that("echo Invented, driver 1.2", tmp_path))
    (tmp_path / "folder").mkdir()
    words = ["gpu.py", "--folder", str(tmp_path / "folder"), "--kinds", "tick", "--", "slim_audio"]
    monkeypatch.setattr(sys, "argv", words)  # a part that this network has not: nothing is measured
    assert gpu.main() == 0
    assert capsys.readouterr().out.startswith("Invented, driver 1.2\n")


def test_a_python_without_tensorrt_is_named_with_its_reason(tmp_path: Path) -> None:
    program = python_that("echo Traceback >&2; echo 'ImportError: no numpy' >&2; exit 1", tmp_path)
    assert gpu.ask(program) == (False, f"{program}: ImportError: no numpy")
    program = python_that("printf 'missing: tensorrt\\n  type: this\\n' >&2; exit 4", tmp_path)
    assert gpu.ask(program) == (False, "missing: tensorrt\n  type: this")
    absent = str(tmp_path / "absent")
    assert gpu.ask(absent) == (
        False,
        f"{absent}: expected a Python that has TensorRT, got: No such file or directory",
    )


def test_a_tick_without_tensorrt_in_this_python_says_so(tmp_path: Path) -> None:
    if find_device() is not None:
        pytest.skip("this machine has a CUDA device")
    assert "needs TensorRT" in gpu_part.tick(gpu_part.TICK, tmp_path)["error"]
