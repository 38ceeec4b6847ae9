"""Start one of our own modules in a child process without importing anything from the current folder."""

from __future__ import annotations

import sys
from pathlib import Path

NOT_FROM_HERE = "import sys; sys.path[:] = filter(None, sys.path); "
"""Must open the code given to `python -c`, which would otherwise import modules from the current folder."""
_BEGIN = NOT_FROM_HERE + "sys.path.append(sys.argv.pop(1)); from {module} import main; sys.exit(main())"


def command_of(module: str) -> tuple[str, ...]:
    """Return the command for `python -m MODULE`, minus the current folder: a json.py lying there is not imported.

    Args:
        module: One of our modules with a function `main`; words appended to the command become its `sys.argv[1:]`.
    """
    return sys.executable, "-c", _BEGIN.format(module=module), str(Path(__file__).parents[1])
