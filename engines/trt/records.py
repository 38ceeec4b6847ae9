"""Frozen records of devices, plans and how these were proven; together they make the JSON beside every plan.

A *graph* is an ONNX file, a *plan* what TensorRT made of it for one kind of device. Plans are not part of a bundle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from engines.errors import ManifestError
from engines.manifest import GraphName, Precision
from engines.schema import encode, rule

SIDECAR_SCHEMA = 1
"""Schema version of the JSON beside a plan."""


@dataclass(frozen=True, slots=True)
class Device:
    """One CUDA device, as the driver describes it."""

    name: str = rule("a name")
    """"NVIDIA H100 80GB HBM3", "Orin"."""
    compute_capability: str = rule("a version")
    """"9.0"."""
    integrated: bool = rule("true or false")
    """Whether it shares its memory with the CPU, as a Jetson's does."""
    memory_bytes: int = rule("an integer number of bytes", minimum=0)
    """Total memory, in bytes."""
    driver: str = rule("a version")
    """NVIDIA's: "580.95.05", "540.4.0 of Jetson Linux 36.4.3"; if unknown, the supported CUDA: "CUDA 13.0"."""
    l4t: str | None = rule("a version, or null", default=None)
    """Jetson Linux version without the patch level, which leaves TensorRT and CUDA unchanged: "36.4"; else None."""
    multiprocessors: int = rule("a whole number", minimum=0, default=0)
    """Number enabled: every Orin is named "Orin", with 4 to 16 of them, and a Jetson's power mode may disable some."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that a plan must have been built for."""

    device: Device
    """The device it runs on."""
    tensorrt: str
    """TensorRT's version: "10.3.0"."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A range of batch sizes for which a plan is built; the profiles of one plan are contiguous."""

    smallest: int = rule("a whole number", minimum=1)
    """Smallest batch size."""
    usual: int = rule("a whole number", minimum=1)
    """Batch size it is tuned for."""
    largest: int = rule("a whole number", minimum=1)
    """Largest batch size."""

    def __post_init__(self) -> None:
        if not self.smallest <= self.usual <= self.largest:
            raise ManifestError(
                f"profile: expected smallest ≤ usual ≤ largest, got {self.smallest}, {self.usual}, {self.largest}"
            )


def profiles_of(batches: tuple[int, ...]) -> tuple[Profile, ...]:
    """Profiles for batch sizes: (1, 8) gives one for exactly 1, and one for 2 to 8 that is tuned for 8."""
    sizes = sorted(set(batches))
    return tuple(Profile(1 if index == 0 else sizes[index - 1] + 1, size, size) for index, size in enumerate(sizes))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanKey:
    """What a plan was made from and for: plans with equal keys are interchangeable."""

    graph: GraphName = rule("a graph")
    """scene or frame."""
    reference: str = rule("64 hexadecimal digits")
    """SHA-256 of the bundle's float32 graph, which identifies the network."""
    precision: Precision = rule("a precision")
    """Precision of the compiled graph."""
    typed: str = rule("64 hexadecimal digits")
    """SHA-256 of the compiled graph; equal to `reference` for float32."""
    tensorrt: str = rule("a version")
    """TensorRT's version."""
    device: str = rule("a name")
    """Name of the device."""
    compute_capability: str = rule("a version")
    """Compute capability of the device."""
    multiprocessors: int = rule("a whole number", minimum=0)
    """Number of multiprocessors of the device."""
    l4t: str | None = rule("a version, or null", default=None)
    """Jetson Linux version, on a Jetson."""
    profiles: tuple[Profile, ...] = rule("a list of profiles")
    """Ranges of batch sizes."""

    @property
    def digest(self) -> str:
        """32 hexadecimal digits that identify the key; the sidecar is named after them."""
        text = json.dumps(encode(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long calls took, from host to host: copies in, kernels, copies out."""

    batch: int = rule("a whole number", minimum=1)
    """Number of windows or images per call."""
    cuda_graph: bool = rule("true or false")
    """Whether a CUDA graph was replayed, rather than each kernel launched separately."""
    p50_seconds: float = rule("a duration in seconds", minimum=0)
    """Median."""
    p99_seconds: float = rule("a duration in seconds", minimum=0)
    """99th percentile."""
    n: int = rule("a whole number", minimum=1)
    """Number of calls measured."""


@dataclass(frozen=True, slots=True)
class Parity:
    """One output of a plan against the bundle's golden answers."""

    output: str = rule("a name")
    """Graph and output: "scene/fused"."""
    max_difference: float = rule("a number", minimum=0)
    """Largest absolute difference."""
    tolerance: float = rule("a positive number", above=0)
    """Largest difference allowed."""
    agreement: float | None = rule("a fraction, or null", minimum=0, maximum=1, default=None)
    """Share of cases with the golden label, or one practically tied with it; None for an embedding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInfo:
    """The sidecar: everything about a plan except the plan itself."""

    schema: int = rule("an integer", default=SIDECAR_SCHEMA)
    """Version of this schema; the first key in the file."""
    key: PlanKey = rule("an object")
    """What it was made from and for."""
    plan: str = rule("a file name")
    """Name of the plan's file, in the same folder; derived from its hash."""
    sha256: str = rule("64 hexadecimal digits")
    """Hash of the plan's bytes."""
    size: int = rule("an integer number of bytes", minimum=1)
    """Size of the plan in bytes."""
    bundle: str = rule("a name")
    """Name and version of the bundle it was built for."""
    built: str = rule("a moment")
    """Time of the build: UTC, ISO 8601."""
    build_seconds: float = rule("a duration in seconds", minimum=0)
    """How long the build took."""
    settings: Mapping[str, int] = rule("a number a setting", default_factory=dict)
    """Settings of the builder: effort, workspace_bytes."""
    driver: str = rule("a version")
    """Driver under which parity was last proven; under another one it is proven again, and the plan kept."""
    parity: tuple[Parity, ...] = rule("a list")
    """One entry per output."""
    latency: tuple[Latency, ...] = rule("a list", default=())
    """Latencies measured when the plan was last timed."""
    memory_bytes: int = rule("an integer number of bytes", minimum=0)
    """Device memory that TensorRT needs to run it, weights included."""
