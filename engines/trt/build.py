"""Plans built by a process of their own, proven against golden answers here, and only then stored.

Each graph of a bundle is stored as soon as it has passed, and found again where a later one was interrupted: a bundle
is only ever run with plans of one precision for all of its graphs, so one alone does no harm. The gate is the largest
difference. Where that holds, a golden label can only change between scenes that were as good as equal; the share of
labels that agree is noted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from engines.base import Array
from engines.bundle import Bundle
from engines.check import BATCHES, N_CASES, GoldenGraph, OutputParity, compare, golden_of, worst_of
from engines.errors import BackendError, BundleError, ParityError
from engines.graph import check_graph
from engines.manifest import GraphName, GraphSpec, Precision, graph_shapes
from engines.trt.builder import BUILD_COMMAND, MORE_MEMORY, BuildProgress, Built, OnProgress, free_bytes, run_builder
from engines.trt.exchange import BuildReport, Request
from engines.trt.fit import command_to_build
from engines.trt.plans import PlanStore
from engines.trt.records import Machine, Parity, PlanInfo, PlanKey, profiles_of

if TYPE_CHECKING:
    from engines.divergence import Divergence

__all__ = ["BUILD_COMMAND", "BuildProgress", "build_plans", "check_memory", "explain", "run_plan"]

_BASE_BYTES, _TIMES_GRAPH = 1 << 30, 4
"""Memory that a build takes at least: TensorRT's libraries and CUDA's context, and copies of the weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One plan to be made or proven."""

    bundle: Bundle
    graph: GraphSpec
    precision: Precision
    machine: Machine
    cases: GoldenGraph
    command: Sequence[str]
    on_progress: OnProgress | None

    @property
    def name(self) -> str:
        """The bundle's name and version."""
        return f"{self.bundle.manifest.name} {self.bundle.manifest.version}"


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

    A plan that is there already and unaltered is taken as it is. Another process that builds the same one is waited
    for, and its plan taken. What is stored was proven on this machine; an interrupted build leaves nothing half done.

    Args:
        bundle: An opened bundle with golden cases.
        precision: What the graphs are typed in.
        store: Where plans are kept, and timing caches between builds.
        machine: This one.
        typed: A graph typed in that precision for each of the bundle's; None: the bundle's own.
        batches: Batch sizes to build for, in ascending order: a profile each.
        effort: How long TensorRT searches, 0 to 5.
        workspace_bytes: Most that a kernel may use while it runs; None: half of what is free.
        timed: Calls to time each way; 0: none.
        build_command: What builds; see `engines.trt.exchange`.
        on_progress: Hears how far each build is.
        force: Whether to build what is there already.

    Returns:
        What is stored, in the order of the bundle's graphs.

    Raises:
        BundleError: The bundle has no golden cases, no such graphs, or was altered.
        BackendError: A build cannot be begun, failed, or its result cannot be stored.
        ParityError: A plan's answers differ too much from the golden ones; it is not stored.
    """
    golden = golden_of(bundle)
    infos = []
    for graph in bundle.manifest.graphs:
        job = _Job(
            bundle=bundle,
            graph=graph,
            precision=precision,
            machine=machine,
            cases=golden[graph.name],
            command=build_command,
            on_progress=on_progress,
        )
        data = _typed_graph(bundle, graph, precision, typed)
        request = Request(
            graph=graph.name,
            precision=precision,
            profiles=profiles_of(tuple(batches)),
            batches=_golden_batches(max(batches)),
            effort=effort,
            workspace_bytes=workspace_bytes,
            timed=timed,
        )
        key = _key(job, data, request)
        with store.building(key):
            stored = None if force else _stored(store, key)
            infos.append(stored or _build(job, data, request, key, store))
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
    """Prove a plan again, in a process of its own: after a new driver, or where it is doubted.

    Args:
        bundle: What it was built for.
        info: Its sidecar.
        plan: Its bytes, verified.
        machine: This one.
        timed: Calls to time each way; 0: none, what was measured before stays.
        build_command: What runs it; see `engines.trt.exchange`.
        on_progress: Hears how far it is.

    Returns:
        The sidecar with this driver and this parity, for `PlanStore.update`.

    Raises:
        BundleError: The bundle has no golden cases, no such graph, or was altered.
        BackendError: The plan cannot be run here.
        ParityError: Its answers differ too much from the golden ones.
    """
    key = info.key
    graph = bundle.manifest.graph(key.graph)
    if graph is None:
        raise BundleError(
            f"bundle {bundle.manifest.name}: expected a graph {key.graph!r}, which the plan is of, got none"
        )
    job = _Job(
        bundle=bundle,
        graph=graph,
        precision=key.precision,
        machine=machine,
        cases=golden_of(bundle)[key.graph],
        command=build_command,
        on_progress=on_progress,
    )
    request = Request(
        graph=key.graph,
        precision=key.precision,
        profiles=key.profiles,
        build=False,
        batches=_golden_batches(max(profile.largest for profile in key.profiles)),
        timed=timed,
    )
    built = run_builder(request, plan=plan, cases=job.cases.feeds, command=build_command, on_progress=on_progress)
    parity = _prove(job, built)
    latency = built.report.latency or info.latency
    return replace(info, driver=machine.device.driver, parity=parity, latency=latency)


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
    """Say which tensor of a plan differs first from the float32 graph, and which one most: after a ParityError.

    Every tensor becomes an output of a plan made for this alone, so that TensorRT joins fewer layers than in the plan
    that failed: where nothing differs here, a joined kernel is to blame. Needs the `build` extra and ONNX Runtime.

    Args:
        bundle: An opened bundle with golden cases.
        precision: The precision that failed.
        machine: This one.
        typed: As in `build_plans`.
        effort: As in `build_plans`.
        workspace_bytes: As in `build_plans`.
        build_command: What builds; see `engines.trt.exchange`.
        on_progress: Hears how far each build is.

    Raises:
        BundleError: The bundle has no golden cases, no such graphs, or was altered.
        BackendError: What was opened up cannot be built or run, or the extra is not installed.
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
            _check_machine(built.report, machine, request.graph)
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
    """Refuse to begin a build for which memory is clearly too little: it would be killed half-way, or take the night.

    Args:
        graph: What messages call it.
        n_bytes: The ONNX file's size.
        free: Memory that programs can still have; None: nobody knows.

    Raises:
        BackendError: It is.
    """
    needed = _BASE_BYTES + _TIMES_GRAPH * n_bytes
    if free is not None and free < needed:
        raise BackendError(
            f"{graph}: expected about {needed / 1e9:.1f} GB of free memory to build it with, got {free / 1e9:.1f} GB; "
            f"{MORE_MEMORY}"
        )


