"""CUDA through NVIDIA's own cuda-bindings, for where pycuda cannot be compiled. The counterpart of pycuda_cuda.py."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from engines.errors import BackendError, one_line
from engines.trt.memory import HostBuffer
from engines.trt.queues import (
    BLOCKING_EVENT,
    MAPPED,
    NON_BLOCKING,
    CapturedGraph,
    GraphCalls,
    OwnedMemory,
    wait_until,
)
from engines.trt.records import Device

_NOT_READY = 600
"""CUDA_ERROR_NOT_READY."""


class CudaBindings:
    """The first device, through cuda-bindings; implements the protocol `Cuda`."""

    def __init__(self, device: Device) -> None:
        """Retain the device's primary context.

        Raises:
            BackendError: cuda-bindings is not installed or finds no device.
        """
        try:
            from cuda.bindings import driver
        except Exception as error:  # noqa: BLE001  (a binary of another CUDA can raise anything)
            raise BackendError(
                f"expected cuda-bindings, which reaches the GPU, got: {one_line(str(error))}; "
                "type: pip install cuda-bindings"
            ) from None
        try:
            number = version("cuda-bindings")
        except PackageNotFoundError:
            number = "of an unknown version"
        self.device = device
        self.name = f"cuda-bindings {number}"
        self._driver: Any = driver
        self._graphs = GraphCalls()
        self._call("start the driver", driver.cuInit, 0)
        handle = self._call("find the device", driver.cuDeviceGet, 0)
        context = self._call("open the device", driver.cuDevicePrimaryCtxRetain, handle)
        self._current = _Current(driver, context)
        self._release = weakref.finalize(self, driver.cuDevicePrimaryCtxRelease, handle)

    def current(self) -> AbstractContextManager[None]:
        """Make the primary context current in this thread; restore the thread's previous one at the end."""
        return self._current

    def free_bytes(self) -> int:
        """Free device memory."""
        return int(self._call("ask for free memory", self._driver.cuMemGetInfo)[0])

    def host_buffer(self, n_bytes: int) -> _HostBuffer:
        """Allocate page-locked memory, mapped for the device if that shares its memory with the CPU."""
        flags = MAPPED if self.device.integrated else 0
        memory = self._call(f"get {n_bytes} bytes of page-locked memory", self._driver.cuMemHostAlloc, n_bytes, flags)
        buffer = _HostBuffer(self._driver.cuMemFreeHost, int(memory), n_bytes)
        if flags:
            try:
                ask = self._driver.cuMemHostGetDevicePointer
                buffer.address = int(self._call("map page-locked memory", ask, memory, 0))
            except BackendError:
                buffer.free()
                raise
        return buffer

    def device_buffer(self, n_bytes: int) -> OwnedMemory:
        """Allocate device memory."""
        memory = self._call(f"get {n_bytes} bytes of device memory", self._driver.cuMemAlloc, n_bytes)
        return OwnedMemory(self._driver.cuMemFree, memory)

    def stream(self) -> _Stream:
        """Create a stream: a queue of work for the device."""
        queue = self._call("make a stream", self._driver.cuStreamCreate, NON_BLOCKING)
        try:
            event = self._call("make an event", self._driver.cuEventCreate, BLOCKING_EVENT)
        except BackendError:
            self._driver.cuStreamDestroy(queue)
            raise
        return _Stream(self, self._driver, queue, event)

    def copy_in(self, address: int, host: HostBuffer, n_bytes: int, stream: _Stream) -> None:
        """Queue a copy to the device."""
        source = host.array.ctypes.data
        self._call("copy to the device", self._driver.cuMemcpyHtoDAsync, address, source, n_bytes, stream.queue)

    def copy_out(self, host: HostBuffer, address: int, n_bytes: int, stream: _Stream) -> None:
        """Queue a copy from the device."""
        target = host.array.ctypes.data
        self._call("copy from the device", self._driver.cuMemcpyDtoHAsync, target, address, n_bytes, stream.queue)

    def wait(self, stream: _Stream) -> None:
        """Wait until everything queued is done: poll for a fraction of a millisecond, then sleep."""
        if not stream.is_done():
            wait_until(stream.is_done, stream.sleep)

    def capture(self, stream: _Stream, work: Callable[[], None]) -> CapturedGraph:
        """Record the work that `work` queues, instead of executing it."""
        return self._graphs.capture(stream.handle, work)

    def launch(self, graph: CapturedGraph, stream: _Stream) -> None:
        """Queue all the recorded work in one call."""
        self._graphs.launch(graph, stream.handle)

    def close(self) -> None:
        """Release the primary context; may be called twice."""
        self._release()

    def _call(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function; return its results without the error code, or raise if that is not 0."""
        code, *answers = function(*arguments)
        if code:
            raise _refused(what, code)
        return answers[0] if len(answers) == 1 else answers


class _HostBuffer:
    """Page-locked memory."""

    def __init__(self, give_back: Callable[[int], Any], memory: int, n_bytes: int) -> None:
        self.array = np.ctypeslib.as_array((ctypes.c_uint8 * n_bytes).from_address(memory))
        self.address: int | None = None
        self._memory: int | None = memory
        self._give_back = give_back

    def free(self) -> None:
        """Release it; may be called twice."""
        memory, self._memory = self._memory, None
        if memory is not None:
            self.array = np.empty(0, np.uint8)
            self._give_back(memory)


class _Stream:
    """A stream, and an event to sleep on."""

    def __init__(self, cuda: CudaBindings, driver: Any, queue: Any, event: Any) -> None:
        self.handle = int(queue)
        self.queue = queue
        self._cuda = cuda
        self._driver = driver
        self._query = driver.cuStreamQuery
        self._event = event

    def is_done(self) -> bool:
        """Whether everything queued is done."""
        code = self._query(self.queue)[0]
        if code and code != _NOT_READY:
            raise _refused("wait for the device", code)
        return not code

    def sleep(self) -> None:
        """Block in the driver until everything queued so far is done."""
        self._cuda._call("mark a stream", self._driver.cuEventRecord, self._event, self.queue)
        self._cuda._call("wait for the device", self._driver.cuEventSynchronize, self._event)

    def free(self) -> None:
        """Release it; may be called twice."""
        queue, self.queue = self.queue, None
        if queue is not None:
            self._driver.cuEventDestroy(self._event)
            self._driver.cuStreamDestroy(queue)


class _Current:
    """Pushes and pops the context; has no state per entry, so it can be entered from several threads and nested."""

    __slots__ = ("_context", "_pop", "_push")

    def __init__(self, driver: Any, context: Any) -> None:
        self._push = driver.cuCtxPushCurrent
        self._pop = driver.cuCtxPopCurrent
        self._context = context

    def __enter__(self) -> None:
        code = self._push(self._context)[0]
        if code:
            raise _refused("make the context current", code)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        code = self._pop()[0]
        if code and kind is None:  # otherwise the pop has worked, and its code only repeats that error
            raise _refused("give the context back", code)


def _refused(what: str, code: Any) -> BackendError:
    """The error for a failed call."""
    return BackendError(f"CUDA could not {what}: {getattr(code, 'name', 'an unknown error')} ({int(code)})")
