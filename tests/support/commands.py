"""The command line as a user meets it: real processes, their exit codes and what they print."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

COMMAND = Path(sys.executable).with_name("ascstream")


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without settings of its own, in a home that has none."""
    own = ("ASCSTREAM_", "COLUMNS", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return {**kept, "XDG_CONFIG_HOME": "/nonexistent", "OMP_NUM_THREADS": "1", **variables}


def ascstream(
    *words: object,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run `ascstream` to its end; its output is captured as text."""
    done = subprocess.run(
        [str(COMMAND), *map(str, words)],
        cwd=cwd,
        env=environment(**(env or {})),
        input=stdin,
        capture_output=True,
        check=False,
        timeout=timeout,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def start(*words: object, **options: object) -> subprocess.Popen[bytes]:
    """Start `ascstream` and go on; stdout and stderr are pipes unless said otherwise."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment()}
    return subprocess.Popen([str(COMMAND), *map(str, words)], **{**pipes, **options})  # type: ignore[call-overload]
