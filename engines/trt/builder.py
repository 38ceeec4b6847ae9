"""The process that builds or runs a plan, seen from outside: started, followed, ended; what it wrote, read and checked.

Nothing of TensorRT or CUDA is imported here. `exchange.py` says what is in the folder, `worker.py` is what runs.
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
"""What is started with the folder as its last word; anything may stand in that keeps to `exchange.py`."""
MORE_MEMORY = (
    "close other programs, or add swap: "
    "sudo fallocate -l 8G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon /swapfile"
)
"""What helps where memory is short."""

_LOG_BYTES = 1 << 13
"""Of a builder's log that is kept: its end."""
_LINE_BYTES = 1 << 16
"""Of a line of progress that is read at a time."""
_KILLED = (-9, 137)
"""Exit status of a process that was killed, and of a shell around it."""
_TICK_SECONDS = 1.0
"""After so long without news the last one is told again, with the time that has passed."""
_SURE_FRACTION, _SURE_SECONDS = 0.02, 1.0
"""How far a build must be before the time left is told."""


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """How far one build is."""

    graph: GraphName
    """Of which graph."""
    precision: Precision
    """In which precision."""
    phase: str
    """What is going on, in TensorRT's words: they change between versions."""
    fraction: float
    """How much is done, 0 to 1; never less than before."""
    seconds: float
    """How long it has been going on."""
    seconds_left: float | None
    """How long it will still take, if it goes on as it did; None while that cannot be said."""


OnProgress: TypeAlias = Callable[[BuildProgress], object]
"""Takes reports of progress, about ten a second at most and one at least; raising ends the build."""


@dataclass(frozen=True, slots=True)
class Built:
    """What a builder gave."""

    plan: bytes
    """The plan; what it was given, where it built none."""
    answers: Mapping[str, Array]
    """Output to [n_cases, …], where it ran the cases; else empty."""
    timing: bytes | None
    """The timing cache, if there is one."""
    report: BuildReport
    """What it says of itself."""


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
    """Have a plan built, or run, or both, by a process of its own; whatever happens, neither it nor its files are left.

    Args:
        request: What is to be done.
        graph: The ONNX file to build from.
        plan: The plan to run, where none is built.
        cases: Input to [n_cases, …].
        timing: A timing cache.
        command: What to start.
        on_progress: Hears how far it is.

    Raises:
        BackendError: It could not be started, crashed, was killed, failed, or gave something else than was asked for.
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
    """Memory that programs can still have, swap included; None where the system does not say.

    Args:
        meminfo: What Linux says of its memory.
    """
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
        return sum(int(lines[name].split()[0]) << 10 for name in ("MemAvailable", "SwapFree"))
    except (OSError, ValueError, KeyError, IndexError):
        return None


def _follow(command: Sequence[str], request: Request, on_progress: OnProgress | None) -> None:
    """Start a builder and stay with it until it has ended well.

    Raises:
        BackendError: It did not.
    """
    free = free_bytes()
    pipe = subprocess.PIPE
    environment = {"CUDA_MODULE_LOADING": "LAZY", "OPENBLAS_NUM_THREADS": "1", **os.environ}
    try:  # a session of its own: Ctrl-C reaches this process alone, which then ends that one
        process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
        )
    except OSError as error:
        raise BackendError(f"{request.graph}: expected to start {command[0]}, got: {error.strerror}") from None
    assert process.stdin is not None and process.stderr is not None  # noqa: S101, PT018
    log = _Log(process.stderr)
    try:  # its stdin stays open as long as this process lives: by its end it sees that nobody waits any more
        code = _Progress(request, on_progress).follow(process)
    finally:
        _kill(process)
        process.stdin.close()
        last = log.last_line()
    if code != 0:
        reason = _explain(code, last, free)
        raise BackendError(reason if reason.startswith(f"{request.graph}: ") else f"{request.graph}: {reason}")


class _Log:
    """A thread that reads what a builder writes to its log, all the time, and keeps the end."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._end = b""
        self._thread = Thread(target=self._read, name="builder's log", daemon=True)
        self._thread.start()

    def last_line(self) -> str:
        """The last line that is not empty; called when the builder has ended."""
        self._thread.join(timeout=1.0)  # a process that it left behind may hold the pipe
        lines = self._end.decode("utf-8", "replace").splitlines()
        return one_line(next((line.strip() for line in reversed(lines) if line.strip()), ""))

    def _read(self) -> None:
        with self._stream, contextlib.suppress(OSError, ValueError):
            while data := os.read(self._stream.fileno(), _LOG_BYTES):
                self._end = (self._end + data)[-_LOG_BYTES:]


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a builder and what it started, if it has not ended."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class _Progress:
    """What a builder says of how far it is, handed on in the thread that waits for it."""

    def __init__(self, request: Request, on_progress: OnProgress | None) -> None:
        self._request = request
        self._hear = on_progress
        self._begun = time.monotonic()
        self._phase, self._fraction = "starting", 0.0

    def follow(self, process: subprocess.Popen[bytes]) -> int:
        """Hand on every line of progress, and the last one again each second, until a builder ends; its exit status."""
        lines: Queue[bytes] = Queue(maxsize=64)
        Thread(target=_pass_on, args=(process.stdout, lines), name="builder's progress", daemon=True).start()
        while True:
            try:
                line = lines.get(timeout=_TICK_SECONDS)
            except Empty:
                if process.poll() is not None:  # a process that it left behind may hold the pipe
                    return process.returncode
                self._tell()
                continue
            if not line:
                return process.wait()
            if self._read(line):
                self._tell()

    def _read(self, line: bytes) -> bool:
        """Take a line in; False where it is no progress: libraries print what they like."""
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
        """Say how far it is by now."""
        if self._hear is None:
            return
        seconds = time.monotonic() - self._begun
        left = None
        if self._fraction >= _SURE_FRACTION and seconds >= _SURE_SECONDS:
            left = seconds * (1 - self._fraction) / self._fraction
        request = self._request
        self._hear(BuildProgress(request.graph, request.precision, self._phase, self._fraction, seconds, left))


def _pass_on(stdout: IO[bytes], lines: Queue[bytes]) -> None:
    """The thread: lines of a builder's stdout, and an empty one at its end; the oldest go where nobody takes them."""
    with stdout, contextlib.suppress(OSError, ValueError):
        while line := stdout.readline(_LINE_BYTES):
            _put(lines, line)
    _put(lines, b"")


def _put(lines: Queue[bytes], line: bytes) -> None:
    """Append to a queue, if need be in place of its oldest line."""
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
    """What a builder that ended well has left.

    Raises:
        BackendError: Something is missing, or is not what was asked for.
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
    """The answers to all cases: float32, as many as there are cases."""
    answers = read_arrays(folder / ANSWERS)
    n_cases = sum(request.batches)
    for name, array in answers.items():
        if array.dtype != np.float32 or array.shape[:1] != (n_cases,):
            raise BackendError(
                f"{request.graph}: expected {n_cases} float32 answers a case each in {one_line(name)}, "
                f"got {array.dtype.name} {list(array.shape)}"
            )
    return answers
