"""What a builder is given and what it returns: files in one folder, so that any program can take its place.

    python -m engines.trt.worker FOLDER

Before: `request.json`, `graph.onnx` (or `plan`, if one is only to be run), `cases.npz`, maybe `timing.cache`.
After:  `plan`, `answers.npz`, `timing.cache`, and last `report.json`, without which nothing else counts.

On stdout it reports progress as one JSON object per line: {"phase": "tactics", "fraction": 0.31}. stderr is its log;
if it exits with a code other than 0, the last line is the reason. `cases.npz` holds every input and `answers.npz` every
output, each by its name, as an array [n_cases, …].
"""

from __future__ import annotations

import json
import os
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np

from engines.base import Array
from engines.errors import BackendError, ManifestError, one_line
from engines.inside import open_inside
from engines.manifest import GraphName, Precision
from engines.schema import decode, encode, rule
from engines.trt.records import Device, Latency, Profile

REQUEST, GRAPH, PLAN, CASES, ANSWERS, TIMING, REPORT = (
    "request.json",
    "graph.onnx",
    "plan",
    "cases.npz",
    "answers.npz",
    "timing.cache",
    "report.json",
)
FILES = (REQUEST, GRAPH, PLAN, CASES, ANSWERS, TIMING, REPORT)
"""All file names that may occur."""
_MAX_REPORT_BYTES = 1 << 20
"""Reports are a few kilobytes; longer ones are cut off here, and are then no longer valid JSON."""
CudaLibrary = Literal["auto", "pycuda", "cuda-bindings"]
"""The library used to reach the driver; auto: pycuda if it is installed, else cuda-bindings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a builder is asked to do."""

    graph: GraphName = rule("a graph")
    """What error messages call the graph."""
    precision: Precision = rule("a precision")
    """Precision of the graph."""
    profiles: tuple[Profile, ...] = rule("a list of profiles")
    """Batch sizes to build for."""
    build: bool = rule("true or false", default=True)
    """Whether to build the plan, rather than only run the one in the folder."""
    run: bool = rule("true or false", default=True)
    """Whether to run the cases; False: only build."""
    batches: tuple[int, ...] = rule("a list of whole numbers", default=())
    """Batch sizes in which the cases are run, in order; they add up to the number of cases."""
    effort: int = rule("0 to 5", minimum=0, maximum=5, default=3)
    """How long TensorRT searches: its builder optimisation level."""
    workspace_bytes: int | None = rule("an integer number of bytes, or null", minimum=1 << 20, default=None)
    """Maximum memory that a kernel may use while it runs; None: half of what is free."""
    timed: int = rule("a whole number", minimum=0, default=500)
    """Calls to time each way; 0: none."""
    cuda: CudaLibrary = rule("auto, pycuda or cuda-bindings", default="auto")
    """The library used to reach the driver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What a builder reports."""

    tensorrt: str = rule("a version")
    """TensorRT's version."""
    device: Device = rule("an object")
    """Device it ran on."""
    build_seconds: float = rule("a duration in seconds", minimum=0, default=0.0)
    """How long the build took; 0 if nothing was built."""
    workspace_bytes: int = rule("an integer number of bytes", minimum=0, default=0)
    """Memory limit for a kernel while it runs."""
    memory_bytes: int = rule("an integer number of bytes", minimum=0, default=0)
    """Device memory that the plan needs."""
    n_layers: int = rule("a whole number", minimum=0, default=0)
    """Layers of the plan, as reported by TensorRT: about as many kernels are launched."""
    latency: tuple[Latency, ...] = rule("a list", default=())
    """Measured latencies."""
    backend: str = rule("a text", default="")
    """What ran the cases, for display: "TensorRT 10.3.0, Orin, float16, CUDA graph"."""


def write_request(folder: Path, request: Request) -> None:
    """Write `request.json`."""
    (folder / REQUEST).write_text(json.dumps(encode(request), indent=2), encoding="utf-8")


def read_request(folder: Path) -> Request:
    """Read `request.json`.

    Raises:
        ManifestError: It is not what this version reads.
        OSError: It cannot be read.
    """
    try:
        return decode(Request, json.loads((folder / REQUEST).read_bytes()))
    except json.JSONDecodeError as error:
        raise ManifestError(f"{REQUEST}: expected JSON, got: {error}") from None


def write_report(folder: Path, report: BuildReport) -> None:
    """Write `report.json`: the last thing a builder does."""
    (folder / REPORT).write_text(json.dumps(encode(report), indent=2), encoding="utf-8")


def read_report(folder: Path) -> BuildReport:
    """Read `report.json`.

    Raises:
        BackendError: There is none, or it is not what this version reads.
    """
    try:
        with open_file(folder / REPORT) as file:
            return decode(BuildReport, json.loads(file.read(_MAX_REPORT_BYTES)))
    except (OSError, ValueError, RecursionError, ManifestError) as error:
        raise BackendError(f"builder: expected a report of what was built, got: {_got(error)}") from None


def open_file(path: Path) -> IO[bytes]:
    """Open a file left by a builder, without following a link and without blocking.

    Raises:
        OSError: There is no such file, or it is not a regular one.
    """
    fd = open_inside(path.parent, path.name)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError("something else than a plain file")
    return os.fdopen(fd, "rb")


def _got(error: Exception) -> str:
    """What was found instead, without the path: its folder will be gone by the time the message is read."""
    return one_line(error.strerror if isinstance(error, OSError) and error.strerror else str(error))


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write `cases.npz` or `answers.npz`, readable by `np.load`; unlike with `np.savez`, arrays may have any name."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.ascontiguousarray(array), allow_pickle=False)


def read_arrays(path: Path) -> dict[str, Array]:
    """Read `cases.npz` or `answers.npz`.

    Raises:
        BackendError: There is none, or it is not an archive of plain arrays.
    """
    try:
        with open_file(path) as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # noqa: BLE001  (on a truncated archive, zipfile and numpy can raise almost anything)
        raise BackendError(f"builder: expected arrays in {path.name}, got: {_got(error)}") from None
