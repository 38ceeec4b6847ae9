"""The interface to TensorRT: a deserialised plan, and its executors. `plan.py` is the real implementation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from engines.base import TensorSpec
from engines.trt.records import Profile


class Executor(Protocol):
    """Runs one profile of a plan; owns the device memory for its activations."""

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Set the device addresses of all inputs and outputs."""
        ...

    def set_batch(self, batch: int) -> None:
        """Set the number of windows or images in the next calls; must be within the profile."""
        ...

    def execute(self, stream: int) -> None:
        """Queue the kernels on the stream with that handle.

        Raises:
            BackendError: TensorRT refused.
        """
        ...

    def close(self) -> None:
        """Release its memory; may be called twice."""
        ...


class LoadedPlan(Protocol):
    """A plan on a device. All methods must be called with the device's context current."""

    inputs: Mapping[str, TensorSpec]
    """Name to spec; the first axis is "n", the batch."""
    outputs: Mapping[str, TensorSpec]
    """Name to spec."""
    profiles: tuple[Profile, ...]
    """Ranges of batch sizes; each one has its own executor."""
    memory_bytes: int
    """Device memory it takes, weights included, as reported by TensorRT."""
    n_layers: int
    """Number of layers, as reported by TensorRT: about as many kernels are launched."""
    version: str
    """TensorRT's version."""

    def executor(self, profile: int, stream: int) -> Executor:
        """Create an executor for a profile by its index; setup is queued on the stream that it must later run on."""
        ...

    def close(self) -> None:
        """Release its memory; may be called twice."""
        ...
