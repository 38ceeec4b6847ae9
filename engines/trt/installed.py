"""The installed TensorRT, as `load_engines` uses it; another object can take its place, for instance in tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from engines.base import Engine
from engines.trt.driver import find_device, require_machine

if TYPE_CHECKING:
    from engines.trt.records import Device, Machine


class TensorRt(Protocol):
    """Says which machine plans must be built for, and turns them into engines."""

    def device(self) -> Device | None:
        """The GPU that would be used, or None; finding out imports neither TensorRT nor a CUDA library."""
        ...

    def machine(self) -> Machine:
        """The machine that plans must have been built for.

        Raises:
            BackendError: Something is missing; the message names everything that is, and how to get it.
        """
        ...

    def open(self, plan: bytes, *, name: str, precision: str) -> Engine:
        """Load a plan, whose bytes were verified, as an engine.

        Raises:
            BackendError: TensorRT or the device rejects it.
        """
        ...


class Installed:
    """The TensorRT and the CUDA driver that are installed here."""

    def device(self) -> Device | None:
        """The GPU that would be used."""
        return find_device()

    def machine(self) -> Machine:
        """The machine that plans must have been built for."""
        return require_machine()

    def open(self, plan: bytes, *, name: str, precision: str) -> Engine:
        """Load a plan as an engine, and warm it up before it has to meet deadlines."""
        from engines.trt.runtime import open_plan

        engine = open_plan(plan, name=name, precision=precision)
        try:
            engine.warm_up()
        except BaseException:
            engine.close()
            raise
        return engine
