"""Manage the process that builds or runs a plan: start it, follow it, end it, and check the files it wrote.

Nothing from TensorRT or CUDA is imported here. `exchange.py` defines the folder's contents, `worker.py` is what runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Thread
from typing import IO, TypeAlias

import numpy as np

from engines.base import Array
from engines.child_process import command_of
from engines.errors import BackendError, one_line
from engines.manifest import GraphName, Precision
from engines.trt.exchange import (
    ANSWERS,
    CASES,
    GRAPH,
    PLAN,
    TIMING,
    BuildReport,
    Request,
    open_file,
    read_arrays,
    read_report,
    write_arrays,
    write_request,
)

BUILD_COMMAND = command_of("engines.trt.worker")
"""The command to start, to which the folder is appended; any program that follows `exchange.py` can replace it."""
MORE_MEMORY = (
    "close other programs, or add swap: "
    "sudo fallocate -l 8G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon /swapfile"
)
"""Advice if memory is short."""

_LOG_BYTES = 1 << 13
"""How much of the end of a builder's log is kept."""
_LINE_BYTES = 1 << 16
"""Maximum length of a line of progress that is read at once."""
_KILLED = (-9, 137)
"""Exit status of a killed process, and that of a shell around it."""
_TICK_SECONDS = 1.0
"""If there is no news for this long, the last report is repeated with the elapsed time."""
_SURE_FRACTION, _SURE_SECONDS = 0.02, 1.0
"""Minimum progress of a build before the time left is estimated."""


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """Progress of one build."""

    graph: GraphName
    """Graph that is built."""
    precision: Precision
    """Its precision."""
    phase: str
    """What is going on, in TensorRT's words, which differ between versions."""
    fraction: float
    """Fraction done, 0 to 1; never decreases."""
    seconds: float
    """Time since the start."""
    seconds_left: float | None
    """Estimated time left at the current rate; None while it cannot be estimated."""


OnProgress: TypeAlias = Callable[[BuildProgress], object]
"""Receives progress reports, usually at most ten per second and at least one; an exception ends the build."""


@dataclass(frozen=True, slots=True)
class Built:
    """The result of a builder."""

    plan: bytes
    """The plan; if none was built, the one that was given."""
    answers: Mapping[str, Array]
    """Output name to array [n_cases, …] if the cases were run; else empty."""
    timing: bytes | None
    """The timing cache, if there is one."""
    report: BuildReport
    """The builder's own report."""


