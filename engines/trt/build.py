"""Build plans in a process of their own, prove them here against golden answers, and only then store them.

Each graph's plan is stored as soon as it passes, and reused when an interrupted build is repeated. A single stored plan
does no harm, since a bundle only ever runs with plans of one precision for all of its graphs. `proof.py` checks plans,
`builder.py` manages the process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from engines.base import Array
from engines.bundle import Bundle
from engines.check import N_CASES, golden_of
from engines.errors import BackendError, BundleError
from engines.graph import check_graph
from engines.manifest import GraphName, GraphSpec, Precision
from engines.trt.builder import BUILD_COMMAND, MORE_MEMORY, BuildProgress, Built, OnProgress, free_bytes, run_builder
from engines.trt.exchange import Request
from engines.trt.plans import PlanStore
from engines.trt.proof import check_machine, golden_batches, prove
from engines.trt.records import Machine, Parity, PlanInfo, PlanKey, profiles_of

if TYPE_CHECKING:
    from engines.divergence import Divergence

__all__ = ["BUILD_COMMAND", "BuildProgress", "build_plans", "check_memory", "explain", "run_plan"]

_BASE_BYTES, _TIMES_GRAPH = 1 << 30, 4
"""Minimum memory of a build: TensorRT's libraries and CUDA's context, plus copies of the weights."""


def build_plans(
    bundle: Bundle,
    precision: Precision,
    *,
    store: PlanStore,
    machine: Machine,
    typed: Mapping[GraphName, bytes] | None = None,
    batches: Sequence[int] = (1, 8),
    effort: int = 3,
    workspace_bytes: int | None = None,
    timed: int = 500,
    build_command: Sequence[str] = BUILD_COMMAND,
    on_progress: OnProgress | None = None,
    force: bool = False,
) -> tuple[PlanInfo, ...]:
    """Build, prove and store a plan of every graph of a bundle.

    An existing unaltered plan is kept. If another process is building the same plan, wait for it and take its plan.
    Whatever is stored was proven on this machine; an interrupted build leaves nothing half finished.

    Args:
        bundle: An opened bundle with golden cases.
        precision: Precision of the graphs.
        store: Where plans are kept, and timing caches between builds.
        machine: This machine.
        typed: For each of the bundle's graphs, one in that precision; None: the bundle's own.
        batches: Batch sizes to build for, each the upper end of a profile.
        effort: How long TensorRT searches, 0 to 5.
        workspace_bytes: Maximum memory that a kernel may use while it runs; None: half of what is free.
        timed: Calls to time each way; 0: none.
        build_command: Command that builds; see `engines.trt.exchange`.
        on_progress: Called with each build's progress.
        force: Whether to rebuild plans that already exist.

    Returns:
        What is stored, in the order of the bundle's graphs.

    Raises:
        BundleError: The bundle has no golden cases or no graphs in that precision, or was altered.
        BackendError: A build cannot be started, failed, or its result cannot be stored.
        ParityError: A plan's answers differ too much from the golden ones; it is not stored.
    """
    if not batches or min(batches) < 1:
        raise BackendError(f"batches: expected sizes of at least 1, got {list(batches)}")
    golden, profiles = golden_of(bundle), profiles_of(tuple(batches))
    infos = []
    for graph in bundle.manifest.graphs:
        data = _typed_graph(bundle, graph, precision, typed)
        request = Request(
            graph=graph.name,
            precision=precision,
            profiles=profiles,
            batches=golden_batches(profiles[-1].largest),
            effort=effort,
            workspace_bytes=workspace_bytes,
            timed=timed,
        )
        key = _key(bundle, graph, request, data, machine)
        cases = golden[graph.name]
        with store.building(key):
            info = None if force else _stored(store, key)
            if info is None:
                check_memory(graph.name, len(data), free_bytes())
                built = run_builder(
                    request,
                    graph=data,
                    cases=cases.feeds,
                    timing=store.timing_cache(machine),
                    command=build_command,
                    on_progress=on_progress,
                )
                check_machine(built.report, machine, graph.name)
                if built.timing:
                    store.store_timing_cache(machine, built.timing)
                parity = prove(bundle, cases, request, built, machine)
                info = store.store(_describe(bundle, key, request, built, parity, machine), built.plan)
            infos.append(info)
    return tuple(infos)


def run_plan(
    bundle: Bundle,
    info: PlanInfo,
    plan: bytes,
    *,
    machine: Machine,
    timed: int = 0,
    build_command: Sequence[str] = BUILD_COMMAND,
    on_progress: OnProgress | None = None,
) -> PlanInfo:
    """Prove a plan again, in a process of its own: after a driver update, or when in doubt.

    Args:
        bundle: The bundle it was built for.
        info: Its sidecar.
        plan: Its bytes, verified.
        machine: This machine.
        timed: Calls to time each way; 0: none, and the earlier measurements stay.
        build_command: Command that runs it; see `engines.trt.exchange`.
        on_progress: Called with the progress.

    Returns:
        The sidecar with the current driver and the new parity, for `PlanStore.update`.

    Raises:
        BundleError: The bundle has no golden cases or no such graph, or was altered.
        BackendError: The plan cannot be run here.
        ParityError: Its answers differ too much from the golden ones.
    """
    key = info.key
    cases = golden_of(bundle).get(key.graph)
    if cases is None:
        raise BundleError(
            f"bundle {bundle.manifest.name}: expected the graph {key.graph!r} that the plan is of, got none"
        )
    request = Request(
        graph=key.graph,
        precision=key.precision,
        profiles=key.profiles,
        build=False,
        batches=golden_batches(key.profiles[-1].largest),
        timed=timed,
    )
    built = run_builder(request, plan=plan, cases=cases.feeds, command=build_command, on_progress=on_progress)
    parity = prove(bundle, cases, request, built, machine)
    return replace(info, driver=machine.device.driver, parity=parity, latency=built.report.latency or info.latency)


def explain(
    bundle: Bundle,
    precision: Precision,
    *,
    machine: Machine,
    typed: Mapping[GraphName, bytes] | None = None,
    effort: int = 3,
    workspace_bytes: int | None = None,
    build_command: Sequence[str] = BUILD_COMMAND,
    on_progress: OnProgress | None = None,
) -> dict[GraphName, Divergence]:
    """After a ParityError: find the first and the most different tensor of a plan, compared with the float32 graph.

    A plan is built for this alone in which every tensor is an output. TensorRT can therefore fuse fewer layers than in
    the plan that failed: if nothing differs here, a fused kernel is to blame. Needs the `build` extra and ONNX Runtime.

    Args:
        bundle: An opened bundle with golden cases.
        precision: The precision that failed.
        machine: This machine.
        typed: As in `build_plans`.
        effort: As in `build_plans`.
        workspace_bytes: As in `build_plans`.
        build_command: Command that builds; see `engines.trt.exchange`.
        on_progress: Called with each build's progress.

    Raises:
        BundleError: The bundle has no golden cases or no graphs in that precision, or was altered.
        BackendError: A graph with exposed tensors cannot be built or run, or the extra is not installed.
    """
    from engines.divergence import find_divergence, run_onnxruntime

    golden = golden_of(bundle)
    found: dict[GraphName, Divergence] = {}
    for graph in bundle.manifest.graphs:
        request = Request(
            graph=graph.name,
            precision=precision,
            profiles=profiles_of((N_CASES,)),
            batches=(N_CASES,),
            effort=effort,
            workspace_bytes=workspace_bytes,
            timed=0,
        )

        def run_plan_of(opened: bytes, feeds: Mapping[str, Array], request: Request = request) -> Mapping[str, Array]:
            built = run_builder(request, graph=opened, cases=feeds, command=build_command, on_progress=on_progress)
            check_machine(built.report, machine, request.graph)
            return built.answers

        found[graph.name] = find_divergence(
            bundle.read(graph.files["float32"]),
            _typed_graph(bundle, graph, precision, typed),
            golden[graph.name].feeds,
            run_reference=run_onnxruntime,
            run_typed=run_plan_of,
            precision=precision,
        )
    return found


def check_memory(graph: str, n_bytes: int, free: int | None) -> None:
    """Refuse to start a build with clearly too little memory: it would be killed half-way, or swap for hours.

    Args:
        graph: What error messages call the graph.
        n_bytes: The ONNX file's size.
        free: Memory available to programs; None: unknown.

    Raises:
        BackendError: There is too little memory.
    """
    needed = _BASE_BYTES + _TIMES_GRAPH * n_bytes
    if free is not None and free < needed:
        raise BackendError(
            f"{graph}: expected about {needed / 1e9:.1f} GB of free memory to build it with, got {free / 1e9:.1f} GB; "
            f"{MORE_MEMORY}"
        )


def _describe(
    bundle: Bundle, key: PlanKey, request: Request, built: Built, parity: tuple[Parity, ...], machine: Machine
) -> PlanInfo:
    """Make the sidecar of a plan that passed."""
    digest, report = hashlib.sha256(built.plan).hexdigest(), built.report
    return PlanInfo(
        key=key,
        plan=f"{digest[:32]}.plan",
        sha256=digest,
        size=len(built.plan),
        bundle=f"{bundle.manifest.name} {bundle.manifest.version}",
        built=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        build_seconds=report.build_seconds,
        settings={"effort": request.effort, "workspace_bytes": report.workspace_bytes},
        driver=machine.device.driver,
        parity=parity,
        latency=report.latency,
        memory_bytes=report.memory_bytes,
    )


def _stored(store: PlanStore, key: PlanKey) -> PlanInfo | None:
    """The stored plan for that key, if there is one and it is unaltered."""
    for entry in store.entries():
        if entry.info is not None and entry.info.key == key:
            try:
                store.read(entry.info)
            except BackendError:
                return None
            return entry.info
    return None


def _typed_graph(
    bundle: Bundle, graph: GraphSpec, precision: Precision, typed: Mapping[GraphName, bytes] | None
) -> bytes:
    """Return the graph to compile, after checking it."""
    if typed is not None:
        if graph.name not in typed:
            raise BundleError(f"expected typed graphs of all of the bundle's, got none of {graph.name!r}")
        data = typed[graph.name]
    elif precision not in graph.files:
        raise BundleError(
            f"bundle {bundle.manifest.name}: expected its {graph.name} graph in {precision}, "
            f"got {' and '.join(sorted(graph.files))} only; give a typed graph, or export the bundle with one"
        )
    else:
        data = bundle.read(graph.files[precision])
    check_graph(data, graph.name)
    return data


def _key(bundle: Bundle, graph: GraphSpec, request: Request, data: bytes, machine: Machine) -> PlanKey:
    """Make the key: what the plan is built from, and for."""
    device = machine.device
    return PlanKey(
        graph=request.graph,
        reference=bundle.manifest.files[graph.files["float32"]].sha256,
        precision=request.precision,
        typed=hashlib.sha256(data).hexdigest(),
        tensorrt=machine.tensorrt,
        device=device.name,
        compute_capability=device.compute_capability,
        multiprocessors=device.multiprocessors,
        l4t=device.l4t,
        profiles=request.profiles,
    )
