"""Find the files of a plan store that may be removed: unfinished, damaged, or for another machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from engines.trt.fit import machine_misfits
from engines.trt.folder import PARTIAL
from engines.trt.records import Machine
from engines.trt.sidecar import PLAN, SIDECAR, Entry

TIMING, LOCK = ".timing", ".lock"
"""Suffixes of the names of timing caches and of locks."""
_OURS = re.compile(rf"[0-9a-f]{{32}}(\.json|\.plan|\.timing)|\.[0-9a-f]{{32}}\.\w+\.[0-9a-f]{{12}}\{PARTIAL}")
"""Names that the store itself uses; anything else in the folder is left alone."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file that may be removed."""

    name: str
    """Its name."""
    size: int
    """Its length in bytes."""
    why: str
    """Why it may be removed."""


def find_leftovers(
    names: Sequence[str], entries: Sequence[Entry], machine: Machine | None, timing: str | None, *, everything: bool
) -> dict[str, str]:
    """Map the name of each file that may be removed to the reason; sidecars come first, so none outlives its plan.

    Args:
        names: Names of all files in the folder.
        entries: Its sidecars.
        machine: The machine whose plans stay; None: those of every machine stay.
        timing: Name of that machine's timing cache.
        everything: Whether to remove all plans and timing caches.
    """
    reasons: dict[str, str] = {}
    kept: set[str] = set()
    for entry in entries:
        reason = "a plan" if everything else entry.problem
        if reason is None and entry.info is not None and machine is not None:
            reason = " and ".join(machine_misfits(entry.info.key, machine)) or None
        if reason is not None:
            reasons[entry.name] = reason
        if entry.info is not None and reason is None:
            kept.add(entry.info.plan)
        elif entry.info is not None:
            reasons.setdefault(entry.info.plan, f"the plan of {entry.name}")
    for name in names:
        if name.endswith(PARTIAL):
            reasons[name] = "was not written to its end"
        elif name.endswith(PLAN):
            reasons.setdefault(name, "no sidecar names it")
        elif name.endswith(TIMING) and (everything or (machine is not None and name != timing)):
            reasons[name] = "a timing cache" if everything else "the timing cache of another device or TensorRT"
    going = [name for name in names if name in reasons and name not in kept and _OURS.fullmatch(name)]
    return {name: reasons[name] for name in sorted(going, key=lambda name: not name.endswith(SIDECAR))}
