"""A plan is stored, and killed at the n-th line of the store's code, for every n: a line of JSON says what is left.

    python store_killed.py FOLDER BUNDLE

The folder is to hold a plan; {"n": 7, "plan": "old", "left": 1}: of the old plan, or of the new one, files that `prune`
removed. The last line is that of the store that was not killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from support.plans import H100, plan_info

from engines.bundle import open_bundle
from engines.trt.plans import PlanStore

NAMES = {b"old plan" * 500: "old", b"new plan" * 5000: "new"}
OLD, NEW = NAMES
TOUCHING = ("plans.py", "folder.py", "locks.py", "inside.py")
"""The files whose code touches the disk."""


def main(folder: Path, bundle_folder: Path) -> None:
    """Try every point."""
    bundle, n, finished = open_bundle(bundle_folder), 0, False
    store = PlanStore(folder)
    old, new = plan_info(bundle, built="2026-11-21T18:00:00Z"), plan_info(bundle, built="2026-11-21T19:00:00Z")
    while not finished and n < 1000:
        n += 1
        store.store(old, OLD)
        store.prune()
        child = os.fork()
        if child == 0:
            sys.settrace(die_after(n))
            store.store(new, NEW)
            os._exit(0)
        finished = os.waitpid(child, 0)[1] == 0
        found = store.find(bundle, H100)
        plan = NAMES[store.read(found.plans["scene"])] if found.plans else found.why
        left = store.prune()
        assert store.find(bundle, H100) == found
        print(json.dumps({"n": n, "plan": plan, "left": len(left), "files": len(os.listdir(folder))}))  # noqa: PTH208


def die_after(n_lines: int) -> Any:
    """What `sys.settrace` takes: ends the process, as a power cut would, at a line of the store's."""
    left = n_lines

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if Path(frame.f_code.co_filename).name not in TOUCHING:
            return None
        left -= event == "line"
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
