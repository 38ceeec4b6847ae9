"""What is known of a device, a plan, and how it was proven: frozen records, and the JSON beside every plan.

A *graph* is an ONNX file, a *plan* what TensorRT made of it for one kind of device. Plans are no part of a bundle.
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
"""Of the JSON beside a plan."""


@dataclass(frozen=True, slots=True)
class Device:
    """One CUDA device, as the driver describes it."""

    name: str = rule("a name")
    """"NVIDIA H100 80GB HBM3", "Orin"."""
    compute_capability: str = rule("a version")
    """"9.0"."""
    integrated: bool = rule("true or false")
    """Whether it shares its memory with the processor, as a Jetson's does."""
    memory_bytes: int = rule("an integer number of bytes", minimum=0)
    """All of its memory."""
    driver: str = rule("a version")
    """NVIDIA's: "580.95.05", "540.4.0 of Jetson Linux 36.4.3"; "CUDA 13.0", which it speaks, where it does not say."""
    l4t: str | None = rule("a version, or null", default=None)
    """Jetson Linux, without its patches, which keep TensorRT and CUDA as they are: "36.4"; None elsewhere."""
    multiprocessors: int = rule("a whole number", minimum=0, default=0)
    """How many work: every Orin is called "Orin", of 4 to 16 of them, and a Jetson's power mode may switch some off."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a plan must have been built for."""

    device: Device
    """Where it runs."""
    tensorrt: str
    """TensorRT's version: "10.3.0"."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Batch sizes that a part of a plan is for; profiles of one plan follow each other without a hole."""

    smallest: int = rule("a whole number", minimum=1)
    """At least so many at a time."""
    usual: int = rule("a whole number", minimum=1)
    """What it is tuned for."""
    largest: int = rule("a whole number", minimum=1)
    """At most so many."""

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
    """What a plan was made from, and for: equal keys, equal use."""

    graph: GraphName = rule("a graph")
    """scene or frame."""
    reference: str = rule("64 hexadecimal digits")
    """SHA-256 of the bundle's float32 graph: which network it is."""
    precision: Precision = rule("a precision")
    """What the graph that was compiled is typed in."""
    typed: str = rule("64 hexadecimal digits")
    """SHA-256 of the graph that was compiled; `reference` where that is float32."""
    tensorrt: str = rule("a version")
    """TensorRT's version."""
    device: str = rule("a name")
    """The device's name."""
    compute_capability: str = rule("a version")
    """The device's."""
    multiprocessors: int = rule("a whole number", minimum=0)
    """How many the device has."""
    l4t: str | None = rule("a version, or null", default=None)
    """Jetson Linux, on a Jetson."""
    profiles: tuple[Profile, ...] = rule("a list of profiles")
    """Batch sizes."""

    @property
    def digest(self) -> str:
        """32 hexadecimal digits that stand for the key: the sidecar's file name."""
        text = json.dumps(encode(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long calls took, host to host: copies in, kernels, copies out."""

    batch: int = rule("a whole number", minimum=1)
    """Windows, or images, of a call."""
    cuda_graph: bool = rule("true or false")
    """Whether a captured CUDA graph was replayed, rather than every kernel launched."""
    p50_seconds: float = rule("a duration in seconds", minimum=0)
    """Median."""
    p99_seconds: float = rule("a duration in seconds", minimum=0)
    """99th percentile."""
    n: int = rule("a whole number", minimum=1)
    """Calls."""


@dataclass(frozen=True, slots=True)
class Parity:
    """One output of a plan against the bundle's golden answers."""

    output: str = rule("a name")
    """Graph and output: "scene/fused"."""
    max_difference: float = rule("a number", minimum=0)
    """Largest absolute difference."""
    tolerance: float = rule("a positive number", above=0)
    """Largest one allowed."""
    agreement: float | None = rule("a fraction, or null", minimum=0, maximum=1, default=None)
    """Share of the cases with the golden label, or one as good as tied with it; None for an embedding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInfo:
    """The sidecar: everything about a plan but the plan."""

    schema: int = rule("an integer", default=SIDECAR_SCHEMA)
    """Version of this schema, first in the file."""
    key: PlanKey = rule("an object")
    """What it was made from, and for."""
    plan: str = rule("a file name")
    """The plan, in the same folder; named after its own hash."""
    sha256: str = rule("64 hexadecimal digits")
    """Of the plan's bytes."""
    size: int = rule("an integer number of bytes", minimum=1)
    """The plan's length."""
    bundle: str = rule("a name")
    """Name and version of the bundle it was built for."""
    built: str = rule("a moment")
    """UTC, ISO 8601."""
    build_seconds: float = rule("a duration in seconds", minimum=0)
    """How long the build took."""
    settings: Mapping[str, int] = rule("a number a setting", default_factory=dict)
    """The builder's: effort, workspace_bytes."""
    driver: str = rule("a version")
    """The driver under which parity was last proven; under another one it is proven again, and the plan kept."""
    parity: tuple[Parity, ...] = rule("a list")
    """An entry for every output."""
    latency: tuple[Latency, ...] = rule("a list", default=())
    """What was measured right after the build."""
    memory_bytes: int = rule("an integer number of bytes", minimum=0)
    """Device memory that TensorRT asks for to run it, weights included."""
