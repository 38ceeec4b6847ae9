"""The TensorRT that is installed here, as `load_engines` sees it; another one may stand in, in tests for instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from engines.base import Engine
from engines.trt.driver import find_device, require_machine

if TYPE_CHECKING:
    from engines.trt.records import Device, Machine


class TensorRt(Protocol):
    """Says what plans have to be for, and makes engines of them."""

    def device(self) -> Device | None:
        """The GPU that would be used; None where there is none. Nothing is imported to find out."""
        ...

    def machine(self) -> Machine:
        """What plans must have been built for.

        Raises:
            BackendError: Something is missing; the message names all of it, and how to get it.
        """
        ...

    def open(self, plan: bytes, *, name: str, precision: str) -> Engine:
        """Make an engine of a plan whose bytes were verified.

        Raises:
            BackendError: TensorRT or the device refuses it.
        """
        ...


class Installed:
    """TensorRT and CUDA's driver as they are installed here."""

    def device(self) -> Device | None:
        """The GPU that would be used."""
        return find_device()

    def machine(self) -> Machine:
        """What plans must have been built for."""
        return require_machine()

    def open(self, plan: bytes, *, name: str, precision: str) -> Engine:
        """Make an engine of a plan, and run it before anybody waits for its answers."""
        from engines.trt.runtime import open_plan

        engine = open_plan(plan, name=name, precision=precision)
        try:
            engine.warm_up()
        except BaseException:
            engine.close()
            raise
        return engine
