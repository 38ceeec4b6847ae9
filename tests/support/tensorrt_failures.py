"""A TensorRT whose plans stop working after a number of calls, as after an error of the device."""

from __future__ import annotations

from engines.base import Array, Engine
from engines.errors import BackendError
from engines.trt.installed import Installed, TensorRt
from engines.trt.records import Device, Machine


class FailingAfter:
    """Opens plans as another one does; each answers so many calls and then fails for good."""

    def __init__(self, n_calls: int, inner: TensorRt | None = None) -> None:
        """Fail after so many calls.

        Args:
            n_calls: Of each graph.
            inner: What opens plans; None: the TensorRT that is installed.
        """
        self._n_calls, self._inner = n_calls, inner or Installed()

    def device(self) -> Device | None:
        """The other's."""
        return self._inner.device()

    def machine(self) -> Machine:
        """The other's."""
        return self._inner.machine()

    def open(self, plan: bytes, *, name: str, precision: str) -> Engine:
        """An engine that will fail."""
        return _Failing(self._inner.open(plan, name=name, precision=precision), self._n_calls)


class _Failing(Engine):
    def __init__(self, engine: Engine, n_calls: int) -> None:
        super().__init__(engine.name, engine.backend, engine.inputs, engine.outputs)
        self._engine, self._left = engine, n_calls

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:
        if self._left == 0:
            raise BackendError(f"{self.name}: an injected error of the device")
        self._left -= 1
        return self._engine.infer(feeds)

    def close(self) -> None:
        super().close()
        self._engine.close()
