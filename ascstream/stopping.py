"""Signals that ask a run to end: who is called, and what was raised, kept until the run has ended.

A library in C may lose an exception on the way out: PyAV does, if a signal comes while it makes an error of its own.
Whatever goes on then calls `raise_stopped`.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

_stopped: list[KeyboardInterrupt] = []


@contextlib.contextmanager
def handle_signals(handler: Callable[[int, FrameType | None], None], *names: str) -> Iterator[None]:
    """Let signals call `handler`, and whoever they called before once the run is over.

    A signal that is ignored already (`nohup`, a background job) stays ignored; outside the main thread signals are
    somebody else's, and nothing changes.

    Args:
        handler: Called in the main thread, between any two of its steps, with the number and the frame.
        names: `SIGTERM` and the like; one that this system does not know is passed over.
    """
    before = {}
    with contextlib.suppress(ValueError):  # not the main thread
        for name in names:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handled in before.items():
            signal.signal(number, handled)


def keep_stopped(interrupt: KeyboardInterrupt) -> None:
    """Keep what is about to be raised."""
    _stopped.append(interrupt)


def last_stopped() -> KeyboardInterrupt | None:
    """What was kept last; None where no signal came."""
    return _stopped[-1] if _stopped else None


def raise_stopped() -> None:
    """Raise again what a signal raised, if one came. Called wherever a run goes on, so that it ends there."""
    if _stopped:
        raise _stopped[-1]


def forget_stopped() -> None:
    """The run is over."""
    _stopped.clear()
