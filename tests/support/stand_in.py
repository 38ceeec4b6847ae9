"""A TensorRT for machines without one: its plans are graphs, which ONNX Runtime runs under the name of a GPU.

Only opening a plan is stood in for; plans are built, proven, stored, found and read by the real code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from support.ort_builder import MACHINE, command

from engines.base import Array, Engine
from engines.bundle import Bundle
from engines.errors import BackendError
from engines.manifest import Precision
from engines.ort import OrtEngine
from engines.trt.build import build_plans
from engines.trt.plans import PlanStore
from engines.trt.records import Device, Machine, PlanInfo

DEAD = "scene: the GPU failed: an illegal memory access was encountered (CUDA error 700)"


class StandIn:
    """Opens plans; `trouble(graph, n)` runs before the n-th call (from 0) of a graph: it may raise, or wait."""

    def __init__(
        self,
        *,
        machine: Machine | Exception = MACHINE,
        trouble: Callable[[str, int], None] | None = None,
        refusal: Exception | None = None,
        bias: Mapping[str, float] | None = None,
    ) -> None:
        """Say what is there.

        Args:
            machine: What plans have to be for, or why there is none.
            trouble: What befalls calls.
            refusal: What opening a plan raises.
            bias: What is added to a graph's answers.
        """
        self.engines: list[PlanEngine] = []
        self._machine, self._trouble, self._refusal, self._bias = machine, trouble, refusal, bias or {}

    def device(self) -> Device | None:
        """There is always one."""
        return self._machine.device if isinstance(self._machine, Machine) else MACHINE.device

    def machine(self) -> Machine:
        """What plans have to be for."""
        if isinstance(self._machine, Exception):
            raise self._machine
        return self._machine

    def open(self, plan: bytes, *, name: str, precision: str) -> Engine:
        """An engine of a plan."""
        if self._refusal is not None:
            raise self._refusal
        engine = PlanEngine(OrtEngine(plan, name=name), precision, self._trouble, self._bias.get(name, 0.0))
        self.engines.append(engine)
        return engine


class NoGpu(StandIn):
    """A machine that has none."""

    def device(self) -> Device | None:
        """None."""
        return None


class PlanEngine(Engine):
    """A graph under the name of a GPU."""

    def __init__(self, inner: Engine, precision: str, trouble: Callable[[str, int], None] | None, bias: float) -> None:
        super().__init__(inner.name, f"TensorRT 10.3.0, Invented, {precision}", inner.inputs, inner.outputs)
        self.n_calls = 0
        self.closed = False
        self._inner, self._trouble, self._bias = inner, trouble, np.float32(bias)

    def close(self) -> None:
        """Note it."""
        super().close()
        self.closed = True
        self._inner.close()

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:
        number, self.n_calls = self.n_calls, self.n_calls + 1
        if self._trouble is not None:
            self._trouble(self.name, number)
        return {name: array + self._bias for name, array in self._inner.infer(feeds).items()}


def build(bundle: Bundle, folder: Path, precision: Precision = "float32", **options: Any) -> tuple[PlanInfo, ...]:
    """Plans of a bundle in a folder, for the machine of the stand-in."""
    return build_plans(bundle, precision, store=PlanStore(folder), machine=MACHINE, build_command=command(), **options)


def fails_from(number: int, *graphs: str) -> Callable[[str, int], None]:
    """Trouble: the GPU is dead from a call on, of these graphs or of all."""

    def trouble(graph: str, n: int) -> None:
        if n >= number and (not graphs or graph in graphs):
            raise BackendError(DEAD.replace("scene", graph))

    return trouble


def another(machine: Machine = MACHINE, **changes: Any) -> Machine:
    """The machine of the stand-in with another device."""
    return replace(machine, device=replace(machine.device, **changes))
