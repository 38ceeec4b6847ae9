"""The interface to CUDA: eleven methods, implemented with pycuda or cuda-bindings. Addresses are ints, sizes bytes.

Implementations import their library late, retain the device's *primary* context, and make it current only within
`current()`, so that threads can take turns calling, and other libraries in the process keep their own context.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from engines.base import Array
from engines.trt.records import Device


class HostBuffer(Protocol):
    """Page-locked host memory: copies to and from it are asynchronous."""

    array: Array
    """[n_bytes] uint8."""
    address: int | None
    """The same memory's address on the device, without a copy: integrated devices only."""

    def free(self) -> None:
        """Release it; may be called twice."""
        ...


class DeviceBuffer(Protocol):
    """Device memory."""

    address: int
    """Its address, a multiple of 256."""

    def free(self) -> None:
        """Release it; may be called twice."""
        ...


class Cuda(Protocol):
    """One device. All methods but `close` must be called within `current()`; errors are `BackendError`s."""

    device: Device
    """The device."""
    name: str
    """Name and version of the library: "pycuda 2026.1"."""

    def current(self) -> AbstractContextManager[None]:
        """Make the primary context current in this thread; restore the thread's previous one at the end."""
        ...

    def free_bytes(self) -> int:
        """Free device memory."""
        ...

    def host_buffer(self, n_bytes: int) -> HostBuffer:
        """Allocate page-locked memory, mapped for the device if that shares its memory with the CPU."""
        ...

    def device_buffer(self, n_bytes: int) -> DeviceBuffer:
        """Allocate device memory."""
        ...

    def stream(self) -> Any:
        """Create a stream, a queue of work for the device: an object with an integer `handle`, and `free()`."""
        ...

    def copy_in(self, address: int, host: HostBuffer, n_bytes: int, stream: Any) -> None:
        """Queue a copy to the device."""
        ...

    def copy_out(self, host: HostBuffer, address: int, n_bytes: int, stream: Any) -> None:
        """Queue a copy from the device."""
        ...

    def wait(self, stream: Any) -> None:
        """Wait until everything queued is done, without spinning where the driver can sleep."""
        ...

    def capture(self, stream: Any, work: Callable[[], None]) -> Any:
        """Record the work that `work` queues, instead of executing it; return an object for `launch`, with `free()`."""
        ...

    def launch(self, graph: Any, stream: Any) -> None:
        """Queue all the recorded work in one call."""
        ...

    def close(self) -> None:
        """Release the primary context; may be called twice."""
        ...
