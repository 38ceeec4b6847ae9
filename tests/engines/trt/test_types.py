"""Calls of TensorRT are checked against its oldest and its newest bindings: a wrong one is seen by `make trt-types`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.tensorrt_tools import stubs

ROOT = Path(__file__).parents[3]
CALLS = """
import tensorrt as trt

def build(log: trt.ILogger, graph: bytes) -> trt.ICudaEngine:
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    trt.OnnxParser(network, log).parse(graph)
    config = builder.create_builder_config()
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeError
    config.builder_optimization_level = "five"
    builder.make_network(0)
    config.set_flag(trt.BuilderFlag.FP16)
    return trt.Runtime(log).deserialize_cuda_engine(plan)
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", ["10.3", "11.4"])
def test_wrong_calls_of_tensorrt_are_seen(version: str, tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="the runtime's own environment has none")
    found = stubs(version)
    (tmp_path / "calls.py").write_text(CALLS, encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--no-warn-unused-ignores", "--hide-error-context", "--no-error-summary"),
            *("--cache-dir", str(ROOT / ".mypy_cache" / f"tensorrt-{version}"), str(tmp_path / "calls.py")),
        ],
        env={**os.environ, "MYPYPATH": str(found)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line.partition("calls.py:")[2].partition(":") for line in done.stdout.splitlines()]
    seen = {int(line): message for line, _, message in errors}
    assert set(seen) == {12, 13, 15} | ({14} if version == "11.4" else set()), done.stdout
    assert "Incompatible types in assignment" in seen[12]
    assert '"Builder" has no attribute "make_network"' in seen[13]
    assert 'got "ICudaEngine | None", expected "ICudaEngine"' in seen[15]  # null pointers are told
    if version == "11.4":
        assert 'has no attribute "FP16"' in seen[14]  # precision is in the graph there, not in a flag
