"""The child that builds and runs: what it needs, what it says where something is missing, how it runs cases."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from support import bundles
from support.stand_in_builder import ROOT

from engines.base import Array, Engine, TensorSpec
from engines.check import in_batches
from engines.ort import OrtEngine
from engines.trt.driver import find_device
from engines.trt.exchange import CASES, GRAPH, REPORT, REQUEST, Request, write_arrays, write_request
from engines.trt.records import profiles_of
from engines.trt.worker import run_cases

WANTED = Request(graph="scene", precision="float16", profiles=profiles_of((1, 8)), batches=(1, 2, 5), timed=10)


def worker(folder: Path, *words: str, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engines.trt.worker", *words, folder],
        cwd=ROOT,
        stdin=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.skipif(find_device() is not None, reason="there is a device")
def test_without_a_device_nothing_is_run(tmp_path: Path) -> None:
    write_request(tmp_path, WANTED)
    done = worker(tmp_path, "--module", "a_module_that_is_not_there")  # the driver is asked before anything is imported
    assert done.returncode == 1
    assert done.stderr == "scene: expected a CUDA device to run a plan on, got none; type: ascstream doctor\n"
    assert not (tmp_path / REPORT).exists()


def test_without_tensorrt_nothing_is_built(tmp_path: Path) -> None:
    write_request(tmp_path, Request(graph="scene", precision="float32", profiles=profiles_of((1,)), run=False))
    done = worker(tmp_path, "--module", "a_module_that_is_not_there")
    assert done.returncode == 1
    assert done.stderr == (
        "expected a TensorRT that can be imported, got ModuleNotFoundError: "
        "No module named 'a_module_that_is_not_there'; type: ascstream doctor\n"
    )


def test_a_folder_that_asks_for_nothing(tmp_path: Path) -> None:
    done = worker(tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        f"[Errno 2] No such file or directory: '{tmp_path / REQUEST}'\n",
    )
    (tmp_path / REQUEST).write_text('{"graph": "scene"}')
    assert worker(tmp_path).stderr == "precision: expected a precision, got nothing; the key is required\n"
    (tmp_path / REQUEST).write_text("no JSON")
    assert worker(tmp_path).stderr.startswith("request.json: expected JSON, got: ")


def test_when_nobody_waits_any_more_nothing_is_left(tmp_path: Path) -> None:
    """What hangs is a TensorRT whose import never ends; the pipe is closed before that."""
    folder, modules = tmp_path / "folder", tmp_path / "modules"
    folder.mkdir()
    modules.mkdir()
    (modules / "endless.py").write_text("import time\ntime.sleep(600)\n")
    write_request(folder, Request(graph="scene", precision="float32", profiles=profiles_of((1,)), run=False))
    (folder / GRAPH).write_bytes(b"graph")
    write_arrays(folder / CASES, {"x": np.zeros((1, 1), np.float32)})
    words = [sys.executable, "-m", "engines.trt.worker", "--module", "endless", folder]
    environment = {"PYTHONPATH": f"{ROOT}:{modules}"}
    process = subprocess.Popen(words, stdin=subprocess.PIPE, env=environment)
    assert process.stdin is not None
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(timeout=60) == 1
    assert not folder.exists()


def test_what_it_loads_is_there_on_a_jetson() -> None:
    """Standard library and numpy; whatever else is imported late, where it is needed."""
    script = (
        "import sys, json, engines.trt.worker, engines.trt.compile, engines.trt.driver, engines.trt.runtime, "
        "engines.trt.plan, engines.check\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names))))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name for name in json.loads(done.stdout) if not name.startswith(("_", "sitecustomize"))}
    assert loaded <= {"engines", "numpy"}


class Recorded(Engine):
    """Runs a graph in place of a plan, and notes what it was given."""

    memory_bytes = 3 << 20
    n_layers = 9

    def __init__(self, graph: bytes, cuda_graphs: bool, calls: list[tuple[bool, int]]) -> None:
        self._engine = OrtEngine(graph)
        self._graphs, self._calls = cuda_graphs, calls
        specs: Mapping[str, TensorSpec] = self._engine.inputs
        super().__init__("scene", "recorded", specs, self._engine.outputs)

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:
        self._calls.append((self._graphs, len(next(iter(feeds.values())))))
        return self._engine.infer(feeds)


@pytest.mark.parametrize("timed", [10, 0])
def test_cases_are_run_as_streams_will_be(timed: int, tmp_path: Path) -> None:
    path = bundles.mono_logmel(tmp_path)
    graph = (path / "scene.onnx").read_bytes()
    rng = np.random.default_rng(0)
    cases = {"logmel": rng.standard_normal((8, 1, 64, 48), dtype=np.float32)}
    calls: list[tuple[bool, int]] = []
    opened: list[tuple[bytes, dict[str, object]]] = []
    said: list[tuple[str, float]] = []

    def open_engine(plan: bytes, *, cuda_graphs: bool, **options: object) -> Recorded:
        opened.append((plan, options))
        return Recorded(graph, cuda_graphs, calls)

    request = Request(graph="scene", precision="float16", profiles=profiles_of((1, 8)), batches=(1, 2, 5), timed=timed)
    ran = run_cases(request, b"plan", cases, open_engine, lambda phase, fraction: said.append((phase, fraction)))  # type: ignore[arg-type]
    with OrtEngine(graph) as engine:
        wanted = in_batches(engine.infer, cases, ("fused",), (8,))
    np.testing.assert_allclose(ran.answers["fused"], wanted["fused"], atol=1e-6)
    assert (ran.memory_bytes, ran.n_layers, ran.backend) == (3 << 20, 9, "recorded")
    options = {"name": "scene", "precision": "float16", "cuda": "auto"}
    with_graphs = [size for graphs, size in calls if graphs]
    assert with_graphs[:9] == [1, 1, 1, 2, 2, 2, 5, 5, 5]  # the third call of a size replays what the second captured
    if not timed:
        assert opened == [(b"plan", options)]
        assert ran.latency == ()
        assert len(calls) == 9
        return
    assert opened == [(b"plan", options)] * 2
    assert [(entry.batch, entry.cuda_graph, entry.n) for entry in ran.latency] == [
        (1, False, 10),
        (8, False, 10),
        (1, True, 10),
        (8, True, 10),
    ]
    assert all(0 < entry.p50_seconds <= entry.p99_seconds for entry in ran.latency)
    assert said == [("running", 0.95), ("running with CUDA graphs", 0.975)]
