"""What a program draws on a terminal: run on a pseudo-terminal, every byte it shows kept."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def shown_on_terminal(code: str, variables: Mapping[str, str]) -> str:
    """What a Python program shows on a terminal with colours.

    Args:
        code: The program; runs in the repository's root, and has to end by itself.
        variables: Of its environment, over that of such a terminal.

    Raises:
        AssertionError: It ended with an error.
    """
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **variables}
    master, slave = pty.openpty()
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=slave, stderr=slave, env=environment, cwd=root
    ) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:
                break
            if not part:
                break
            shown += part
    os.close(master)
    assert process.returncode == 0, shown.decode()
    return shown.decode()
