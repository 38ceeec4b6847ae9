"""Which plans of a store are a bundle's, on a machine; where none are, how near the nearest comes, in a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from engines.bundle import Bundle
from engines.errors import BackendError
from engines.manifest import GraphName, GraphSpec, Precision
from engines.trt.fit import bundle_misfits, command_to_build, is_of, machine_misfits
from engines.trt.records import Machine, PlanInfo
from engines.trt.sidecar import Entry, p50_seconds

_FAR = 100
"""Farther than any plan that was built."""


@dataclass(frozen=True, slots=True)
class Found:
    """What there is for a bundle on a machine."""

    plans: Mapping[GraphName, PlanInfo] | None
    """A plan for every graph, all of one precision; None: there are none."""
    why: str
    """Why there are none, and what to type; empty where there are some."""


@dataclass(frozen=True, slots=True)
class _Lack:
    """A plan that is not there."""

    distance: int
    """How much differs from the nearest: 0 where that fits but is damaged."""
    text: str
    """The same in words."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for, and where."""

    bundle: Bundle
    """Whose graphs."""
    machine: Machine
    """Where the plans are to run."""
    entries: Sequence[Entry]
    """The plans there are."""
    check: Callable[[PlanInfo], object]
    """Reads a plan whole; BackendError where it is not what its sidecar says."""
    folder: Path | None
    """Where the plans are, for what to type; None: the cache."""

    def run(self, precision: str | None) -> Found:
        """Look for plans in one precision, or, for None, in the one that was measured to be fastest."""
        found: list[dict[GraphName, PlanInfo]] = []
        lacks: list[tuple[int, str, str]] = []
        for each in get_args(Precision) if precision is None else (precision,):
            nearest = {graph.name: self._nearest(graph, each) for graph in self.bundle.manifest.graphs}
            plans = {name: entry for name, entry in nearest.items() if isinstance(entry, PlanInfo)}
            missing = [entry for entry in nearest.values() if isinstance(entry, _Lack)]
            if not missing:
                found.append(plans)
            lacks.append((sum(lack.distance for lack in missing), each, "; ".join(lack.text for lack in missing)))
        if found:
            return Found(min(found, key=_seconds), "")
        return Found(None, self._why(precision, *min(lacks, key=lambda lack: lack[0])))

    def _nearest(self, graph: GraphSpec, precision: str) -> PlanInfo | _Lack:
        """The newest plan of a graph that fits and is unaltered, or how near another one comes."""
        infos = [entry.info for entry in self.entries if entry.info is not None]
        infos = [info for info in infos if (info.key.graph, info.key.precision) == (graph.name, precision)]
        lack = _Lack(_FAR, f"{precision} {graph.name} was not built")
        for info in sorted(infos, key=lambda info: info.built, reverse=True):
            foreign = bundle_misfits(info.key, self.bundle, graph)
            if foreign and not is_of(info, self.bundle):
                continue
            misfits = (*foreign, *machine_misfits(info.key, self.machine))
            text = f"{precision} {graph.name} {' and '.join(misfits)}"
            if not misfits:
                try:
                    self.check(info)
                except BackendError as error:
                    text = str(error)
                else:
                    return info
            if len(misfits) < lack.distance:
                lack = _Lack(len(misfits), text)
        return lack

    def _why(self, precision: str | None, distance: int, nearest: str, text: str) -> str:
        """The sentence of a bundle without plans, and what to type."""
        wanted = precision or "float16"
        if distance < _FAR * len(self.bundle.manifest.graphs):
            text, wanted = f": {text}", nearest
        elif any(entry.info is None for entry in self.entries):
            text = ": a sidecar there cannot be read (see: ascstream engine verify)"
        else:
            text = ""
        plan = "plan" if precision is None else f"{precision} plan"
        where = f"{self.machine.device.name} with TensorRT {self.machine.tensorrt}"
        command = command_to_build(wanted, self.bundle, self.folder)
        return f"no {plan} for {self.bundle.manifest.name} on {where}{text}; type: {command}"


def _seconds(plans: Mapping[GraphName, PlanInfo]) -> float:
    """Medians of the smallest batch, summed over the graphs."""
    return math.fsum(p50_seconds(info) for info in plans.values())
