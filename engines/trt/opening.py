"""From a bundle to engines that run its plans: found, verified, under a new driver proven anew, and only then used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from engines.backends import Engines, check_fit
from engines.base import Engine
from engines.bundle import Bundle
from engines.check import Report, check_parity
from engines.errors import BackendError, EngineError, one_line
from engines.fallback import Fallback, FallbackEngine
from engines.manifest import FRAME_GRAPH, SCENE_GRAPH, GraphName
from engines.trt.installed import TensorRt
from engines.trt.plans import PlanStore
from engines.trt.records import Machine, Parity, PlanInfo


def open_engines(
    bundle: Bundle,
    tensorrt: TensorRt,
    store: PlanStore,
    *,
    precision: str | None,
    load_spare: Callable[[GraphName], Engine],
) -> Engines:
    """Open the plans of every graph of a bundle; where one fails later, ONNX Runtime goes on.

    Args:
        bundle: An opened bundle.
        tensorrt: What is there, and what opens a plan.
        store: Where plans are.
        precision: Which plans; None: those that were measured to be the fastest.
        load_spare: Loads a graph with ONNX Runtime; called when a plan has failed.

    Raises:
        BackendError: Something is missing, there is no plan for this machine, or it no longer gives the golden answers.
        EngineError: A plan or the folder of plans was altered or is not to be trusted, or the bundle is broken.
    """
    machine = tensorrt.machine()
    found = store.find(bundle, machine, precision=precision)
    if found.plans is None:
        raise BackendError(found.why)
    opened: dict[GraphName, Engine] = {}
    try:
        for graph, info in found.plans.items():
            opened[graph] = tensorrt.open(store.read(info), name=graph, precision=info.key.precision)
            check_fit(opened[graph], bundle.manifest, graph)
        plans = Engines(opened[SCENE_GRAPH], opened.get(FRAME_GRAPH), found.plans[SCENE_GRAPH].key.precision)
        note = _prove(bundle, plans, found.plans, machine, store)
    except BaseException:
        for engine in opened.values():
            engine.close()
        raise
    fallback = Fallback()

    def safe(graph: GraphName) -> FallbackEngine:
        return FallbackEngine(opened[graph], lambda: load_spare(graph), fallback)

    frame = safe(FRAME_GRAPH) if FRAME_GRAPH in opened else None
    return Engines(safe(SCENE_GRAPH), frame, plans.precision, note, fallback)


def _prove(
    bundle: Bundle, engines: Engines, plans: Mapping[GraphName, PlanInfo], machine: Machine, store: PlanStore
) -> str | None:
    """Run the golden cases where the driver is another one than that under which plans were proven last.

    Returns:
        What the user should know: that it cannot be noted that they passed.
    """
    driver = machine.device.driver
    before = next((info.driver for info in plans.values() if info.driver != driver), None)
    if before is None:
        return None
    report = check_parity(bundle, engines)
    if not report.ok:
        worst = next(entry for entry in report.outputs if not entry.ok)
        got = "NaN or infinity" if worst.max_difference is None else f"{worst.max_difference:.3g}"
        raise BackendError(
            f"the plans were proven under driver {before}; under {driver} {worst.output} differs from the golden "
            f"answers by {got}, and {worst.tolerance:.3g} is allowed: build them anew, "
            f"type: trainer build-engine {_FLAGS.get(engines.precision, '--fp16')} --force"
        )
    try:
        for graph, info in plans.items():
            store.update(replace(info, driver=driver, parity=_parity(report, graph)))
    except (OSError, EngineError) as error:
        return f"the plans are proven anew at every start, since that cannot be written down: {one_line(str(error))}"
    return None


_FLAGS = {"float32": "--fp32", "float16": "--fp16", "int8": "--int8"}
"""Precision to the word of `trainer build-engine`."""


def _parity(report: Report, graph: GraphName) -> tuple[Parity, ...]:
    """What a report says of one graph."""
    return tuple(
        Parity(entry.output, entry.max_difference or 0.0, entry.tolerance, entry.agreement)
        for entry in report.outputs
        if entry.output.startswith(f"{graph}/")
    )
