"""Builds plans in one or more precisions, verifies them, compares them on recordings, and decides which to keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from ascstream.classifier import Classifier
from engines.backends import Engines, load_engines
from engines.bundle import Bundle
from engines.errors import BackendError, ParityError
from engines.manifest import SCENE_GRAPH, Precision
from engines.schema import encode
from engines.trt.build import BUILD_COMMAND, build_plans, explain
from engines.trt.builder import OnProgress
from engines.trt.plans import PlanStore
from engines.trt.records import Machine, PlanInfo
from trainer.data.clips import Clip
from trainer.plans.compare import Evaluation, compare
from trainer.plans.media import RangeFeeds
from trainer.plans.typed import Typed, typed_graphs

LEAST_AGREEMENT: Mapping[Precision, float] = {"float32": 0.999, "float16": 0.999, "int8": 0.99}
"""Fraction of inputs that must keep the reference's label for `--best` to keep a precision."""
OpenEngines = Callable[[Bundle, Precision, PlanStore], Engines]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to build."""

    precisions: tuple[Precision, ...]
    """The precisions, in this order."""
    best: bool = False
    """Leave out precisions that cannot be built or change too many labels, instead of failing."""
    batches: tuple[int, ...] = (1, 8)
    """Batch sizes to build for."""
    effort: int = 3
    """TensorRT's optimisation level, 0 to 5: how long it searches for kernels."""
    workspace_bytes: int | None = None
    """Most memory that a kernel may use while it runs; None: half of what is free."""
    force: bool = False
    """Whether to rebuild existing plans."""
    explain: bool = False
    """Whether to look for the first diverging layer if parity fails."""
    calibrate: tuple[Clip, ...] = ()
    """Recordings to measure int8 ranges on; if empty, see `typed_graphs`."""
    evaluate: tuple[Clip, ...] = ()
    """Recordings to compare plans on; if empty, only the golden inputs count."""


@dataclass(slots=True)
class Outcome:
    """The result of `make_plans`, filled in as it runs."""

    plans: dict[Precision, tuple[PlanInfo, ...]] = field(default_factory=dict)
    """Plans that were verified and kept, one per graph."""
    origins: dict[Precision, str] = field(default_factory=dict)
    """Where the graphs they were built from come from."""
    refused: dict[Precision, str] = field(default_factory=dict)
    """The reason for each precision that was not kept, in a sentence."""
    evaluation: Evaluation | None = None
    """Plans compared with ONNX Runtime on recordings; None if no recordings were given."""
    quickest: Precision | None = None
    """The precision that the runtime chooses by default."""

    def to_json(self, bundle: Bundle, machine: Machine, store: PlanStore) -> dict[str, Any]:
        """Return everything as JSON-compatible values."""
        evaluation = None if self.evaluation is None else encode(self.evaluation)
        plans = [encode(info) for infos in self.plans.values() for info in infos]
        return {
            "schema": 1,
            "bundle": f"{bundle.manifest.name} {bundle.manifest.version}",
            "machine": encode(machine),
            "folder": str(store.folder),
            "plans": plans,
            "graphs_from": dict(self.origins),
            "refused": dict(self.refused),
            "evaluation": evaluation,
            "quickest": self.quickest,
        }


def open_plans(bundle: Bundle, precision: Precision, store: PlanStore) -> Engines:
    """Load the plans of a store.

    Raises:
        BackendError: They cannot be loaded.
    """
    return load_engines(bundle, backend="tensorrt", precision=precision, plans=store.folder)


def make_plans(
    bundle: Bundle,
    wanted: Wanted,
    *,
    store: PlanStore,
    machine: Machine,
    say: Callable[[str], None],
    on_progress: OnProgress | None = None,
    on_file: Callable[[int, int], None] = lambda _done, _total: None,
    build_command: Sequence[str] = BUILD_COMMAND,
    open_engines: OpenEngines = open_plans,
) -> Outcome:
    """Build, verify and compare plans.

    Args:
        bundle: The bundle.
        wanted: What to build of it, and how.
        store: Where plans are stored.
        machine: The machine they are built for.
        say: Called with sentences the user should see.
        on_progress: Called during every build, see `build_plans`.
        on_file: Called during the comparison with the number of recordings done and their total.
        build_command: The command that builds; see `engines.trt.exchange`.
        open_engines: Loads the built plans for the comparison.

    Raises:
        BackendError, BundleError: A plan cannot be built, or with `wanted.best`, none can; or a plan fails while it is
            compared.
        ParityError: A plan does not reproduce the golden answers.
        DataError, SourceError: The recordings give no window.
    """
    outcome = Outcome()
    for precision in wanted.precisions:
        try:
            typed = _typed(bundle, precision, wanted, say)
            build = _Build(bundle, typed, wanted, machine, build_command, on_progress)
            outcome.plans[precision] = build.plans(store)
            outcome.origins[precision] = typed.origin
        except (BackendError, ParityError) as error:
            if not wanted.best:
                raise
            outcome.refused[precision] = str(error)
    if wanted.evaluate and outcome.plans:
        outcome.evaluation = _compare(bundle, wanted.evaluate, outcome, store, on_file, open_engines)
    if wanted.best:
        _drop_coarse(outcome, store)
    if not outcome.plans:
        reasons = "; ".join(f"{precision}: {why}" for precision, why in outcome.refused.items())
        raise BackendError(f"bundle {bundle.manifest.name}: expected a plan of some precision, got none: {reasons}")
    found = store.find(bundle, machine)
    if found.plans is not None:
        outcome.quickest = next(iter(found.plans.values())).key.precision
        built = {info.sha256 for info in outcome.plans.get(outcome.quickest, ())}
        if built and not built.issuperset(info.sha256 for info in found.plans.values()):
            say(f"another {outcome.quickest} plan, built later, is taken; to replace it, add: --force")
    return outcome


