"""Signals that ask a run to end: installs handlers, and keeps the exception they raise until the run is over.

A C library may swallow an exception that passes through it: PyAV does if a signal arrives while it is constructing an
error of its own. Code that continues after such a call therefore calls `raise_stopped`.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

_stopped: list[KeyboardInterrupt] = []


@contextlib.contextmanager
def handle_signals(handler: Callable[[int, FrameType | None], None], *names: str) -> Iterator[None]:
    """Install `handler` for some signals, and restore the previous handlers at the end of the block.

    A signal that is already ignored (`nohup`, a background job) stays ignored, and one that a library handles outside
    Python stays with it: such a handler could not be restored. Outside the main thread, where handlers cannot be
    installed, nothing changes.

    Args:
        handler: Called in the main thread, between any two bytecode instructions, with signal number and stack frame.
        names: Signal names such as `SIGTERM`; those that this system does not have are skipped.
    """
    before = {}
    with contextlib.suppress(ValueError):  # not the main thread
        for name in names:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handled in before.items():
            signal.signal(number, handled)


def keep_stopped(interrupt: KeyboardInterrupt) -> None:
    """Remember an interrupt that is about to be raised."""
    _stopped.append(interrupt)


def last_stopped() -> KeyboardInterrupt | None:
    """The interrupt remembered last; None if no signal came."""
    return _stopped[-1] if _stopped else None


def raise_stopped() -> None:
    """Raise the last remembered interrupt again, if any. Called wherever a run might otherwise go on in spite of it."""
    if _stopped:
        raise _stopped[-1]


def forget_stopped() -> None:
    """Forget all interrupts: the run is over."""
    _stopped.clear()
