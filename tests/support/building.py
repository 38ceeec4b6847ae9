"""A build of plans in a process of its own: `python building.py BUNDLE STORE COMMAND…` prints the plans' digests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from support.stand_in_builder import MACHINE, ROOT

from engines.bundle import open_bundle
from engines.trt.build import build_plans
from engines.trt.plans import PlanStore


def start(bundle: Path, store: Path, command: Sequence[str], temporary: Path) -> subprocess.Popen[str]:
    """Start one; its temporary files go to that folder."""
    temporary.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, __file__, str(bundle), str(store), *command],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def alive(pid: int) -> bool:
    """Whether a process is still at work."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def main() -> None:
    """Build."""
    bundle, store, *command = sys.argv[1:]
    infos = build_plans(
        open_bundle(Path(bundle)), "float32", store=PlanStore(Path(store)), machine=MACHINE, build_command=command
    )
    print(*(info.sha256 for info in infos))


if __name__ == "__main__":
    main()