@dataclass(frozen=True, slots=True)
class _Build:
    """The builds of one precision."""

    bundle: Bundle
    typed: Typed
    wanted: Wanted
    machine: Machine
    command: Sequence[str]
    on_progress: OnProgress | None

    def plans(self, store: PlanStore) -> tuple[PlanInfo, ...]:
        """Build, verify and store the plans; if parity fails, explain why if wanted."""
        try:
            return build_plans(
                self.bundle,
                self.typed.precision,
                store=store,
                batches=self.wanted.batches,
                force=self.wanted.force,
                **self._common(),
            )
        except ParityError as error:
            if not self.wanted.explain:
                raise
            refused = str(error).partition("; to see where")[0]
            raise ParityError(f"{refused}; {self._why()}") from None

    def _why(self) -> str:
        """Say which layer of each graph diverges first."""
        try:
            found = explain(self.bundle, self.typed.precision, **self._common())
        except BackendError as error:
            return f"why, cannot be told: {error}"
        return "; ".join(f"{graph}: {divergence}" for graph, divergence in found.items())

    def _common(self) -> dict[str, Any]:
        """Arguments that building and explaining share."""
        return {
            "machine": self.machine,
            "typed": self.typed.graphs,
            "effort": self.wanted.effort,
            "workspace_bytes": self.wanted.workspace_bytes,
            "build_command": self.command,
            "on_progress": self.on_progress,
        }


def _typed(bundle: Bundle, precision: Precision, wanted: Wanted, say: Callable[[str], None]) -> Typed:
    """The graphs to build from, with int8 ranges measured on recordings if any are given."""
    if precision != "int8" or not wanted.calibrate:
        return typed_graphs(bundle, precision, None, say)
    with load_engines(bundle, backend="onnxruntime", precision="float32") as engines:
        feeds = RangeFeeds(bundle, engines, wanted.calibrate, say)
        typed = typed_graphs(bundle, precision, feeds, say)
        say(f"int8: ranges of {feeds.n_windows:,} windows of the recordings named")
        return typed


def _compare(
    bundle: Bundle,
    media: Sequence[Clip],
    outcome: Outcome,
    store: PlanStore,
    on_file: Callable[[int, int], None],
    open_engines: OpenEngines,
) -> Evaluation:
    """Compare every precision that was built with ONNX Runtime on recordings."""
    with ExitStack() as stack:
        engines = load_engines(bundle, backend="onnxruntime", precision="float32")
        reference = stack.enter_context(Classifier(bundle, engines))
        others: dict[str, Classifier] = {}
        loaded: dict[str, Engines] = {}
        for precision in outcome.plans:
            loaded[precision] = open_engines(bundle, precision, store)
            others[precision] = stack.enter_context(Classifier(bundle, loaded[precision]))
        evaluation = compare(reference, others, media, on_file)
        for name, opened in loaded.items():
            if opened.fell_back is not None:  # from there on, ONNX Runtime was compared with itself
                raise BackendError(f"--evaluate: {name} failed on the way: {opened.fell_back}")
        return evaluation


def _drop_coarse(outcome: Outcome, store: PlanStore) -> None:
    """Refuse precisions that change too many labels, and delete their plans: the runtime uses any plan it finds."""
    for precision, infos in list(outcome.plans.items()):
        parity = (entry for info in infos for entry in info.parity if entry.output == f"{SCENE_GRAPH}/fused")
        shares = [entry.agreement for entry in parity if entry.agreement is not None]
        where, share = "golden inputs", min(shares, default=1.0)
        if outcome.evaluation is not None and outcome.evaluation.agreement(precision) < share:
            where, share = "recordings", outcome.evaluation.agreement(precision)
        if share < LEAST_AGREEMENT[precision]:
            outcome.refused[precision] = (
                f"expected the reference's label on {100 * LEAST_AGREEMENT[precision]:g} % of the {where}, "
                f"got {100 * share:.4g} %"
            )
            del outcome.plans[precision]
            for info in infos:
                store.remove(info)