def _build(job: _Job, data: bytes, request: Request, key: PlanKey, store: PlanStore) -> PlanInfo:
    """Build one plan, prove it and store it."""
    check_memory(request.graph, len(data), free_bytes())
    built = run_builder(
        request,
        graph=data,
        cases=job.cases.feeds,
        timing=store.timing_cache(job.machine),
        command=job.command,
        on_progress=job.on_progress,
    )
    _check_machine(built.report, job.machine, request.graph)
    if built.timing:
        store.store_timing_cache(job.machine, built.timing)
    parity = _prove(job, built)
    report = built.report
    digest = hashlib.sha256(built.plan).hexdigest()
    info = PlanInfo(
        key=key,
        plan=f"{digest[:32]}.plan",
        sha256=digest,
        size=len(built.plan),
        bundle=job.name,
        built=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        build_seconds=report.build_seconds,
        settings={"effort": request.effort, "workspace_bytes": report.workspace_bytes},
        driver=job.machine.device.driver,
        parity=parity,
        latency=report.latency,
        memory_bytes=report.memory_bytes,
    )
    return store.store(info, built.plan)


def _prove(job: _Job, built: Built) -> tuple[Parity, ...]:
    """The parity of a plan that passes.

    Raises:
        BackendError: It ran elsewhere, or its answers are not those of the graph.
        ParityError: It does not pass.
    """
    graph, manifest = job.graph.name, job.bundle.manifest
    _check_machine(built.report, job.machine, graph)
    for name, shape in graph_shapes(manifest, graph)[1].items():
        array = built.answers.get(name)
        got = "nothing" if array is None else f"{list(array.shape)}"
        if array is None or array.shape != (N_CASES, *shape):
            raise BackendError(f"{graph}: expected answers {[N_CASES, *shape]} in {name}, got {got}")
    outputs = compare(graph, job.cases, built.answers, manifest.tolerance, job.precision)
    worst = worst_of(outputs)
    if worst is not None:
        got = "NaN or infinity" if worst.max_difference is None else f"{worst.max_difference:.3g}"
        command = command_to_build(job.precision, job.bundle, None)
        raise ParityError(
            f"{job.name} on {built.report.backend or 'TensorRT'}: expected answers within {worst.tolerance:.3g} of the "
            f"golden ones, got {got} in {worst.output}: the plan is refused; "
            f"to see where it goes wrong, type: {command} --explain"
        )
    return tuple(_parity(entry) for entry in outputs)


def _parity(entry: OutputParity) -> Parity:
    """What a sidecar says of an output that passed."""
    return Parity(entry.output, entry.max_difference or 0.0, entry.tolerance, entry.agreement)


def _check_machine(report: BuildReport, machine: Machine, graph: str) -> None:
    """Refuse what a builder made for, or ran on, another device or TensorRT than the machine's."""
    ours, theirs = machine.device, report.device
    same = (ours.name, ours.compute_capability, ours.l4t) == (theirs.name, theirs.compute_capability, theirs.l4t)
    if not same or report.tensorrt != machine.tensorrt:
        raise BackendError(
            f"{graph}: expected a builder on {ours.name} ({ours.compute_capability}) with TensorRT {machine.tensorrt}, "
            f"got one on {theirs.name} ({theirs.compute_capability}) with TensorRT {report.tensorrt}; "
            "look what this machine has: ascstream doctor"
        )


def _stored(store: PlanStore, key: PlanKey) -> PlanInfo | None:
    """The plan of that key, if there is one and it is unaltered."""
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
    """The graph to compile."""
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


def _key(job: _Job, data: bytes, request: Request) -> PlanKey:
    """What the plan is made from, and for."""
    device = job.machine.device
    return PlanKey(
        graph=request.graph,
        reference=job.bundle.manifest.files[job.graph.files["float32"]].sha256,
        precision=request.precision,
        typed=hashlib.sha256(data).hexdigest(),
        tensorrt=job.machine.tensorrt,
        device=device.name,
        compute_capability=device.compute_capability,
        l4t=device.l4t,
        profiles=request.profiles,
    )


def _golden_batches(largest: int) -> tuple[int, ...]:
    """Sizes in which all golden cases go through a plan: those of every backend, as far as it takes them."""
    sizes = [min(size, largest) for size in BATCHES]
    while sum(sizes) < N_CASES:
        sizes.append(min(largest, N_CASES - sum(sizes)))
    return tuple(sizes)
