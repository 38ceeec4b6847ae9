"""What a signal raised, kept until the run has ended: a library in C may lose it on the way out.

PyAV does, if a signal comes while it makes an error of its own. Whatever goes on then calls `raise_stopped`.
"""

from __future__ import annotations

_stopped: list[KeyboardInterrupt] = []


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
