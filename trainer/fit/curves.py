"""Training plots: losses and learning rate by epoch, and a range test's losses by learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.files import write_whole
from trainer.fit.history import Epoch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TRAINING, _VALIDATION, _QUIET = "#1f5fa8", "#d1661c", "#8a8f98"


def has_matplotlib() -> bool:
    """Whether matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def draw_curves(path: Path, history: Sequence[Epoch], best: int | None = None) -> None:
    """Plot the losses over the epochs, with the learning rate below them.

    Args:
        path: PNG file to write.
        history: At least one epoch.
        best: Epoch whose weights are kept, if that is not the last one.
    """
    figure = _figure(7.0, 5.0)
    losses, rates = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    epochs = [epoch.epoch for epoch in history]
    _line(losses, epochs, [epoch.loss for epoch in history], _TRAINING, "training")
    validated = [(epoch.epoch, epoch.validation_loss) for epoch in history if epoch.validation_loss is not None]
    if validated:
        _line(losses, [epoch for epoch, _ in validated], [loss for _, loss in validated], _VALIDATION, "validation")
        losses.legend(frameon=False)
    if best is not None:
        losses.axvline(best, color=_VALIDATION, linewidth=0.8, linestyle=":")
        losses.annotate(
            f" kept: {best} ",
            (best, 0.02),
            xycoords=("data", "axes fraction"),
            ha="left" if best <= (epochs[0] + epochs[-1]) / 2 else "right",
            color=_VALIDATION,
            fontsize=8,
        )
    _line(rates, epochs, [epoch.learning_rate for epoch in history], _QUIET, "")
    _mark_stages(losses, rates, history)
    losses.set_ylabel("loss")
    rates.set_ylabel("learning rate")
    rates.set_xlabel("epoch")
    rates.xaxis.get_major_locator().set_params(integer=True)
    rates.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    _save(figure, path)


def draw_range_test(path: Path, rates: Sequence[float], losses: Sequence[Sequence[float]], peak: float) -> None:
    """Plot losses over learning rates, one line per repetition, and the suggested peak.

    Args:
        path: PNG file to write.
        rates: Learning rates, ascending.
        losses: One list per repetition with one loss per rate; NaN where the repetition did not get that far.
        peak: The suggested peak learning rate.
    """
    figure = _figure(7.0, 4.0)
    axes = figure.subplots()
    for index, line in enumerate(losses):
        axes.plot(rates, line, color=_TRAINING, alpha=0.5, linewidth=1.0, label="a repetition" if index == 0 else None)
    axes.axvline(peak, color=_VALIDATION, linestyle=":", label=f"suggested peak {peak:.2g}")
    axes.set_xscale("log")
    finite = np.array(losses)[np.isfinite(losses)]
    if finite.size:
        start = max(line[0] for line in losses)
        axes.set_ylim(0.9 * finite.min(), 2 * start - 0.9 * finite.min())
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.legend(frameon=False)
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    """A figure outside pyplot, so no window or global state is involved."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def _line(axes: Any, epochs: Sequence[int], values: Sequence[float | None], colour: str, label: str) -> None:
    """Draw a curve, with point markers for up to 40 epochs."""
    axes.plot(epochs, values, color=colour, label=label, linewidth=1.5, marker="." if len(epochs) <= 40 else "")


def _mark_stages(losses: Any, rates: Any, history: Sequence[Epoch]) -> None:
    """Separate the stages with vertical lines and label them above the upper plot."""
    stages = [(name, [epoch.epoch for epoch in part]) for name, part in groupby(history, key=lambda e: e.stage)]
    if len(stages) < 2:
        return
    for index, (name, epochs) in enumerate(stages):
        if index:
            for axes in (losses, rates):
                axes.axvline(epochs[0] - 0.5, color=_QUIET, linewidth=0.8)
        place = (sum(epochs) / len(epochs), 1.02 + 0.06 * (index % 2))
        losses.annotate(
            name,
            place,
            xycoords=("data", "axes fraction"),
            ha="center",
            color=_QUIET,
            fontsize=8,
            annotation_clip=False,
        )


def _save(figure: Figure, path: Path) -> None:
    """Style the axes and write the PNG atomically."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
    write_whole(path, lambda file: figure.savefig(file, format="png"))
