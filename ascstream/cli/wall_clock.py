"""What `ascstream doctor` reports about the wall clock."""

from __future__ import annotations

import ctypes

from ascstream.cli.findings import Check, Machine

_MOST_CLOCK_ERROR_US = 16_000_000
"""A larger error means that nothing sets the clock: the kernel's NTP_PHASE_LIMIT, as timedatectl interprets it."""


def clock(_machine: Machine) -> Check | None:
    """Whether something sets the wall clock, from which live results take their UTC times."""
    error = _clock_error_us()
    return None if error is None else judge_clock(error)


def judge_clock(error_us: int) -> Check:
    """The finding for a clock error.

    Args:
        error_us: The kernel's bound on the clock's error, in microseconds.
    """
    if error_us < _MOST_CLOCK_ERROR_US:
        return Check("clock", "ok", f"synchronised, within {error_us / 1000:.0f} ms", needed=False)
    advice = "times in live results may be wrong; type: sudo timedatectl set-ntp true (in a container: on the host)"
    return Check("clock", "missing", "no synchronisation", advice, needed=False)


class _Timex(ctypes.Structure):
    """The beginning of the C library's `struct timex`, followed by more room than the rest of it takes."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_byte * 512),
    )


def _clock_error_us() -> int | None:
    """The kernel's bound on its wall clock's error, in microseconds; None if it cannot be queried."""
    try:
        timex = _Timex()
        code = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (AttributeError, OSError, TypeError):
        return None
    return None if code < 0 else int(timex.maxerror)
