"""The parent's side: starts a child, passes on its messages, and can always kill it; `supervisor.py` decides when."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock, Thread, current_thread
from typing import IO

from ascstream.capture.messages import Failed, Message, read
from ascstream.capture.requests import MicrophoneRequest, Request, to_json
from ascstream.errors import SourceError
from ascstream.sources.inputs import redact
from engines.child_process import command_of

_MOST_LINES, _MOST_CHARACTERS = 50, 500


class Recorder:
    """One child, from start to end; the next attempt takes a new `Recorder`."""

    def __init__(
        self, request: Request, deliver: Callable[[Message], None], *, command: Sequence[str] | None = None
    ) -> None:
        """Start the child; its first message says whether the device could be opened.

        Args:
            request: What to record.
            deliver: Called with each message, in order, from the recorder's thread; must not block. The last one is
                `Failed`, even if the child crashed or could not be started. May call `kill` or `close`.
            command: Command to start instead of the regular child, for tests.
        """
        self._name = _name(request)
        self._deliver = deliver
        self._log: deque[str] = deque(maxlen=_MOST_LINES)
        self._unwanted = False
        self._stdin = Lock()  # so that nobody writes to a descriptor that is being closed
        self._log_reader: Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        problem = ""
        try:
            self._process = _start(request, command or command_of("ascstream.capture.__main__"))
        except OSError as error:
            problem = f"cannot start a process that records from {self._name}: {error.strerror or error}"
        if self._process is not None and self._process.stderr is not None:
            self._log_reader = Thread(target=self._drain, args=(self._process.stderr,), name="log", daemon=True)
            self._log_reader.start()
        self._reader = Thread(target=self._run, args=(problem,), name=f"recorder of {self._name}", daemon=True)
        self._reader.start()

    def ask(self, moment: float) -> None:
        """Ask for the newest picture as of `moment`, by `time.monotonic`; never blocks, never raises."""
        process = self._process
        if process is None or process.stdin is None:
            return
        with self._stdin, contextlib.suppress(OSError):
            if not process.stdin.closed:
                os.write(process.stdin.fileno(), b"%.6f\n" % moment)  # less than PIPE_BUF, so written atomically

    def kill(self) -> None:
        """Kill the child at once; never blocks, may be called twice.

        No more messages are delivered, except one whose delivery is already under way.
        """
        self._unwanted = True
        process = self._process
        if process is None:
            return
        with contextlib.suppress(OSError):
            process.kill()
        with self._stdin, contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()

    def close(self, timeout_seconds: float = 0.5) -> None:
        """Kill the child and clean up its process, threads and pipes; may be called twice.

        Args:
            timeout_seconds: How long to wait for a child that the system cannot end because it is stuck in a driver;
                its threads and pipes then end only when it does.
        """
        deadline = time.monotonic() + timeout_seconds
        self.kill()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_seconds)
        for thread in (self._reader, self._log_reader):
            if thread is not None and thread is not current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def running(self) -> bool:
        """Whether the child is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The child's process id; None if it could not be started."""
        return None if self._process is None else self._process.pid

    @property
    def log(self) -> tuple[str, ...]:
        """The newest lines of the child's stderr, credentials removed."""
        return tuple(self._log.copy())

    def _run(self, problem: str) -> None:
        """Run in the reader's thread: deliver the child's messages, and at the end a `Failed` that says why."""
        process = self._process
        if process is None or process.stdout is None:
            self._tell(Failed(problem))
            return
        with process.stdout:
            try:
                while (message := read(process.stdout)) is not None:
                    self._tell(message)
                    if isinstance(message, Failed):
                        return
            except SourceError as error:
                problem = f"recording from {self._name} broke off: {error}"
        if problem:
            with contextlib.suppress(OSError):
                process.kill()
        self._tell(Failed(problem or self._how_it_ended(process)))

    def _how_it_ended(self, process: subprocess.Popen[bytes]) -> str:
        try:
            code = process.wait(1.0)
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
        except subprocess.TimeoutExpired:
            how = "its output was closed"
        if self._log_reader is not None:
            self._log_reader.join(0.2)
        last = f"; it said last: {self._log[-1]}" if self._log else ""
        return f"recording from {self._name} ended unexpectedly ({how}){last}"

    def _tell(self, message: Message) -> None:
        if not self._unwanted:
            self._deliver(message)

    def _drain(self, stderr: IO[bytes]) -> None:
        """Run in the log thread: read the child's stderr continuously, keeping only the newest lines."""
        with stderr:
            while line := stderr.readline(4 * _MOST_CHARACTERS):
                text = redact(line.decode("utf-8", "replace").strip())[:_MOST_CHARACTERS]
                if text:
                    self._log.append(text)


def _start(request: Request, command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a child and send it its request.

    Raises:
        OSError: The system cannot start the process.
    """
    pipe = subprocess.PIPE
    environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}  # copying samples needs no thread per core
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
    assert process.stdin is not None  # noqa: S101  a pipe was requested
    with contextlib.suppress(BrokenPipeError):  # the reader reports how the child ended
        os.write(process.stdin.fileno(), to_json(request).encode() + b"\n")
    if sys.platform != "win32":  # on Windows, `ask` could block if the child hangs for minutes
        os.set_blocking(process.stdin.fileno(), False)
    return process


def _name(request: Request) -> str:
    """The device's name for messages."""
    if not isinstance(request, MicrophoneRequest):
        return redact(request.where)
    if request.portaudio_index is not None:
        return f"the microphone pa:{request.portaudio_index}"
    return f"the microphone {request.name!r}" if request.name else "the default microphone"
