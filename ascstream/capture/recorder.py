"""Outside of a child: starts one, hands on what it says, and can always be rid of it; `supervisor.py` says when."""

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
    """One child, from its start to its end; another one is made for the next attempt."""

    def __init__(
        self, request: Request, deliver: Callable[[Message], None], *, command: Sequence[str] | None = None
    ) -> None:
        """Start the child; its first message says whether the device opened.

        Args:
            request: What it records.
            deliver: Called with each message, in order, from a thread of ours; must not block. `Failed` is the last,
                also where the child crashed or could not be started. `kill` or `close` may be called in it.
            command: What to start in place of our own child: for tests.
        """
        self._name = _name(request)
        self._deliver = deliver
        self._log: deque[str] = deque(maxlen=_MOST_LINES)
        self._unwanted = False
        self._stdin = Lock()  # nobody writes to a number that is being closed
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
        """Ask for the newest picture at a moment of `time.monotonic`; never blocks, never raises."""
        process = self._process
        if process is None or process.stdin is None:
            return
        with self._stdin, contextlib.suppress(OSError):
            if not process.stdin.closed:
                os.write(process.stdin.fileno(), b"%.6f\n" % moment)  # less than PIPE_BUF: all of it, or nothing

    def kill(self) -> None:
        """End the child at once; never waits, may be called twice.

        Nothing more is delivered, but for a message that is being delivered at this moment.
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
        """Leave no process, thread or pipe behind; may be called twice.

        Args:
            timeout_seconds: How long to wait for a child that the system cannot end, since a driver holds it: its
                threads and pipes then end with it.
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
        """Whether there is a process."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process's number; None where none could be started."""
        return None if self._process is None else self._process.pid

    @property
    def log(self) -> tuple[str, ...]:
        """The newest lines of its stderr, credentials removed."""
        return tuple(self._log.copy())

    def _run(self, problem: str) -> None:
        """The reader's thread: what the child says, and at the end why there is no more."""
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
        """The other thread: the child's log is read all the time, and only its end kept."""
        with stderr:
            while line := stderr.readline(4 * _MOST_CHARACTERS):
                text = redact(line.decode("utf-8", "replace").strip())[:_MOST_CHARACTERS]
                if text:
                    self._log.append(text)


def _start(request: Request, command: Sequence[str]) -> subprocess.Popen[bytes]:
    """A child that has its request.

    Raises:
        OSError: The system starts no more processes.
    """
    pipe = subprocess.PIPE
    environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}  # numpy need not start a thread a core to copy samples
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
    assert process.stdin is not None  # noqa: S101  it was asked for
    with contextlib.suppress(BrokenPipeError):  # it says itself how it ended
        os.write(process.stdin.fileno(), to_json(request).encode() + b"\n")
    if sys.platform != "win32":  # there `ask` could block on a child that hangs for minutes
        os.set_blocking(process.stdin.fileno(), False)
    return process


def _name(request: Request) -> str:
    """For people."""
    if not isinstance(request, MicrophoneRequest):
        return redact(request.where)
    if request.portaudio_index is not None:
        return f"the microphone pa:{request.portaudio_index}"
    return f"the microphone {request.name!r}" if request.name else "the default microphone"
