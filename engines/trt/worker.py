"""The child process that builds a plan, runs and times it: `python -m engines.trt.worker [--module NAME] FOLDER`.

`exchange.py` defines the folder's contents before and after. It is a process of its own because TensorRT may use up all
memory, or crash. Needs the standard library, numpy, tensorrt, and pycuda or cuda-bindings to run a plan.

* `--module tensorrt_rtx` uses TensorRT-RTX as TensorRT: it compiles even without a device (`run` must then be false).
* If stdin is a pipe, the process ends when the other side closes it, and deletes its files in the folder.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from engines.base import Array, Engine
from engines.errors import BackendError, EngineError, one_line
from engines.trt.exchange import (
    ANSWERS,
    CASES,
    FILES,
    GRAPH,
    PLAN,
    TIMING,
    BuildReport,
    CudaLibrary,
    Request,
    read_arrays,
    read_request,
    write_arrays,
    write_report,
)
from engines.trt.records import Device, Latency

if TYPE_CHECKING:
    from engines.trt.runtime import TrtEngine

NO_DEVICE = Device("none", "0.0", integrated=False, memory_bytes=0, driver="none")
"""The device named in a report if a plan was only built, on a machine without a device."""

_BUILT = 0.95
"""Share of the work that building takes if the plan is run afterwards."""
_REPEATS = 3
"""How often a batch is run: a CUDA graph is captured at the second run, and replayed at the third."""
OpenPlan: TypeAlias = "Callable[..., TrtEngine]"
"""Type of `engines.trt.runtime.open_plan`."""


@dataclass(frozen=True, slots=True)
class Ran:
    """The result of running a plan."""

    answers: Mapping[str, Array]
    """Output name to array [n_cases, …]."""
    latency: tuple[Latency, ...]
    """One entry per profile, without and with CUDA graphs."""
    memory_bytes: int
    """Device memory that the plan takes."""
    n_layers: int
    """Layers of the plan."""
    backend: str
    """What ran it."""


def main(words: Sequence[str] | None = None) -> int:
    """Do what a folder's request asks; return the exit status. If it is not 0, stderr ends with the reason."""
    parser = argparse.ArgumentParser(prog="python -m engines.trt.worker", description="Build, run and time a plan.")
    parser.add_argument("--module", default="tensorrt", help="what is imported as tensorrt")
    parser.add_argument("folder", type=Path, help="what engines/trt/exchange.py describes")
    given = parser.parse_args(words)
    watch_parent(given.folder)
    try:
        work(given.folder, given.module)
    except (EngineError, OSError, MemoryError) as error:
        sys.stdout.flush()
        print(one_line(str(error) or type(error).__name__), file=sys.stderr, flush=True)  # noqa: T201
        return 1
    return 0


def work(folder: Path, module: str = "tensorrt") -> None:
    """Build, run and time, as `request.json` says, and write the results.

    Args:
        folder: The folder that `exchange.py` describes.
        module: The module imported as tensorrt, once the driver has answered.

    Raises:
        EngineError: The request is invalid, the graph cannot be built, or the plan cannot be run.
        OSError: The folder cannot be read or written.
    """
    from engines.trt.driver import find_device

    request = read_request(folder)
    device = find_device()
    if device is None and request.run:
        raise BackendError(
            f"{request.graph}: expected a CUDA device to run a plan on, got none; type: ascstream doctor"
        )
    report = BuildReport(tensorrt=_take_module(module), device=device or NO_DEVICE)
    if request.build:
        report = _build(folder, request, report)
    if request.run:
        from engines.trt.runtime import open_plan

        cases = read_arrays(folder / CASES)
        ran = run_cases(request, (folder / PLAN).read_bytes(), cases, open_plan, _say)
        write_arrays(folder / ANSWERS, ran.answers)
        report = replace(
            report,
            memory_bytes=ran.memory_bytes,
            n_layers=ran.n_layers,
            latency=ran.latency,
            backend=ran.backend,
        )
    write_report(folder, report)


