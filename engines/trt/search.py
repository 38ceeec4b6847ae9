"""Find a bundle's plans for a machine in a store; if there are none, say in a sentence how the closest one differs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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
"""Distance of a plan that was never built: larger than any other."""


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search for a bundle's plans on a machine."""

    plans: Mapping[GraphName, PlanInfo] | None
    """A plan for every graph, all in one precision; None if there are none."""
    why: str
    """Why there are none, and what to type; empty if there are."""


@dataclass(frozen=True, slots=True)
class _Lack:
    """A plan that is missing."""

    distance: int
    """Number of differences of the closest plan: 0 if that fits but is damaged."""
    text: str
    """Those differences in words."""


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for, and where."""

    bundle: Bundle
    """The bundle whose plans are wanted."""
    machine: Machine
    """The machine they are to run on."""
    entries: Sequence[Entry]
    """The existing plans."""
    check: Callable[[PlanInfo], object]
    """Reads a whole plan; raises BackendError if it is not what its sidecar says."""
    folder: Path | None
    """Folder of the plans, for the command to type; None: the cache."""

    def run(self, precision: str | None) -> Found:
        """Find plans in one precision or, for None, in the one measured to be fastest."""
        lacks: list[tuple[int, str, str]] = []
        for each in sorted(get_args(Precision) if precision is None else (precision,), key=self._seconds):
            nearest = {graph.name: self._nearest(graph, each) for graph in self.bundle.manifest.graphs}
            missing = [entry for entry in nearest.values() if isinstance(entry, _Lack)]
            if not missing:
                return Found({name: entry for name, entry in nearest.items() if isinstance(entry, PlanInfo)}, "")
            lacks.append((sum(lack.distance for lack in missing), each, "; ".join(lack.text for lack in missing)))
        return Found(None, self._why(precision, *min(lacks, key=lambda lack: lack[0])))

    def _seconds(self, precision: str) -> float:
        """Medians of the newest fitting plans, summed over the graphs, so that only the fastest need to be read."""
        fitting = (self._newest(graph, precision) for graph in self.bundle.manifest.graphs)
        return math.fsum(
            next((p50_seconds(info) for info, misfits in infos if not misfits), math.inf) for infos in fitting
        )

    def _newest(self, graph: GraphSpec, precision: str) -> Iterator[tuple[PlanInfo, tuple[str, ...]]]:
        """A graph's plans, newest first, each with the reasons why it cannot be used."""
        infos = [entry.info for entry in self.entries if entry.info is not None]
        infos = [info for info in infos if (info.key.graph, info.key.precision) == (graph.name, precision)]
        for info in sorted(infos, key=lambda info: info.built, reverse=True):
            foreign = bundle_misfits(info.key, self.bundle, graph)
            if not foreign or is_of(info, self.bundle):
                yield info, (*foreign, *machine_misfits(info.key, self.machine))

    def _nearest(self, graph: GraphSpec, precision: str) -> PlanInfo | _Lack:
        """The newest plan of a graph that fits and is unaltered, or how the closest other one differs."""
        lack = _Lack(_FAR, f"{precision} {graph.name} was not built")
        for info, misfits in self._newest(graph, precision):
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
        """The sentence for a bundle without plans, and what to type."""
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
