"""CUDA through pycuda; CUDA graphs, which it does not support, through the driver itself.

pycuda keeps a stack of contexts for each thread, in addition to the driver's own. Its contexts must be pushed and
popped in the same thread, or it ends the process at exit. Memory is freed only in the thread that retained the context,
or where that context is current. A primary context that is not detached explicitly is released by the wrong function.
All this is why `close` exists.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import numpy as np

from engines.base import Array
from engines.errors import BackendError, one_line
from engines.trt.driver import LIBRARY
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


class PyCuda:
    """The first device, through pycuda; implements the protocol `Cuda`."""

    def __init__(self, device: Device) -> None:
        """Retain the device's primary context.

        Raises:
            BackendError: pycuda is not installed or finds no device.
        """
        try:
            import pycuda
            import pycuda.driver as driver
        except Exception as error:  # noqa: BLE001  (a binary of another CUDA can raise anything)
            raise BackendError(
                f"expected pycuda, which reaches the GPU, got: {one_line(str(error))}; type: pip install pycuda"
            ) from None
        self.device = device
        self.name = f"pycuda {pycuda.VERSION_TEXT}"
        self._driver: Any = driver
        self._error: type[Exception] = driver.Error
        self._graphs = GraphCalls()
        self._broken = False
        self._left: list[Any] = []
        with self._refusing("open the device"):
            driver.init()
            context: Any = driver.Device(0).retain_primary_context()
        self._current = _Current(context, driver)
        self._release = weakref.finalize(self, _release, context, self._left)

    def current(self) -> AbstractContextManager[None]:
        """Make the primary context current in this thread; restore the thread's previous one at the end."""
        return self._current

    def free_bytes(self) -> int:
        """Free device memory."""
        with self._refusing("ask for free memory"):
            return int(self._driver.mem_get_info()[0])

    def host_buffer(self, n_bytes: int) -> _HostBuffer:
        """Allocate page-locked memory, mapped for the device if that shares its memory with the CPU."""
        flags = MAPPED if self.device.integrated else 0
        with self._refusing(f"get {n_bytes} bytes of page-locked memory"):
            array = self._driver.pagelocked_empty(n_bytes, np.uint8, mem_flags=flags)
        buffer = _HostBuffer(self.give_back, array)
        if flags:
            try:
                with self._refusing("map page-locked memory"):
                    buffer.address = int(array.base.get_device_pointer())
            except BackendError:
                buffer.free()
                raise
        return buffer

    def device_buffer(self, n_bytes: int) -> OwnedMemory:
        """Allocate device memory."""
        with self._refusing(f"get {n_bytes} bytes of device memory"):
            return OwnedMemory(self.give_back, self._driver.mem_alloc(n_bytes))

    def stream(self) -> _Stream:
        """Create a stream: a queue of work for the device."""
        with self._refusing("make a stream"):
            queue = self._driver.Stream(NON_BLOCKING)
        try:
            with self._refusing("make an event"):
                return _Stream(self.give_back, queue, self._driver.Event(BLOCKING_EVENT))
        except BackendError:
            self.give_back(queue)
            del queue  # which the error's traceback would keep alive
            raise

    def copy_in(self, address: int, host: HostBuffer, n_bytes: int, stream: _Stream) -> None:
        """Queue a copy to the device."""
        with self._refusing("copy to the device"):
            self._driver.memcpy_htod_async(address, host.array[:n_bytes], stream.queue)

    def copy_out(self, host: HostBuffer, address: int, n_bytes: int, stream: _Stream) -> None:
        """Queue a copy from the device."""
        with self._refusing("copy from the device"):
            self._driver.memcpy_dtoh_async(host.array[:n_bytes], address, stream.queue)

    def wait(self, stream: _Stream) -> None:
        """Wait until everything queued is done: poll for a fraction of a millisecond, then sleep."""
        try:
            if not stream.is_done():
                wait_until(stream.is_done, stream.sleep)
        except self._error as error:
            self._look_again()
            raise _refused("wait for the device", error) from None

    def capture(self, stream: _Stream, work: Callable[[], None]) -> CapturedGraph:
        """Record the work that `work` queues, instead of executing it."""
        return self._graphs.capture(stream.handle, work)

    def launch(self, graph: CapturedGraph, stream: _Stream) -> None:
        """Queue all the recorded work in one call."""
        self._graphs.launch(graph, stream.handle)

    def close(self) -> None:
        """Release the primary context; may be called twice."""
        self._release()

    def give_back(self, thing: Any) -> None:
        """Free a pycuda object. In a broken context this would only print a warning: keep it until the context goes."""
        if self._broken:
            self._left.append(thing)
        elif hasattr(thing, "free"):
            thing.free()

    @contextmanager
    def _refusing(self, what: str) -> Iterator[None]:
        """Convert pycuda's errors to a BackendError that says what failed."""
        try:
            yield
        except self._error as error:
            self._look_again()
            raise _refused(what, error) from None

    def _look_again(self) -> None:
        """After a failure, find out whether the context is broken, which is permanent."""
        try:
            self._driver.mem_get_info()
        except self._error:
            self._broken = True


