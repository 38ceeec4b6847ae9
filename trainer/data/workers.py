"""Tasks done by several processes that tell how far they are, and that are gone when this one is."""

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
"""Does a task and sends messages on the way: a function of a module, so that another process finds it."""


class _ParentGoneError(BaseException):
    """Nobody listens any more."""


def run_tasks(work: Work[T, M], tasks: Sequence[T], n_workers: int, on_message: Callable[[M], None]) -> None:
    """Do tasks, in this process where one is enough.

    Args:
        work: Does one.
        tasks: What is to be done; they are begun in this order.
        n_workers: Processes at most.
        on_message: Takes what tasks send, in this process. Where it raises, all of them are stopped.

    Raises:
        TrainerError: A process was killed.
        Exception: What a task raised; all others are stopped then.
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
    """A process that waits for tasks."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work), daemon=True)
    # Ctrl-C is this process's business: the other one inherits that it hears none, from its first moment
    resource_tracker.ensure_running()  # or starting it would undo that
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return ours, process


def _receive(connection: Connection, process: SpawnProcess) -> tuple[str, Any]:
    """What a process sends."""
    try:
        kind, content = connection.recv()
    except (EOFError, ConnectionResetError):
        process.join()
        code = process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        raise TrainerError(
            f"expected worker processes to finish, got one that ended with {how}; where memory was short, use fewer: "
            "--workers"
        ) from None
    return kind, content


def _serve(connection: Connection, work: Work[T, M]) -> None:
    """What a process does: tasks, until nobody asks any more."""

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
