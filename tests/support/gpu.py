"""What the tests with a GPU run on: the Python that has TensorRT, which may be another one than this."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.base import Array
from engines.manifest import GraphName, Precision
from engines.trt.builder import BUILD_COMMAND, Built, run_builder
from engines.trt.exchange import Request
from engines.trt.records import profiles_of

ROOT = Path(__file__).parents[2]
_ASK = """
import sys
from engines.errors import BackendError
from engines.trt.driver import require_tensorrt
try:
    print(require_tensorrt().name)
except BackendError as error:
    sys.exit(str(error).splitlines()[0])
"""


def worker_python() -> str:
    """The worker's Python: `ASCSTREAM_TRT_PYTHON`, 3.10 or newer with NumPy 1.26 or newer, or this one."""
    return os.environ.get("ASCSTREAM_TRT_PYTHON", sys.executable)


@lru_cache(maxsize=1)
def lack() -> str | None:
    """Why nothing can run on a GPU here; None where it can."""
    done = subprocess.run(
        [worker_python(), "-c", _ASK], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no answer"])[-1]


def require_gpu() -> None:
    """Skip a test where there is no device, no driver, or no TensorRT, and say which."""
    if (why := lack()) is not None:
        pytest.skip(why)


def require_gpu_here() -> None:
    """The same, for tests whose own process, or the command line, runs the plans."""
    require_gpu()
    if worker_python() != sys.executable:
        pytest.skip("needs TensorRT in the Python that runs the tests; ASCSTREAM_TRT_PYTHON names another one")


def batches_for(n_cases: int, largest: int) -> tuple[int, ...]:
    """Sizes in which cases go through a plan: one, as many as fit, again and again, and what is left."""
    whole, rest = divmod(n_cases - 1, largest)
    return (1, *(largest,) * whole, *((rest,) if rest else ()))


def build(
    graph: bytes,
    part: GraphName,
    precision: Precision,
    cases: Mapping[str, Array],
    *,
    batches: tuple[int, ...] = (1, 8),
    command: Sequence[str] | None = None,
) -> Built:
    """Build a plan and run cases through it in the worker's process."""
    n_cases = len(next(iter(cases.values())))
    request = Request(
        graph=part,
        precision=precision,
        profiles=profiles_of(batches),
        batches=batches_for(n_cases, batches[-1]),
        timed=0,
    )
    return run_builder(request, graph=graph, cases=cases, command=command or (worker_python(), *BUILD_COMMAND[1:]))


def ask_worker(task: str, plan: bytes, cases: Mapping[str, Array], folder: Path) -> dict[str, Any]:
    """Have gpu_worker.py do something with a plan; what it found."""
    (folder / "plan").write_bytes(plan)
    np.savez(folder / "cases.npz", **cases)
    done = subprocess.run(
        [worker_python(), ROOT / "tests" / "support" / "gpu_worker.py", task, folder],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