class _HostBuffer:
    """Page-locked memory, as a pycuda array."""

    def __init__(self, give_back: Callable[[Any], None], array: Array) -> None:
        self.array = array
        self.address: int | None = None
        self._give_back: Callable[[Any], None] | None = give_back

    def free(self) -> None:
        """Release it; may be called twice."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            memory, self.array = self.array.base, np.empty(0, np.uint8)
            give_back(memory)


class _Stream:
    """A pycuda stream, and an event to sleep on."""

    def __init__(self, give_back: Callable[[Any], None], queue: Any, event: Any) -> None:
        self.handle = int(queue.handle)
        self.queue = queue
        self.is_done: Callable[[], bool] = queue.is_done
        self._event = event
        self._give_back = give_back

    def sleep(self) -> None:
        """Block in the driver until everything queued so far is done."""
        self._event.record(self.queue)
        self._event.synchronize()

    def free(self) -> None:
        """Release it; may be called twice."""
        if self.queue is not None:
            self._give_back(self._event)
            self._give_back(self.queue)
            self.is_done = _nothing_queued  # a bound method keeps its object alive
            self.queue = self._event = None


def _nothing_queued() -> bool:
    """Replaces the method `is_done` of a released stream."""
    return True


class _Current:
    """Pushes and pops the context; has no state per entry, so it can be entered from several threads and nested."""

    __slots__ = ("_error", "_handle", "_pop", "_push")

    def __init__(self, context: Any, driver: Any) -> None:
        self._push: Callable[[], None] = context.push
        self._pop: Callable[[], None] = driver.Context.pop
        self._error: type[Exception] = driver.Error
        self._handle = int(context.handle)

    def __enter__(self) -> None:
        try:
            self._push()
        except self._error as error:
            raise _refused("make the context current", error) from None
        except BaseException:  # interrupted right after the push
            self._pop_again()
            raise

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self._pop()
        except self._error as refusal:
            self._pop_again()
            if kind is None:
                raise _refused("give the context back", refusal) from None

    def _pop_again(self) -> None:
        """Pop what pycuda takes to be current, even if the driver does not: pycuda would end the process otherwise."""
        library, context = ctypes.CDLL(LIBRARY), ctypes.c_void_p()
        library.cuCtxGetCurrent(ctypes.byref(context))
        if context.value != self._handle:
            library.cuCtxPushCurrent_v2(ctypes.c_void_p(self._handle))
        with suppress(self._error):
            self._pop()


def _release(context: Any, left: list[Any]) -> None:
    """Release a primary context, from any thread.

    pycuda releases only what it takes to be current, and leaves it current. So the context is pushed, then popped from
    the driver's stack without pycuda's knowledge. Objects of a broken context are dropped afterwards: dropping them
    before would print warnings.
    """
    for _ in range(2):
        with suppress(Exception):
            context.push()
            ctypes.CDLL(LIBRARY).cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
            break
    with suppress(Exception):
        context.detach()
    left.clear()


def _refused(what: str, error: Exception) -> BackendError:
    """The error for a failed call."""
    return BackendError(f"CUDA could not {what}: {one_line(str(error))}")
