"""The seam to TensorRT: a plan that was deserialised, and what executes it. `plan.py` has the real one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from engines.base import TensorSpec
from engines.trt.records import Profile


class Executor(Protocol):
    """One profile of a plan, with the device memory that its activations take."""

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Say where on the device every input and output lies."""
        ...

    def set_batch(self, batch: int) -> None:
        """Say how many windows or images follow; within the profile."""
        ...

    def execute(self, stream: int) -> None:
        """Queue the kernels on that stream's handle.

        Raises:
            BackendError: TensorRT refused.
        """
        ...

    def close(self) -> None:
        """Give its memory back; may be called twice."""
        ...


class LoadedPlan(Protocol):
    """A plan on a device. Every method must be called with the device's context current."""

    inputs: Mapping[str, TensorSpec]
    """Name to spec; the first axis is "n", the batch."""
    outputs: Mapping[str, TensorSpec]
    """Name to spec."""
    profiles: tuple[Profile, ...]
    """Batch sizes; an executor each."""
    memory_bytes: int
    """Device memory it takes, weights included, as far as TensorRT tells."""
    n_layers: int
    """Layers, as far as TensorRT tells: about as many kernels are launched."""
    version: str
    """TensorRT's."""

    def executor(self, profile: int, stream: int) -> Executor:
        """What executes the profile of that position; getting ready is queued on that stream, which executes later."""
        ...

    def close(self) -> None:
        """Give its memory back; may be called twice."""
        ...
