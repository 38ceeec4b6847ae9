"""How a process of ours is started that runs one of our own modules, and nothing that lies in the current folder."""

from __future__ import annotations

import sys
from pathlib import Path

NOT_FROM_HERE = "import sys; sys.path[:] = filter(None, sys.path); "
"""What `python -c` has to begin with, or it would import what lies in the current folder."""
_BEGIN = NOT_FROM_HERE + "sys.path.append(sys.argv.pop(1)); from {module} import main; sys.exit(main())"


def command_of(module: str) -> tuple[str, ...]:
    """What `python -m MODULE` does, but for a file named json.py in the current folder, which is not loaded.

    Args:
        module: One of ours that has a function `main`; words that follow the command are its `sys.argv[1:]`.
    """
    return sys.executable, "-c", _BEGIN.format(module=module), str(Path(__file__).parents[1])
