"""How a process of ours is started that runs one of our own modules, and nothing that lies in the current folder."""

from __future__ import annotations

import sys
from pathlib import Path

_BEGIN = (
    "import sys; sys.path[:] = [place for place in sys.path if place] + sys.argv[1:]; from {module} import main; main()"
)


def command_of(module: str) -> tuple[str, ...]:
    """What `python -m MODULE` does, but for a file named json.py in the current folder, which is not loaded.

    Args:
        module: One of ours that has a function `main`.
    """
    return sys.executable, "-c", _BEGIN.format(module=module), str(Path(__file__).parents[1])
