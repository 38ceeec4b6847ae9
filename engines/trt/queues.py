"""What both ways to CUDA share: owned memory, recording what is queued on a stream, waiting for it. See memory.py.

pycuda knows no captured graphs, and a call of cuda-bindings takes longer than one through ctypes: both record here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from time import perf_counter
from typing import Any

from engines.errors import BackendError
from engines.trt.driver import LIBRARY

BLOCKING_EVENT = 3
"""CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING: whoever waits for it sleeps."""
MAPPED = 2
"""CU_MEMHOSTALLOC_DEVICEMAP: the device sees the memory as well."""
NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: what others queue on the default stream is not waited for, and spoils no recording."""
_AWAKE_SECONDS = 200e-6
"""How long to ask again and again before going to sleep. What a small network takes would otherwise grow by the tens of
microseconds that waking up takes; at one window a second it costs a five-thousandth of a core."""
_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads ask of the device meanwhile is their own affair."""


def wait_until(is_done: Callable[[], bool], sleep: Callable[[], None]) -> None:
    """Wait for a queue: awake for a moment, then in the driver, which does not spin."""
    until = perf_counter() + _AWAKE_SECONDS
    while not is_done():
        if perf_counter() > until:
            return sleep()
    return None


class OwnedMemory:
    """Device memory that a library's object stands for."""

    def __init__(self, give_back: Callable[[Any], Any], memory: Any) -> None:
        self.address = int(memory)
        self._memory = memory
        self._give_back = give_back

    def free(self) -> None:
        """Give it back; may be called twice."""
        memory, self._memory = self._memory, None
        if memory is not None:
            self._give_back(memory)


class CapturedGraph:
    """Work that was recorded, for one call to queue."""

    __slots__ = ("_calls", "handle")

    def __init__(self, calls: GraphCalls, handle: int) -> None:
        self._calls = calls
        self.handle: int | None = handle
        """The driver's CUgraphExec; None once it was freed."""

    def free(self) -> None:
        """Give it back; may be called twice."""
        handle, self.handle = self.handle, None
        if handle is not None:
            self._calls.destroy(handle)


class GraphCalls:
    """The driver's functions for captured graphs. The context must be current."""

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
        """Record what `work` queues on that stream, instead of doing it.

        Raises:
            BackendError: Something in `work` cannot be recorded, or the driver refused.
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
        """Queue what was recorded.

        Raises:
            BackendError: The driver refused.
        """
        code = self._launch(graph.handle, stream)
        if code:
            self._check("launch", code)

    def destroy(self, handle: int) -> None:
        """Give a graph back; in a broken context it goes with that."""
        self._destroy(handle)

    def _check(self, what: str, code: int) -> None:
        """Say what failed."""
        if code:
            name = ctypes.c_char_p()
            known = self._name(code, ctypes.byref(name)) == 0 and name.value is not None
            text = name.value.decode() if known and name.value is not None else "an unknown error"
            raise BackendError(f"CUDA could not {what} a graph: {text} ({code})")
