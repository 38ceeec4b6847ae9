"""The child that makes a plan, runs it and times it: `python -m engines.trt.worker [--module NAME] FOLDER`.

`exchange.py` says what is in the folder before and after. It runs as a process of its own, since TensorRT may take all
memory there is, or crash. Needs the standard library, numpy, tensorrt, and to run a plan pycuda or cuda-bindings.

* `--module tensorrt_rtx` takes TensorRT-RTX for TensorRT: where no device is, it compiles (`run` must be false then).
* It ends, and deletes what belongs to it in the folder, when its stdin is a pipe and whoever holds that is gone.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np

from engines.base import Array
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
"""What a report names where a plan was only built, on a machine without a device."""

_BUILT = 0.95
"""Share of the work that a build is, where the plan is run afterwards."""
_REPEATS = 3
"""How often a batch is run: a CUDA graph is captured the second time, and replayed the third."""


def main(words: Sequence[str] | None = None) -> int:
    """Do what a folder asks for; the exit status, after a last line on stderr where it is not 0."""
    parser = argparse.ArgumentParser(prog="python -m engines.trt.worker", description="Build, run and time a plan.")
    parser.add_argument("--module", default="tensorrt", help="what is imported as tensorrt")
    parser.add_argument("folder", type=Path, help="what engines/trt/exchange.py describes")
    given = parser.parse_args(words)
    _watch_parent(given.folder)
    try:
        _take_module(given.module)
        work(given.folder)
    except (EngineError, OSError, MemoryError, ImportError) as error:
        sys.stdout.flush()
        print(one_line(str(error) or type(error).__name__), file=sys.stderr, flush=True)  # noqa: T201
        return 1
    return 0


def work(folder: Path) -> None:
    """Build, run and time, as `request.json` says, and write what came of it.

    Raises:
        EngineError: The request makes no sense, the graph cannot be built, or the plan cannot be run.
        OSError: The folder cannot be read or written.
    """
    from engines.trt.driver import find_device

    request = read_request(folder)
    device = find_device()
    if device is None and request.run:
        raise BackendError(
            f"{request.graph}: expected a CUDA device to run a plan on, got none; type: ascstream doctor"
        )
    report = BuildReport(tensorrt=_version(), device=device or NO_DEVICE)
    if request.build:
        report = _build(folder, request, report)
    if request.run:
        report = _run(folder, request, report)
    write_report(folder, report)


def _build(folder: Path, request: Request, report: BuildReport) -> BuildReport:
    """Make the plan."""
    from dataclasses import replace

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


def _run(folder: Path, request: Request, report: BuildReport) -> BuildReport:
    """Run the cases, and time the plan with and without CUDA graphs."""
    from dataclasses import replace

    from engines.check import in_batches
    from engines.trt.runtime import open_plan

    cases = read_arrays(folder / CASES)
    plan = (folder / PLAN).read_bytes()
    latency: list[Latency] = []
    for cuda_graph in (False, True):
        begun = _BUILT if request.build else 0.0
        _say("running", begun + (1 - begun) * cuda_graph / 2)
        if not cuda_graph and not request.timed:
            continue
        with open_plan(
            plan, name=request.graph, precision=request.precision, cuda=request.cuda, cuda_graphs=cuda_graph
        ) as engine:
            if cuda_graph:
                answers = in_batches(
                    lambda feeds: _settled(engine, feeds), cases, tuple(engine.outputs), request.batches
                )
                write_arrays(folder / ANSWERS, answers)
                report = replace(
                    report, memory_bytes=engine.memory_bytes, n_layers=engine.n_layers, backend=engine.backend
                )
            if request.timed:
                latency += [_time(engine, cases, size.usual, request.timed, cuda_graph) for size in request.profiles]
    return replace(report, latency=tuple(latency))


def _settled(engine: TrtEngine, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Answers as they are once a CUDA graph is replayed: that is what streams get."""
    for _ in range(_REPEATS - 1):
        engine.infer(feeds)
    return engine.infer(feeds)


def _time(engine: TrtEngine, cases: Mapping[str, Array], batch: int, n: int, cuda_graph: bool) -> Latency:
    """Time calls with as many cases as a profile is tuned for."""
    from engines.check import measure

    feeds = {name: np.resize(array, (batch, *array.shape[1:])) for name, array in cases.items()}
    timing = measure(engine, feeds, n)
    return Latency(batch, cuda_graph, timing.p50_seconds, timing.p99_seconds, timing.n)


def _free_bytes(library: CudaLibrary) -> int:
    """Device memory that is free before anything is built."""
    from engines.trt.open_cuda import open_cuda

    cuda = open_cuda(library)
    try:
        with cuda.current():
            return cuda.free_bytes()
    finally:
        cuda.close()


def _take_module(name: str) -> None:
    """Import that module as tensorrt; whatever imports tensorrt afterwards gets it."""
    try:
        sys.modules["tensorrt"] = importlib.import_module(name)
    except Exception as error:
        raise BackendError(
            f"expected a TensorRT that can be imported, got {type(error).__name__}: {one_line(str(error))}; "
            "type: ascstream doctor"
        ) from error


def _version() -> str:
    """TensorRT's."""
    import tensorrt as trt

    return str(trt.__version__)


def _say(phase: str, fraction: float) -> None:
    """A line of progress; whoever read them may be gone."""
    line = json.dumps({"phase": one_line(phase), "fraction": round(fraction, 4)})
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)  # noqa: T201


def _watch_parent(folder: Path) -> None:
    """See to it that nothing goes on, and nothing is left, when whoever started this is gone."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # there may be no stdin
        number = sys.stdin.fileno()
        if stat.S_ISFIFO(os.fstat(number).st_mode):
            Thread(target=_wait_for_end, args=(number, folder), name="parent", daemon=True).start()


def _wait_for_end(number: int, folder: Path) -> None:
    """The thread: TensorRT works without Python's lock."""
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
