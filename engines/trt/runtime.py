"""The TensorRT backend: a plan's verified bytes in, an engine on the GPU out. Built on plan.py and open_cuda.py.

One page-locked buffer holds all inputs of a call and one all outputs, so that a call makes one copy in and one out,
however many tensors there are; keeping an embedding on the device between two graphs would therefore save no copy. If
device and CPU share their memory, the device uses those buffers directly and nothing is copied.
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
"""Suffixes of `backend`."""
_CALLS_TO_RECORD = 2
"""A batch size is run normally once, and captured in a CUDA graph when it repeats."""


def open_plan(
    plan: bytes, *, name: str, precision: str, cuda: CudaLibrary = "auto", cuda_graphs: bool = True
) -> TrtEngine:
    """Load a plan onto the first device.

    Args:
        plan: Its bytes, verified: a plan is code.
        name: What error messages call the graph.
        precision: The graph's precision, for the text of `backend`.
        cuda: The library used to reach the driver.
        cuda_graphs: Whether to capture the kernels in a CUDA graph when a batch size repeats.

    Raises:
        BackendError: There is no device, something is not installed, or TensorRT rejects the plan.
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
    """A plan on the GPU. Any thread may call it, one at a time; no CUDA context stays current between calls."""

    def __init__(self, plan: LoadedPlan, cuda: Cuda, *, name: str, precision: str, cuda_graphs: bool = True) -> None:
        """Allocate buffers and executors. The engine takes ownership of `plan` and `cuda`, even if this fails.

        Args:
            plan: The deserialised plan.
            cuda: The device that it is on.
            name: What error messages call the graph.
            precision: The graph's precision, for the text of `backend`.
            cuda_graphs: Whether to capture the kernels in a CUDA graph when a batch size repeats.

        Raises:
            BackendError: The device or TensorRT refuses.
        """
        text = f"TensorRT {plan.version}, {cuda.device.name}, {precision}, {_RECORDED if cuda_graphs else _PLAIN}"
        super().__init__(name, text, plan.inputs, plan.outputs)
        self.memory_bytes = plan.memory_bytes
        """Device memory that the plan takes, weights included, as reported by TensorRT."""
        self.n_layers = plan.n_layers
        """Layers of the plan, as reported by TensorRT: about as many kernels are launched."""
        self._usual = tuple(profile.usual for profile in plan.profiles)
        self._fits: list[tuple[str, tuple[int, ...], np.dtype[Any]]] = []
        self._current = cuda.current()
        self._held = _Held(cuda, plan)
        self._finalizer = weakref.finalize(self, self._held.give_back)  # for an engine that is never closed
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
        """Run every profile until it is captured: CUDA loads kernels at their first run, and a stream has deadlines.

        Raises:
            BackendError: The device or TensorRT failed.
        """
        for batch in self._usual * _CALLS_TO_RECORD:
            self.infer({key: np.zeros((batch, *spec.shape[1:]), spec.dtype) for key, spec in self.inputs.items()})  # type: ignore[arg-type]

    def close(self) -> None:
        """Release everything; may be called twice. A call still running in another thread does so at its end."""
        super().close()
        self._held.give_back()

    def _checked(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return the feeds if they fit; with the same shapes and types as last time, that is known at once."""
        if self._fits and len(feeds) == len(self._fits):
            for key, shape, dtype in self._fits:
                array = feeds.get(key)
                if type(array) is not np.ndarray or array.shape != shape or array.dtype is not dtype:
                    break
            else:
                return dict(feeds)  # contiguous or not: they are copied anyway
        checked = super()._checked(feeds)
        self._fits = [(key, array.shape, array.dtype) for key, array in checked.items()]
        return checked

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """Run a batch; one larger than the largest profile is split."""
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
        """Run a batch, with the context current while it runs."""
        if self._closed:
            raise BackendError("expected an open engine, got one that was closed")
        batch = len(next(iter(feeds.values())))
        with self._current:
            if batch >= len(self._by_batch):
                return self._run_in_parts(feeds, batch)
            return {key: view.copy() for key, view in self._run(feeds, batch).items()}

    def _run_in_parts(self, feeds: Mapping[str, Array], batch: int) -> dict[str, Array]:
        """Run batches of the largest size, then the rest."""
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
        """Run a batch that fits a profile; the next call overwrites the answers."""
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
    """What an engine must release, as a separate object, so that even an engine that is never closed releases it."""

    def __init__(self, cuda: Cuda, plan: LoadedPlan) -> None:
        self.lock = Lock()
        """Held by the running call."""
        self._cuda = cuda
        self._plan = plan
        self._lanes: list[Lane] = []
        self._sides: list[Side] = []
        self._stream: Any = None
        self._given_back = False

    def get_ready(self, *, records: bool) -> list[Lane]:
        """Create a stream, buffers for the largest batch, and a lane for every profile."""
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
        """Launch kernels one by one from now on."""
        for lane in self._lanes:
            lane.records = False

    def settle(self) -> None:
        """After a failure, let queued work finish; the next call prepares everything anew."""
        with suppress(BackendError):
            self._cuda.wait(self._stream)
        for lane in self._lanes:
            lane.forget()

    def give_back(self) -> None:
        """Release everything, in the order TensorRT requires, unless a call is running; may be called twice."""
        if not self.lock.acquire(blocking=False):
            return
        try:
            if self._given_back:
                return
            self._given_back = True
            for _ in range(2):  # making the context current may fail for a transient reason
                with suppress(BackendError), self._cuda.current():
                    self._free()
                    break
            self._cuda.close()
        finally:
            self.lock.release()

    def _free(self) -> None:
        """Release executors, plan, buffers and stream; each of them ignores being released twice."""
        if self._stream is not None:
            self.settle()
        for lane in self._lanes:
            lane.close()
        self._plan.close()
        for side in self._sides:
            side.free()
        if self._stream is not None:
            self._stream.free()
