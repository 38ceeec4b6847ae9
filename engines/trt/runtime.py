"""The TensorRT backend: a plan's verified bytes in, an engine on the GPU out. How it is reached: plan.py, open_cuda.py.

One page-locked buffer holds all inputs of a call, one all outputs, so that a call copies once in and once out whatever
the number of tensors; keeping an embedding on the device between two graphs would therefore save no copy. Where device
and processor share their memory, the device reads and writes those buffers itself and nothing is copied.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextlib import suppress
from threading import Lock
from typing import Any

import numpy as np

from engines.base import Array, Engine
from engines.errors import BackendError
from engines.trt.exchange import CudaLibrary
from engines.trt.lane import Lane, NotRecordedError, Side
from engines.trt.loaded import LoadedPlan
from engines.trt.memory import Cuda

_RECORDED, _PLAIN = "CUDA graphs", "no CUDA graphs"
"""Ends of `backend`."""
_CALLS_TO_RECORD = 2
"""A batch size runs plainly once, and is recorded when it comes again."""


def open_plan(
    plan: bytes, *, name: str, precision: str, cuda: CudaLibrary = "auto", cuda_graphs: bool = True
) -> TrtEngine:
    """Load a plan onto the first device.

    Args:
        plan: Its bytes, verified: a plan is code.
        name: What messages call the graph.
        precision: What the graph was typed in, for `backend`.
        cuda: What reaches the driver.
        cuda_graphs: Whether to record the kernels of a batch size that comes again, and to launch them in one call.

    Raises:
        BackendError: There is no device, something is not installed, or TensorRT refuses the plan.
    """
    from engines.trt.open_cuda import open_cuda
    from engines.trt.plan import load_plan

    opened = open_cuda(cuda)
    try:
        with opened.current():
            loaded = load_plan(plan, name)
        return TrtEngine(loaded, opened, name=name, precision=precision, cuda_graphs=cuda_graphs)
    except BaseException:
        opened.close()
        raise


class TrtEngine(Engine):
    """A plan on the GPU. Any thread may call it, one at a time; nothing of CUDA stays current between calls."""

    def __init__(self, plan: LoadedPlan, cuda: Cuda, *, name: str, precision: str, cuda_graphs: bool = True) -> None:
        """Get buffers and executors ready; the plan and CUDA are this engine's from now on, also where this fails.

        Args:
            plan: What was deserialised.
            cuda: The device that it lies on.
            name: What messages call the graph.
            precision: What the graph was typed in, for `backend`.
            cuda_graphs: Whether to record the kernels of a batch size that comes again, and to launch them in one call.

        Raises:
            BackendError: The device or TensorRT refuses.
        """
        text = f"TensorRT {plan.version}, {cuda.device.name}, {precision}, {_RECORDED if cuda_graphs else _PLAIN}"
        super().__init__(name, text, plan.inputs, plan.outputs)
        self.memory_bytes = plan.memory_bytes
        """Device memory that the plan takes, weights included, as far as TensorRT tells."""
        self.n_layers = plan.n_layers
        """Layers of the plan, as far as TensorRT tells: about as many kernels are launched."""
        self._usual = tuple(profile.usual for profile in plan.profiles)
        self._fits: list[tuple[str, tuple[int, ...], np.dtype[Any]]] = []
        self._current = cuda.current()
        self._held = _Held(cuda, plan)
        self._finalizer = weakref.finalize(self, self._held.give_back)  # an engine that nobody closed
        self._by_batch: list[Lane | None] = [None] * (1 + max(profile.largest for profile in plan.profiles))
        try:
            with self._current:
                lanes = self._held.get_ready(records=cuda_graphs)
        except BackendError as error:
            self._held.give_back()
            raise BackendError(f"{name}: {error}") from None
        except BaseException:
            self._held.give_back()
            raise
        for profile, lane in zip(plan.profiles, lanes, strict=True):
            self._by_batch[profile.smallest : profile.largest + 1] = [lane] * (profile.largest + 1 - profile.smallest)

    def warm_up(self) -> None:
        """Run every profile until it is recorded: CUDA loads kernels when they first run, and a stream has deadlines.

        Raises:
            BackendError: The device or TensorRT failed.
        """
        for batch in self._usual * _CALLS_TO_RECORD:
            self.infer({key: np.zeros((batch, *spec.shape[1:]), spec.dtype) for key, spec in self.inputs.items()})  # type: ignore[arg-type]

    def close(self) -> None:
        """Give everything back; may be called twice. A call that another thread is still in does so at its end."""
        super().close()
        self._held.give_back()

    def _checked(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The feeds, if they fit; those with the shapes of last time do, which is known at once."""
        if self._fits and len(feeds) == len(self._fits):
            for key, shape, dtype in self._fits:
                array = feeds.get(key)
                if type(array) is not np.ndarray or array.shape != shape or array.dtype is not dtype:
                    break
            else:
                return dict(feeds)  # contiguous or not: they are copied
        checked = super()._checked(feeds)
        self._fits = [(key, array.shape, array.dtype) for key, array in checked.items()]
        return checked

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """Compute; a batch above the largest profile in several parts."""
        if not self._held.lock.acquire(blocking=False):
            raise BackendError(f"{self.name}: expected one thread at a time, got a second while the first still waits")
        try:
            return self._compute(feeds)
        except BackendError as error:
            raise BackendError(f"{self.name}: {error}") from None
        finally:
            self._held.lock.release()
            if self._closed:
                self._held.give_back()

    def _compute(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Compute, with the context current for as long as it takes."""
        if self._closed:
            raise BackendError("expected an open engine, got one that was closed")
        batch = len(next(iter(feeds.values())))
        with self._current:
            if batch >= len(self._by_batch):
                return self._run_in_parts(feeds, batch)
            return {key: view.copy() for key, view in self._run(feeds, batch).items()}

    def _run_in_parts(self, feeds: Mapping[str, Array], batch: int) -> dict[str, Array]:
        """As many of the largest batch as there are, and the rest."""
        largest = len(self._by_batch) - 1
        joined: dict[str, Array] = {}
        for start in range(0, batch, largest):
            stop = min(start + largest, batch)
            part = {key: array[start:stop] for key, array in feeds.items()}
            for key, view in self._run(part, stop - start).items():
                if start == 0:
                    joined[key] = np.empty((batch, *view.shape[1:]), view.dtype)
                joined[key][start:stop] = view
        return joined

    def _run(self, feeds: Mapping[str, Array], batch: int) -> dict[str, Array]:
        """Compute a batch that a profile holds; the answers are overwritten by the next."""
        lane = self._by_batch[batch]
        if lane is None:
            sizes = [size for size, known in enumerate(self._by_batch) if known is not None]
            raise BackendError(f"expected a batch of one of the sizes {sizes}, got {batch}")
        try:
            return lane.run(feeds, batch)
        except NotRecordedError:
            self._held.stop_recording()
            self.backend = self.backend.removesuffix(_RECORDED) + f"{_PLAIN}: this plan cannot be recorded"
        except BaseException:
            self._held.settle()
            raise
        return self._run(feeds, batch)


class _Held:
    """What an engine has to give back, apart from it, so that one nobody closed is closed when it is collected."""

    def __init__(self, cuda: Cuda, plan: LoadedPlan) -> None:
        self.lock = Lock()
        """Held by the call that runs."""
        self._cuda = cuda
        self._plan = plan
        self._lanes: list[Lane] = []
        self._sides: list[Side] = []
        self._stream: Any = None
        self._given_back = False

    def get_ready(self, *, records: bool) -> list[Lane]:
        """A stream, buffers for the largest batch, and a lane for every profile."""
        plan, cuda = self._plan, self._cuda
        largest = max(profile.largest for profile in plan.profiles)
        self._stream = cuda.stream()
        for specs in (plan.inputs, plan.outputs):
            self._sides.append(Side(specs, largest, cuda))
        given, answer = self._sides
        for position in range(len(plan.profiles)):
            executor = plan.executor(position, self._stream.handle)
            self._lanes.append(Lane(executor, given, answer, cuda, self._stream, records=records))
        return self._lanes

    def stop_recording(self) -> None:
        """Launch kernel by kernel from now on."""
        for lane in self._lanes:
            lane.records = False

    def settle(self) -> None:
        """After a failure: let what was queued end, and begin anew with the next call."""
        with suppress(BackendError):
            self._cuda.wait(self._stream)
        for lane in self._lanes:
            lane.forget()

    def give_back(self) -> None:
        """Give everything back in the order that TensorRT wants, unless a call still runs; may be called twice."""
        if not self.lock.acquire(blocking=False):
            return
        try:
            if self._given_back:
                return
            self._given_back = True
            for _ in range(2):  # the context may fail to become current for a passing reason
                with suppress(BackendError), self._cuda.current():
                    self._free()
                    break
            self._cuda.close()
        finally:
            self.lock.release()

    def _free(self) -> None:
        """Executors, plan, buffers, stream; what was given back already is not given back again."""
        if self._stream is not None:
            self.settle()
        for lane in self._lanes:
            lane.close()
        self._plan.close()
        for side in self._sides:
            side.free()
        if self._stream is not None:
            self._stream.free()
