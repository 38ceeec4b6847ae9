"""Runs a plan for a test on the Python that has TensorRT: standard library, NumPy and engines only, Python 3.10.

    python tests/support/gpu_worker.py soak|graphs FOLDER

The folder holds `plan` and `cases.npz`; what was found is printed as a JSON object, on one line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engines.base import Engine

WARM_UP, INFERENCES = 500, 10_000


def main() -> None:
    task, folder = sys.argv[1], Path(sys.argv[2])
    with np.load(folder / "cases.npz", allow_pickle=False) as archive:
        cases = {name: archive[name] for name in archive.files}
    print(json.dumps(TASKS[task]((folder / "plan").read_bytes(), cases)))


def soak(plan: bytes, cases: dict[str, np.ndarray]) -> dict[str, Any]:
    """Ten thousand inferences, and what memory they left taken."""
    from engines.trt.open_cuda import open_cuda
    from engines.trt.runtime import open_plan

    with open_plan(plan, name="scene", precision="float16") as engine:
        cuda = open_cuda()

        def free() -> int:
            with cuda.current():
                return cuda.free_bytes()

        answers = infer_many(engine, cases, WARM_UP)
        before = {"device": free(), "host": resident_bytes()}
        same = infer_many(engine, cases, INFERENCES)
        after = {"device": free(), "host": resident_bytes()}
        cuda.close()
    equal = all(np.array_equal(answers[name], same[name]) for name in answers)
    return {
        "device_growth": before["device"] - after["device"],
        "host_growth": after["host"] - before["host"],
        "equal": equal,
        "n": INFERENCES,
    }


def infer_many(engine: Engine, cases: dict[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
    """The answer to the first case, after n calls with one case each."""
    feeds = [{name: array[index : index + 1] for name, array in cases.items()} for index in range(4)]
    for index in range(n - 1):
        engine.infer(feeds[(index + 1) % 4])
    return engine.infer(feeds[0])


def resident_bytes() -> int:
    """Memory of this process alone."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def graphs(plan: bytes, cases: dict[str, np.ndarray]) -> dict[str, Any]:
    """Whether a CUDA graph and a stream give the same bits: batches that come again, change, and come back."""
    from engines.trt.runtime import open_plan

    differ = []
    with (
        open_plan(plan, name="scene", precision="float16", cuda_graphs=False) as stream,
        open_plan(plan, name="scene", precision="float16") as recorded,
    ):
        for call, batch in enumerate((1, 1, 1, 8, 8, 8, 3, 1, 1, 3, 3, 3, 8)):
            feeds = {name: np.roll(array, call, axis=0)[:batch] for name, array in cases.items()}
            expected, got = stream.infer(feeds), recorded.infer(feeds)
            differ += [f"call {call}, {name}" for name in expected if not np.array_equal(expected[name], got[name])]
    return {"differ": differ, "backend": recorded.backend}


TASKS: dict[str, Callable[[bytes, dict[str, np.ndarray]], dict[str, Any]]] = {"soak": soak, "graphs": graphs}

if __name__ == "__main__":
    main()
