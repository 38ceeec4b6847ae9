"""Open a bundle's plans as engines: find and verify them, prove them again under a new driver, then use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from engines.backends import Engines, check_fit
from engines.base import Engine
from engines.bundle import Bundle
from engines.check import compare, golden_of, in_batches, worst_of
from engines.errors import BackendError, EngineError, one_line
from engines.fallback import Fallback, FallbackEngine
from engines.manifest import FRAME_GRAPH, SCENE_GRAPH, GraphName
from engines.trt.fit import command_to_build
from engines.trt.installed import TensorRt
from engines.trt.plans import PlanStore, default_folder
from engines.trt.proof import golden_batches
from engines.trt.records import Machine, Parity, PlanInfo


def open_engines(
    bundle: Bundle,
    tensorrt: TensorRt,
    folder: Path | None,
    *,
    precision: str | None,
    load_spare: Callable[[GraphName], Engine],
) -> Engines:
    """Open the plans of every graph of a bundle; if one fails later, ONNX Runtime takes over.

    Args:
        bundle: An opened bundle.
        tensorrt: Describes the machine, and opens plans.
        folder: Where plans are; None: the user's cache.
        precision: Precision of the plans; None: the one measured to be fastest.
        load_spare: Loads a graph with ONNX Runtime; called when a plan has failed.

    Raises:
        BackendError: Something is missing, there is no plan for this machine, or it no longer gives the golden answers.
        EngineError: A plan or its folder was altered or is not to be trusted, or the bundle is broken.
    """
    machine = tensorrt.machine()
    store = PlanStore(folder)
    found = store.find(bundle, machine, precision=precision)
    if found.plans is None:
        raise BackendError(found.why)
    opened: dict[GraphName, Engine] = {}
    try:
        for graph, info in found.plans.items():
            opened[graph] = tensorrt.open(store.read(info), name=graph, precision=info.key.precision)
            check_fit(opened[graph], bundle.manifest, graph)
        note = _prove(bundle, opened, found.plans, machine, store)
    except BaseException:
        for engine in opened.values():
            engine.close()
        raise
    fallback = Fallback()

    def safe(graph: GraphName) -> FallbackEngine:
        return FallbackEngine(opened[graph], lambda: load_spare(graph), fallback)

    frame = safe(FRAME_GRAPH) if FRAME_GRAPH in opened else None
    return Engines(safe(SCENE_GRAPH), frame, found.plans[SCENE_GRAPH].key.precision, note, fallback)


def _prove(
    bundle: Bundle,
    engines: Mapping[GraphName, Engine],
    plans: Mapping[GraphName, PlanInfo],
    machine: Machine,
    store: PlanStore,
) -> str | None:
    """Run the golden cases through plans that were last proven under another driver than this one.

    Returns:
        A note for the user if it could not be recorded that they passed, else None.

    Raises:
        BackendError: A plan does not pass.
    """
    driver, note = machine.device.driver, None
    stale = {graph: info for graph, info in plans.items() if info.driver != driver}
    golden = golden_of(bundle) if stale else {}
    for graph, info in stale.items():
        cases, precision = golden[graph], info.key.precision
        sizes = golden_batches(max(profile.largest for profile in info.key.profiles))
        answers = in_batches(engines[graph].infer, cases.feeds, tuple(cases.answers), sizes)
        outputs = compare(graph, cases, answers, bundle.manifest.tolerance, precision)
        worst = worst_of(outputs)
        if worst is not None:
            got = "NaN or infinity" if worst.max_difference is None else f"a difference of {worst.max_difference:.3g}"
            folder = None if store.folder == default_folder() else store.folder
            raise BackendError(
                f"{bundle.manifest.name}: its {precision} plan was proven under driver {info.driver}; under {driver} "
                f"expected the golden answers within {worst.tolerance:.3g}, got {got} in {worst.output}: it is "
                f"refused; build it anew, type: {command_to_build(precision, bundle, folder)} --force"
            )
        parity = tuple(
            Parity(entry.output, entry.max_difference or 0.0, entry.tolerance, entry.agreement) for entry in outputs
        )
        try:
            store.update(replace(info, driver=driver, parity=parity))
        except (OSError, EngineError) as error:
            note = f"the plan is proven anew at every start, since that cannot be noted: {one_line(str(error))}"
    return note
