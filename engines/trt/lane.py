"""One profile of a plan: its input and output buffers, and the batch size it is prepared for. Used by runtime.py.

Tensors are packed one after the other, anew for each batch size, so that a small batch copies little. For a batch size
other than the last one, a lane lays the tensors out, passes the addresses to TensorRT, and first runs without a CUDA
graph, which TensorRT requires before capturing one.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from engines.base import Array, TensorSpec
from engines.errors import BackendError
from engines.trt.loaded import Executor
from engines.trt.memory import Cuda, DeviceBuffer, HostBuffer

_ALIGNMENT = 256
"""Alignment in bytes that TensorRT requires of addresses."""


class NotRecordedError(BackendError):
    """The kernels could not be captured in a CUDA graph; launching them one by one may still work."""


class Side:
    """All inputs of a call, or all outputs: page-locked host memory, and device memory if that is separate."""

    def __init__(self, specs: Mapping[str, TensorSpec], largest: int, cuda: Cuda) -> None:
        self._specs = tuple(specs.values())
        n_bytes = sum(_size(spec, largest) for spec in self._specs)
        self.host: HostBuffer = cuda.host_buffer(n_bytes)
        self.device: DeviceBuffer | None = None
        if self.host.address is not None:
            self.address = self.host.address
        else:
            try:
                self.device = cuda.device_buffer(n_bytes)
            except BaseException:
                self.host.free()
                raise
            self.address = self.device.address

    def lay_out(self, batch: int) -> tuple[dict[str, Array], dict[str, int], int]:
        """Lay out the tensors for a batch size: views of the host memory, device addresses, and total size in bytes."""
        views, addresses, start, end = {}, {}, 0, 0
        for spec in self._specs:
            shape = (batch, *_fixed(spec))
            end = start + prod(shape) * np.dtype(spec.dtype).itemsize
            views[spec.name] = self.host.array[start:end].view(spec.dtype).reshape(shape)
            addresses[spec.name] = self.address + start
            start += _size(spec, batch)
        return views, addresses, end

    def free(self) -> None:
        """Release both buffers; may be called twice."""
        if self.device is not None:
            self.device.free()
        self.host.free()


class Lane:
    """One profile, prepared for the most recent batch size."""

    def __init__(
        self, executor: Executor, given: Side, answer: Side, cuda: Cuda, stream: Any, *, records: bool
    ) -> None:
        self.records = records
        """Whether the kernels are captured in a CUDA graph when a batch size repeats."""
        self._executor = executor
        self._given = given
        self._answer = answer
        self._cuda = cuda
        self._stream = stream
        self._batch = 0
        self._ran = False
        self._graph: Any = None
        self._inputs: tuple[tuple[str, Array], ...] = ()
        self._outputs: dict[str, Array] = {}
        self._n_bytes = (0, 0)

    def run(self, feeds: Mapping[str, Array], batch: int) -> dict[str, Array]:
        """Run a batch.

        Args:
            feeds: An array for every input.
            batch: Number of windows or images in each.

        Returns:
            Views of page-locked memory, which the next call of any lane overwrites.

        Raises:
            NotRecordedError: The kernels cannot be captured; they may still run with `records` off.
            BackendError: The device or TensorRT failed.
        """
        if batch != self._batch:
            self._prepare(batch)
        for key, view in self._inputs:
            view[...] = feeds[key]
        if self._graph is not None:
            self._cuda.launch(self._graph, self._stream)
        elif self.records and self._ran:
            try:
                self._graph = self._cuda.capture(self._stream, self._queue)
            except BackendError as error:
                raise NotRecordedError(str(error)) from None
            self._cuda.launch(self._graph, self._stream)
        else:
            self._queue()
        self._cuda.wait(self._stream)
        self._ran = True
        return self._outputs

    def forget(self) -> None:
        """Discard the captured graph and the layout; the next call prepares everything anew."""
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.free()
        self._batch = 0
        self._ran = False

    def close(self) -> None:
        """Release the graph and the executor; may be called twice."""
        self.forget()
        self._inputs, self._outputs = (), {}
        self._executor.close()

    def _prepare(self, batch: int) -> None:
        """Prepare for another batch size."""
        self.forget()
        inputs, sources, n_in = self._given.lay_out(batch)
        outputs, targets, n_out = self._answer.lay_out(batch)
        self._executor.set_batch(batch)
        self._executor.bind({**sources, **targets})
        self._inputs, self._outputs, self._n_bytes = tuple(inputs.items()), outputs, (n_in, n_out)
        self._batch = batch

    def _queue(self) -> None:
        """Queue the copy in, the kernels and the copy out; copies only where they are needed."""
        n_in, n_out = self._n_bytes
        if self._given.device is not None:
            self._cuda.copy_in(self._given.address, self._given.host, n_in, self._stream)
        self._executor.execute(self._stream.handle)
        if self._answer.device is not None:
            self._cuda.copy_out(self._answer.host, self._answer.address, n_out, self._stream)


def _fixed(spec: TensorSpec) -> tuple[int, ...]:
    """Sizes of all axes but the first, which is the batch."""
    return tuple(size for size in spec.shape[1:] if isinstance(size, int))


def _size(spec: TensorSpec, batch: int) -> int:
    """Size of a tensor in bytes, rounded up to where the next one may start."""
    n_bytes = batch * prod(_fixed(spec)) * np.dtype(spec.dtype).itemsize
    return -(-n_bytes // _ALIGNMENT) * _ALIGNMENT
