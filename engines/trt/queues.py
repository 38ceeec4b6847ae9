"""What both CUDA libraries share: owned memory, capturing the work queued on a stream, waiting for it. See memory.py.

pycuda does not support CUDA graphs, and calls of cuda-bindings are slower than through ctypes: both capture here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from time import perf_counter
from typing import Any

from engines.errors import BackendError
from engines.trt.driver import LIBRARY

BLOCKING_EVENT = 3
"""CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING: a thread that waits for the event sleeps."""
MAPPED = 2
"""CU_MEMHOSTALLOC_DEVICEMAP: the memory is mapped for the device as well."""
NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: does not wait for work on the default stream, which would also invalidate a capture."""
_AWAKE_SECONDS = 200e-6
"""How long to poll before going to sleep. Waking up takes tens of microseconds, which would otherwise be added to the
run time of a small network; at one window per second, polling costs a five-thousandth of a core."""
_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: calls of other threads do not interfere with a capture."""


def wait_until(is_done: Callable[[], bool], sleep: Callable[[], None]) -> None:
    """Wait for a stream: poll for a moment, then sleep in the driver, which does not spin."""
    until = perf_counter() + _AWAKE_SECONDS
    while not is_done():
        if perf_counter() > until:
            return sleep()
    return None


class OwnedMemory:
    """Device memory that belongs to an object of a CUDA library."""

    def __init__(self, give_back: Callable[[Any], Any], memory: Any) -> None:
        self.address = int(memory)
        self._memory = memory
        self._give_back = give_back

    def free(self) -> None:
        """Release it; may be called twice."""
        memory, self._memory = self._memory, None
        if memory is not None:
            self._give_back(memory)


class CapturedGraph:
    """Captured work that one call can queue."""

    __slots__ = ("_calls", "handle")

    def __init__(self, calls: GraphCalls, handle: int) -> None:
        self._calls = calls
        self.handle: int | None = handle
        """The driver's CUgraphExec; None once it is freed."""

    def free(self) -> None:
        """Release it; may be called twice."""
        handle, self.handle = self.handle, None
        if handle is not None:
            self._calls.destroy(handle)


class GraphCalls:
    """The driver's functions for CUDA graphs. The context must be current."""

    def __init__(self) -> None:
        driver: Any = ctypes.CDLL(LIBRARY)
        pointer, out = ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)
        self._begin, self._end = driver.cuStreamBeginCapture_v2, driver.cuStreamEndCapture
        self._instantiate, self._launch = driver.cuGraphInstantiateWithFlags, driver.cuGraphLaunch
        self._destroy_graph, self._destroy = driver.cuGraphDestroy, driver.cuGraphExecDestroy
        self._name = driver.cuGetErrorName
        self._begin.argtypes = [pointer, ctypes.c_int]
        self._end.argtypes = [pointer, out]
        self._instantiate.argtypes = [out, pointer, ctypes.c_ulonglong]
        self._launch.argtypes = [pointer, pointer]
        self._destroy_graph.argtypes = self._destroy.argtypes = [pointer]
        self._name.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)]

    def capture(self, stream: int, work: Callable[[], None]) -> CapturedGraph:
        """Capture the work that `work` queues on that stream, instead of executing it.

        Raises:
            BackendError: Something in `work` cannot be captured, or the driver refused.
        """
        graph, ready = ctypes.c_void_p(), ctypes.c_void_p()
        self._check("record", self._begin(stream, _THREAD_LOCAL))
        try:
            work()
        except BaseException:
            if self._end(stream, ctypes.byref(graph)) == 0:
                self._destroy_graph(graph)
            raise
        self._check("record", self._end(stream, ctypes.byref(graph)))
        code = self._instantiate(ctypes.byref(ready), graph, 0)
        self._destroy_graph(graph)
        self._check("instantiate", code)
        return CapturedGraph(self, int(ready.value or 0))

    def launch(self, graph: CapturedGraph, stream: int) -> None:
        """Queue a captured graph.

        Raises:
            BackendError: The driver refused.
        """
        code = self._launch(graph.handle, stream)
        if code:
            self._check("launch", code)

    def destroy(self, handle: int) -> None:
        """Release a graph; errors are ignored, since a broken context frees it anyway."""
        self._destroy(handle)

    def _check(self, what: str, code: int) -> None:
        """Raise a BackendError if the code is not 0."""
        if code:
            name = ctypes.c_char_p()
            known = self._name(code, ctypes.byref(name)) == 0 and name.value is not None
            text = name.value.decode() if known and name.value is not None else "an unknown error"
            raise BackendError(f"CUDA could not {what} a graph: {text} ({code})")
