"""Waiting for what another thread or process does: with a wide margin, since machines are busy."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(holds: Callable[[], object], timeout_seconds: float = 30.0) -> None:
    """Return as soon as `holds()` is true.

    Raises:
        AssertionError: It was not within this time.
    """
    deadline = time.monotonic() + timeout_seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"still not so after {timeout_seconds:g} s")
        time.sleep(0.01)
