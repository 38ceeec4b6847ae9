"""Try something out in a process of its own: importing a package that does not match its driver may end the process."""

from __future__ import annotations

import signal
import subprocess
import sys

from engines.child_process import NOT_FROM_HERE

_PATIENCE_SECONDS = 60.0
"""Time limit for a trial: the first import of TensorRT takes long on a small board."""


def try_out(code: str) -> tuple[bool, str]:
    """Run Python code in a process of its own.

    Returns:
        Whether it succeeded, and the last line it printed, or why it failed.
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
