"""Tables of what each precision of a bundle costs, for the card and for the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engines.manifest import Precision
from trainer.evaluate.tables import Table
from trainer.export.precisions import Cost, GoldenCost


def precision_table(costs: Sequence[Cost], left_out: Mapping[Precision, str], *, held_out: bool) -> Table:
    """Return a table with a row per precision.

    Args:
        costs: What was measured, float32 first.
        left_out: Precisions that are not in the bundle, and why.
        held_out: Whether accuracy and log loss were measured on clips the network was not trained on.
    """
    head, rows = _golden_columns(costs)
    head += ("accuracy", "log loss", "Δ log loss")
    rows = [row + _judged(cost, costs[0]) for row, cost in zip(rows, costs, strict=True)]
    clips = "clips it never saw" if held_out else "recordings it was trained on: only the differences say something"
    notes = [
        "Times: ONNX Runtime, one x86-64 core, p50, without features. Δ: largest difference to PyTorch's answers on",
        "the golden cases; Δ log loss: to float32's. float16 is timed as it is, and judged with every tensor rounded",
        f"as an accelerator rounds it. Accuracy and log loss: {costs[0].n_windows:,} windows of {clips}.",
    ]
    notes += [f"Not in the bundle: {reason}." for reason in left_out.values()]
    return Table("Precisions", head, tuple(rows), " ".join(notes))


def golden_table(costs: Sequence[GoldenCost], left_out: Mapping[Precision, str]) -> Table:
    """Return the table for a network without recordings, from golden cases only; arguments as above."""
    head, rows = _golden_columns(costs)
    notes = [
        "Times: ONNX Runtime, one x86-64 core, p50, without features. Δ: largest difference to the golden answers;",
        "of an embedding, by its largest number. float16 is timed as it is, and compared with every tensor rounded as",
        "an accelerator rounds it.",
    ]
    notes += [f"Not in the bundle: {reason}." for reason in left_out.values()]
    return Table("Precisions", head, tuple(rows), " ".join(notes))


def _golden_columns(costs: Sequence[GoldenCost]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Names of the columns measured on golden cases, and a row per precision."""
    of_frames = ("one frame", "Δ embedding") if costs[0].frame is not None else ()
    head = ("precision", "size", "one window", *of_frames, "Δ logit", "Δ probability")
    rows = [
        (
            cost.precision,
            _size(cost.n_bytes),
            f"{cost.scene.p50_seconds * 1e3:.2f} ms",
            *(
                []
                if cost.frame is None
                else [f"{cost.frame.p50_seconds * 1e3:.2f} ms", f"{cost.embedding_difference:.1g}"]
            ),
            f"{cost.logit_difference:.1g}",
            f"{cost.probability_difference:.1g}",
        )
        for cost in costs
    ]
    return head, rows


def _judged(cost: Cost, reference: Cost) -> tuple[str, ...]:
    """The columns measured on real windows, for one precision."""
    return (
        f"{100 * cost.accuracy:.1f} %",
        f"{cost.log_loss:.3f}",
        "–" if cost is reference else f"{round(cost.log_loss - reference.log_loss, 4) + 0:+.4f}",
    )


def _size(n_bytes: int) -> str:
    """A size in KiB, or in MiB from 10 MiB on."""
    return f"{n_bytes / 1024:,.0f} KiB" if n_bytes < 10 << 20 else f"{n_bytes / (1 << 20):,.0f} MiB"