def run_builder(
    request: Request,
    *,
    graph: bytes | None = None,
    plan: bytes | None = None,
    cases: Mapping[str, Array],
    timing: bytes | None = None,
    command: Sequence[str] = BUILD_COMMAND,
    on_progress: OnProgress | None = None,
) -> Built:
    """Have a plan built, run, or both, by a process of its own; in any case, the process and its files are removed.

    Args:
        request: What is to be done.
        graph: The ONNX file to build from.
        plan: The plan to run, if none is built.
        cases: Input name to array [n_cases, …].
        timing: A timing cache.
        command: The command to start.
        on_progress: Called with the progress.

    Raises:
        BackendError: It could not be started, crashed, was killed, failed, or did not return what was asked for.
    """
    given = {GRAPH: graph, PLAN: plan, TIMING: timing}
    with tempfile.TemporaryDirectory(prefix="ascstream-build-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        try:
            write_request(folder, request)
            for file, data in given.items():
                if data is not None:
                    (folder / file).write_bytes(data)
            write_arrays(folder / CASES, cases)
        except OSError as error:
            raise BackendError(
                f"{request.graph}: expected room for a builder's files in {folder.parent}, got: {error.strerror}; "
                "make room there, or name another folder: export TMPDIR=FOLDER"
            ) from None
        _follow([*command, str(folder)], request, on_progress)
        return _collect(folder, request)


def free_bytes(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Memory that is still available to programs, swap included; None if the system does not say.

    Args:
        meminfo: Linux's memory statistics.
    """
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
        return sum(int(lines[name].split()[0]) << 10 for name in ("MemAvailable", "SwapFree"))
    except (OSError, ValueError, KeyError, IndexError):
        return None


def _follow(command: Sequence[str], request: Request, on_progress: OnProgress | None) -> None:
    """Start a builder and stay with it until it has succeeded.

    Raises:
        BackendError: It failed.
    """
    free = free_bytes()
    pipe = subprocess.PIPE
    environment = {"CUDA_MODULE_LOADING": "LAZY", "OPENBLAS_NUM_THREADS": "1", **os.environ}
    try:  # in a session of its own: Ctrl-C reaches only this process, which then ends the builder
        process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
        )
    except OSError as error:
        raise BackendError(f"{request.graph}: expected to start {command[0]}, got: {error.strerror}") from None
    assert process.stdin is not None and process.stderr is not None  # noqa: S101, PT018
    log = _Log(process.stderr)
    try:  # stdin stays open while this process lives: when it closes, the builder knows that nobody is waiting any more
        code = _Progress(request, on_progress).follow(process)
    finally:
        _kill(process)
        process.stdin.close()
        last = log.last_line()
    if code != 0:
        reason = _explain(code, last, free)
        raise BackendError(reason if reason.startswith(f"{request.graph}: ") else f"{request.graph}: {reason}")


class _Log:
    """A thread that keeps reading a builder's log, and keeps the end of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._end = b""
        self._thread = Thread(target=self._read, name="builder's log", daemon=True)
        self._thread.start()

    def last_line(self) -> str:
        """The last non-empty line; called once the builder has ended."""
        self._thread.join(timeout=1.0)  # a process left behind by the builder may keep the pipe open
        lines = self._end.decode("utf-8", "replace").splitlines()
        return one_line(next((line.strip() for line in reversed(lines) if line.strip()), ""))

    def _read(self) -> None:
        with self._stream, contextlib.suppress(OSError, ValueError):
            while data := os.read(self._stream.fileno(), _LOG_BYTES):
                self._end = (self._end + data)[-_LOG_BYTES:]


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a builder and the processes it started, if it is still running."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class _Progress:
    """Passes on a builder's progress reports, in the thread that waits for the builder."""

    def __init__(self, request: Request, on_progress: OnProgress | None) -> None:
        self._request = request
        self._hear = on_progress
        self._begun = time.monotonic()
        self._phase, self._fraction = "starting", 0.0

    def follow(self, process: subprocess.Popen[bytes]) -> int:
        """Pass on each report, and repeat the last one every second, until the builder ends; return its exit status."""
        lines: Queue[bytes] = Queue(maxsize=64)
        Thread(target=_pass_on, args=(process.stdout, lines), name="builder's progress", daemon=True).start()
        while True:
            try:
                line = lines.get(timeout=_TICK_SECONDS)
            except Empty:
                if process.poll() is not None:  # a process left behind by the builder may keep the pipe open
                    return process.returncode
                self._tell()
                continue
            if not line:
                return process.wait()
            if self._read(line):
                self._tell()

    def _read(self, line: bytes) -> bool:
        """Take in a line; return False if it is not a progress report, since libraries print other things as well."""
        try:
            said = json.loads(line)
            phase, fraction = one_line(str(said["phase"])), float(said["fraction"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        if not 0 <= fraction <= 1:
            return False
        self._phase, self._fraction = phase, max(self._fraction, fraction)
        return True

    def _tell(self) -> None:
        """Report the current progress."""
        if self._hear is None:
            return
        seconds = time.monotonic() - self._begun
        left = None
        if self._fraction >= _SURE_FRACTION and seconds >= _SURE_SECONDS:
            left = seconds * (1 - self._fraction) / self._fraction
        request = self._request
        self._hear(BuildProgress(request.graph, request.precision, self._phase, self._fraction, seconds, left))


def _pass_on(stdout: IO[bytes], lines: Queue[bytes]) -> None:
    """Thread function: queue the lines of a builder's stdout, then an empty one; drop the oldest if nobody reads."""
    with stdout, contextlib.suppress(OSError, ValueError):
        while line := stdout.readline(_LINE_BYTES):
            _put(lines, line)
    _put(lines, b"")


def _put(lines: Queue[bytes], line: bytes) -> None:
    """Append to a queue, if necessary in place of its oldest line."""
    while True:
        try:
            return lines.put_nowait(line)
        except Full:
            with contextlib.suppress(Empty):
                lines.get_nowait()


def _explain(code: int, last: str, free: int | None) -> str:
    """Why a builder ended with that status, and what to type."""
    if code in _KILLED:
        had = "" if free is None else f", {free / 1e9:.1f} GB were free when it began"
        return (
            f"the builder was killed (signal 9): probably memory ran out{had}; "
            f"type --effort 1, or --workspace 256, {MORE_MEMORY}"
        )
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        after = f" after it said: {last}" if last else ""
        return f"the builder crashed ({name}){after}; type --effort 1, and look what this machine has: ascstream doctor"
    return last or f"the builder ended with status {code} and did not say why; look at: ascstream doctor"


def _collect(folder: Path, request: Request) -> Built:
    """Collect the results of a builder that succeeded.

    Raises:
        BackendError: Something is missing, or not what was asked for.
    """
    report = read_report(folder)
    try:
        with open_file(folder / PLAN) as file:
            plan = file.read()
    except MemoryError:
        raise BackendError(f"{request.graph}: expected a plan that fits into memory, got a larger one") from None
    except OSError as error:
        got = error.strerror or error
        raise BackendError(f"{request.graph}: expected a plan of the builder, got: {got}") from None
    if not plan:
        raise BackendError(f"{request.graph}: expected a plan of the builder, got an empty file; build it again")
    cache = None
    with contextlib.suppress(OSError, MemoryError), open_file(folder / TIMING) as file:
        cache = file.read()
    return Built(plan, _read_answers(folder, request) if request.run else {}, cache, report)


def _read_answers(folder: Path, request: Request) -> dict[str, Array]:
    """Read the answers to all cases; they must be float32, one per case."""
    answers = read_arrays(folder / ANSWERS)
    n_cases = sum(request.batches)
    for name, array in answers.items():
        if array.dtype != np.float32 or array.shape[:1] != (n_cases,):
            raise BackendError(
                f"{request.graph}: expected {n_cases} float32 answers a case each in {one_line(name)}, "
                f"got {array.dtype.name} {list(array.shape)}"
            )
    return answers
