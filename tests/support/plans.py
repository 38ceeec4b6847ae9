"""Plans that nothing can run, with true keys: what a store is given, finds and reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from engines.bundle import Bundle, write_bundle
from engines.manifest import GraphName, Precision
from engines.trt.records import Device, Latency, Machine, Parity, PlanInfo, PlanKey, profiles_of

H100 = Machine(Device("NVIDIA H100 80GB HBM3", "9.0", False, 80 << 30, "580.95.05", None, 132), "10.13.2")
ORIN = Machine(Device("Orin", "8.7", True, 8 << 30, "540.4.0 of Jetson Linux 36.4.3", "36.4", 8), "10.3.0")
FIELDS: dict[str, Any] = {
    "version": "1",
    "description": "Nothing",
    "licence": "Apache-2.0",
    "labels": ["a", "b"],
    "window": {"seconds": 1, "default_step_seconds": 1},
    "inputs": [{"name": "x", "audio": {"sample_rate": 8000, "channels": "mono", "feature": {"kind": "waveform"}}}],
    "outputs": [{"name": "fused"}],
}


def write_small(folder: Path, *, name: str = "small", graph: bytes = b"graph", half: bytes | None = None) -> Bundle:
    """A bundle whose graphs are no graphs; `half` is its float16 one."""
    files = {"scene.onnx": graph} | ({} if half is None else {"scene.fp16.onnx": half})
    named = {"float32": "scene.onnx"} | ({} if half is None else {"float16": "scene.fp16.onnx"})
    fields = {**FIELDS, "name": name, "graphs": [{"name": "scene", "files": named}]}
    return write_bundle(folder / name, fields, files, overwrite=True)


def plan_info(
    bundle: Bundle,
    machine: Machine = H100,
    *,
    graph: GraphName = "scene",
    precision: Precision = "float16",
    typed: str = "a" * 64,
    built: str = "2026-11-21T18:00:00Z",
    p50_seconds: float | None = 0.0002,
    batches: tuple[int, ...] = (1, 8),
) -> PlanInfo:
    """The sidecar of a plan of a bundle's graph, but for what the store sets."""
    spec = bundle.manifest.graph(graph)
    assert spec is not None
    reference = bundle.manifest.files[spec.files["float32"]].sha256
    held = spec.files.get(precision)
    key = PlanKey(
        graph=graph,
        reference=reference,
        precision=precision,
        typed=typed if held is None else bundle.manifest.files[held].sha256,
        tensorrt=machine.tensorrt,
        device=machine.device.name,
        compute_capability=machine.device.compute_capability,
        multiprocessors=machine.device.multiprocessors,
        l4t=machine.device.l4t,
        profiles=profiles_of(batches),
    )
    timed = () if p50_seconds is None else (Latency(1, True, p50_seconds, 2 * p50_seconds, 500),)
    return PlanInfo(
        key=key,
        plan="",
        sha256="",
        size=0,
        bundle=f"{bundle.manifest.name} {bundle.manifest.version}",
        built=built,
        build_seconds=12.5,
        settings={"effort": 3},
        driver=machine.device.driver,
        parity=(Parity(f"{graph}/fused", 0.001, 0.05, 1.0),),
        latency=timed,
        memory_bytes=1 << 20,
    )


def on(machine: Machine, **device: Any) -> Machine:
    """A machine with another device."""
    return replace(machine, device=replace(machine.device, **device))