def run_cases(
    request: Request,
    plan: bytes,
    cases: Mapping[str, Array],
    open_engine: OpenPlan,
    say: Callable[[str, float], object],
) -> Ran:
    """Time a plan without CUDA graphs, then with them; run the cases with them, as streams do.

    Args:
        request: Batches, profiles, number of calls to time.
        plan: The plan.
        cases: Input name to array [n_cases, …].
        open_engine: Loads the plan: `engines.trt.runtime.open_plan`.
        say: Called with the progress.

    Raises:
        EngineError: It cannot be loaded or run.
    """
    from engines.check import in_batches

    begun = _BUILT if request.build else 0.0
    options: dict[str, Any] = {"name": request.graph, "precision": request.precision, "cuda": request.cuda}
    latency: list[Latency] = []
    if request.timed:
        say("running", begun)
        with open_engine(plan, **options, cuda_graphs=False) as engine:
            latency += _time(engine, cases, request, cuda_graph=False)
    say("running with CUDA graphs", (1 + begun) / 2)
    with open_engine(plan, **options, cuda_graphs=True) as engine:
        names = tuple(engine.outputs)
        answers = in_batches(lambda feeds: _settled(engine, feeds), cases, names, request.batches)
        if request.timed:
            latency += _time(engine, cases, request, cuda_graph=True)
        return Ran(answers, tuple(latency), engine.memory_bytes, engine.n_layers, engine.backend)


def _build(folder: Path, request: Request, report: BuildReport) -> BuildReport:
    """Build the plan."""
    from engines.trt.compile import compile_graph

    share = _BUILT if request.run else 1.0
    timing = folder / TIMING
    built = compile_graph(
        (folder / GRAPH).read_bytes(),
        request,
        timing=timing.read_bytes() if timing.exists() else None,
        free_bytes=None if report.device == NO_DEVICE else _free_bytes(request.cuda),
        tell=lambda phase, fraction: _say(phase, share * fraction),
    )
    _say("writing", share)
    (folder / PLAN).write_bytes(built.plan)
    if built.timing is not None:
        timing.write_bytes(built.timing)
    return replace(report, build_seconds=built.seconds, workspace_bytes=built.workspace_bytes)


def _settled(engine: Engine, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Answers from the replayed CUDA graph, which is what streams get."""
    for _ in range(_REPEATS - 1):
        engine.infer(feeds)
    return engine.infer(feeds)


def _time(engine: Engine, cases: Mapping[str, Array], request: Request, *, cuda_graph: bool) -> list[Latency]:
    """Time calls with the batch size that each profile is tuned for, from host to host."""
    from engines.check import measure

    found = []
    for batch in (profile.usual for profile in request.profiles):
        feeds = {name: np.resize(array, (batch, *array.shape[1:])) for name, array in cases.items()}
        timing = measure(engine, feeds, request.timed)
        found.append(Latency(batch, cuda_graph, timing.p50_seconds, timing.p99_seconds, timing.n))
    return found


def _free_bytes(library: CudaLibrary) -> int:
    """Free device memory before anything is built."""
    from engines.trt.open_cuda import open_cuda

    cuda = open_cuda(library)
    try:
        with cuda.current():
            return cuda.free_bytes()
    finally:
        cuda.close()


def _take_module(name: str) -> str:
    """Import a module under the name tensorrt, for all later imports; return its version."""
    try:
        sys.modules["tensorrt"] = module = importlib.import_module(name)
        return str(module.__version__)
    except Exception as error:  # noqa: BLE001  (a binary of another CUDA can raise anything)
        raise BackendError(
            f"expected a TensorRT that can be imported, got {type(error).__name__}: {one_line(str(error))}; "
            "type: ascstream doctor"
        ) from None


def _say(phase: str, fraction: float) -> None:
    """Print a line of progress; the reader may be gone."""
    line = json.dumps({"phase": one_line(phase), "fraction": round(fraction, 4)})
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)  # noqa: T201


def watch_parent(folder: Path) -> None:
    """Make sure that nothing keeps running, and nothing is left, when the process that started this one is gone.

    Args:
        folder: The folder that `exchange.py` describes; its files are deleted, and then the folder if it is empty.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):  # there may be no stdin
        number = sys.stdin.fileno()
        if stat.S_ISFIFO(os.fstat(number).st_mode):
            Thread(target=_wait_for_end, args=(number, folder), name="parent", daemon=True).start()


def _wait_for_end(number: int, folder: Path) -> None:
    """Thread function; it runs during a build, since TensorRT releases Python's lock."""
    with contextlib.suppress(OSError):
        while os.read(number, 4096):
            pass
    for name in FILES:
        with contextlib.suppress(OSError):
            (folder / name).unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
