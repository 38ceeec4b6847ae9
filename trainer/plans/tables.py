"""Tables of what was built, what it costs and how fast it is, for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engines.manifest import Precision
from engines.trt.records import Latency, PlanInfo
from trainer.evaluate.tables import Table
from trainer.plans.compare import Comparison, Evaluation

Plans = Mapping[Precision, Sequence[PlanInfo]]


def plan_tables(plans: Plans, evaluation: Evaluation | None) -> list[Table]:
    """Return every table that has content."""
    infos = [info for group in plans.values() for info in group]
    tables = [_proven(infos)]
    if any(info.latency for info in infos):
        tables.append(_timed(infos))
    if evaluation is not None:
        tables.append(_compared(evaluation))
    return tables


def _proven(infos: Sequence[PlanInfo]) -> Table:
    """Table of the plans, and how they compare with the golden answers."""
    rows = []
    for info in infos:
        worst = max(info.parity, key=lambda entry: entry.max_difference / entry.tolerance)
        shares = [entry.agreement for entry in info.parity if entry.agreement is not None]
        rows.append(
            (
                info.key.graph,
                info.key.precision,
                _bytes(info.size),
                _seconds(info.build_seconds),
                f"{worst.max_difference:.1e}",
                f"{worst.tolerance:.1e}",
                _share(min(shares)) if shares else "–",
                _bytes(info.memory_bytes),
            )
        )
    head = ("graph", "precision", "plan", "built", "max |Δ|", "allowed", "labels", "memory")
    note = (
        "max |Δ|: largest difference to the bundle's golden answers, of the output that comes nearest to what is "
        "allowed; labels: share of the golden inputs with the golden label; memory: on the device, weights included."
    )
    return Table("Plans", head, tuple(rows), note)


def _timed(infos: Sequence[PlanInfo]) -> Table:
    """Table of latencies."""
    rows = []
    for info in infos:
        for batch in sorted({entry.batch for entry in info.latency}):
            cells: list[str] = []
            for cuda_graph in (False, True):
                cells += _cells(info.latency, batch, cuda_graph=cuda_graph)
            rows.append((info.key.graph, info.key.precision, str(batch), *cells))
    head = ("graph", "precision", "batch", "stream p50", "p99", "CUDA graph p50", "p99")
    note = "A call from host to host: copies in, kernels, copies out, without features; in milliseconds."
    return Table("Latency, ms", head, tuple(rows), note)


def _cells(latency: Sequence[Latency], batch: int, *, cuda_graph: bool) -> tuple[str, str]:
    """p50 and p99 of one batch size, in milliseconds."""
    entry = next((e for e in latency if e.batch == batch and e.cuda_graph == cuda_graph), None)
    if entry is None:
        return "–", "–"
    return f"{entry.p50_seconds * 1e3:.3f}", f"{entry.p99_seconds * 1e3:.3f}"


def _compared(evaluation: Evaluation) -> Table:
    """Table of plans and reference on recordings."""
    entries = evaluation.comparisons
    note = (
        f"{entries[0].n_windows:,} windows of {evaluation.n_files:,} recordings, before any smoothing, through the "
        f"runtime; reference: {entries[0].backend}."
    )
    if entries[0].n_labelled:
        note += f" Accuracy: of the {entries[0].n_labelled:,} windows whose scene is known."
    if evaluation.failures:
        note += f" Left out: {len(evaluation.failures):,} that could not be read to their end."
    head = ("", "label agreement", "max |Δ probability|", "accuracy")
    return Table("On recordings", head, tuple(_compared_row(entry) for entry in entries), note)


def _compared_row(entry: Comparison) -> tuple[str, ...]:
    """The row of one precision or of the reference."""
    if entry.name == "reference":
        agreement = difference = "–"
    else:
        agreement = _share(entry.agreement)
        difference = "no number" if entry.probability_difference is None else f"{entry.probability_difference:.1e}"
    return (entry.name, agreement, difference, "–" if entry.accuracy is None else _share(entry.accuracy))


def _share(share: float) -> str:
    """A fraction in per cent; never rounded up to 100 %."""
    tenths = int(share * 1000 + 1e-9) if share < 1 else 1000
    return f"{tenths / 10:.1f} %" if tenths < 1000 else "100 %"


def _bytes(n_bytes: int) -> str:
    """A size in KiB or MiB, in at most seven characters up to 999 MiB."""
    if n_bytes < 1000 * 1024:
        return f"{n_bytes / 1024:.0f} KiB"
    return f"{n_bytes / (1 << 20):.1f} MiB" if n_bytes < 10 << 20 else f"{n_bytes / (1 << 20):,.0f} MiB"


def _seconds(seconds: float) -> str:
    """A duration such as 4.2 s or 12 min."""
    if seconds < 99.5:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min"
