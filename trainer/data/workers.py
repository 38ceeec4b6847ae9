"""Run tasks in several processes that report progress and that end together with this process."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar, cast

from trainer.errors import TrainerError

T = TypeVar("T")
M = TypeVar("M")

Work = Callable[[T, Callable[[M], None]], object]
"""Does a task and sends messages meanwhile: a module-level function, so that another process can import it."""


class _ParentGoneError(BaseException):
    """The parent process is no longer listening."""


def run_tasks(work: Work[T, M], tasks: Sequence[T], n_workers: int, on_message: Callable[[M], None]) -> None:
    """Run tasks in several processes, or in this one if a single worker is enough.

    Args:
        work: Does one task.
        tasks: The tasks; they are started in this order.
        n_workers: Maximum number of processes.
        on_message: Called in this process with the messages of tasks. If it raises, all processes are killed.

    Raises:
        TrainerError: A process ended unexpectedly.
        Exception: Whatever a task raised; all other processes are killed then.
    """
    n_workers = min(n_workers, len(tasks))
    if n_workers <= 1:
        for task in tasks:
            work(task, on_message)
        return
    waiting = deque(tasks)
    workers: dict[Connection, SpawnProcess] = {}
    try:
        for _ in range(n_workers):
            connection, process = _start(work)
            workers[connection] = process
            connection.send(waiting.popleft())
        while workers:
            for connection in cast("list[Connection]", wait(list(workers))):
                kind, content = _receive(connection, workers[connection])
                if kind == "error":
                    raise content
                if kind == "message":
                    on_message(content)
                elif waiting:
                    connection.send(waiting.popleft())
                else:
                    connection.close()
                    workers.pop(connection).join()
    finally:
        for process in workers.values():
            process.kill()
        for connection, process in workers.items():
            connection.close()
            process.join()


def _start(work: Work[T, M]) -> tuple[Connection, SpawnProcess]:
    """Start a process that waits for tasks."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work), daemon=True)
    # only this process handles Ctrl-C: the other inherits a mask that blocks SIGINT from its first moment
    resource_tracker.ensure_running()  # otherwise process.start() starts it, which undoes the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return ours, process


def _receive(connection: Connection, process: SpawnProcess) -> tuple[str, Any]:
    """Receive a message from a process."""
    try:
        kind, content = connection.recv()
    except (EOFError, ConnectionResetError):
        process.join()
        code = process.exitcode or 0
        how = f"signal {_signal_name(-code)}" if code < 0 else f"exit code {code}"
        raise TrainerError(
            f"expected worker processes to finish, got one that ended with {how}; where memory was short, use fewer: "
            "--workers"
        ) from None
    return kind, content


def _signal_name(number: int) -> str:
    """A signal's name, or its number: most real-time signals have no name."""
    return signal.Signals(number).name if number in set(signal.Signals) else str(number)


def _serve(connection: Connection, work: Work[T, M]) -> None:
    """Main function of a worker process: do tasks until the parent sends no more."""

    def send(kind: str, content: object) -> None:
        try:
            connection.send((kind, content))
        except OSError:
            raise _ParentGoneError from None

    with contextlib.suppress(EOFError, OSError, _ParentGoneError):
        while True:
            task = connection.recv()
            try:
                work(task, lambda message: send("message", message))
            except Exception as error:  # noqa: BLE001  (raised again in the parent)
                send("error", error)
            else:
                send("done", None)
