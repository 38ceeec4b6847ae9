"""The seam to CUDA: about eight functions, of pycuda or of cuda-bindings. Addresses are whole numbers, sizes bytes.

Whoever implements it imports its library late, keeps the device's *primary* context, and makes it current only within
`current()`, so that any thread may call in turn, and other libraries of the process keep their own context.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from engines.base import Array
from engines.trt.records import Device


class HostBuffer(Protocol):
    """Page-locked memory of the processor: copies to and from it do not wait."""

    array: Array
    """[n_bytes] uint8."""
    address: int | None
    """Where the device sees the same memory, without a copy: integrated devices only."""

    def free(self) -> None:
        """Give it back; may be called twice."""
        ...


class DeviceBuffer(Protocol):
    """Memory of the device."""

    address: int
    """Where; a multiple of 256."""

    def free(self) -> None:
        """Give it back; may be called twice."""
        ...


class Cuda(Protocol):
    """One device. Every method but `close` must be called within `current()`; errors are `BackendError`s."""

    device: Device
    """Which."""
    name: str
    """The library and its version: "pycuda 2026.1"."""

    def current(self) -> AbstractContextManager[None]:
        """Make the primary context this thread's; give the thread's former one back at the end."""
        ...

    def free_bytes(self) -> int:
        """Device memory that is free."""
        ...

    def host_buffer(self, n_bytes: int) -> HostBuffer:
        """Page-locked memory; mapped into the device's where that is the same memory."""
        ...

    def device_buffer(self, n_bytes: int) -> DeviceBuffer:
        """Device memory."""
        ...

    def stream(self) -> Any:
        """A queue of work for the device: an object with `handle`, a whole number, and `free()`."""
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
        """Record what `work` queues, instead of doing it: an object for `launch`, with `free()`."""
        ...

    def launch(self, graph: Any, stream: Any) -> None:
        """Queue everything that was recorded, in one call."""
        ...

    def close(self) -> None:
        """Give the primary context back; may be called twice."""
        ...
