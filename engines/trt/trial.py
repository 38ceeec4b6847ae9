"""Trying something in a process of its own: a package that does not fit its driver may end the one that imports it."""

from __future__ import annotations

import signal
import subprocess
import sys

from engines.child_process import NOT_FROM_HERE

_PATIENCE_SECONDS = 60.0
"""How long a try may take: the first import of TensorRT on a small board takes long."""


def try_out(code: str) -> tuple[bool, str]:
    """Run some Python in a process of its own.

    Returns:
        Whether it went well, and what it printed last, or why it did not.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", NOT_FROM_HERE + code],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_PATIENCE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return False, f"it did not come to an end within {_PATIENCE_SECONDS:g} s"
    if done.returncode < 0:
        return False, f"it crashed ({signal.Signals(-done.returncode).name})"
    said = (done.stderr if done.returncode else done.stdout).decode("utf-8", "replace").strip().splitlines()
    return done.returncode == 0, said[-1] if said else f"it ended with code {done.returncode}"
