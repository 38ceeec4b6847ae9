"""A report's plots as PNG: the confusion matrix, and the reliability diagram (is 80 % sure right 80 % of the time?).

One hue from light to dark, and Okabe and Ito's blue and orange, which differ for every kind of colour vision.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.errors import MissingError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#666666"
_DPI = 150
_SHOWN = 0.002
"""Bins with a smaller share of the segments get no point, as it would be noise."""
_NUMBERED = 25
"""With more scenes than this, cells have no numbers, as they would be too small to read."""


def draw_confusion(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> bytes:
    """Draw a confusion matrix: each cell is the fraction of its scene's (row's) segments answered as its column.

    Args:
        labels: Scenes, in order.
        counts: [n_labels, n_labels] segment counts.

    Raises:
        MissingError: matplotlib is not installed.
    """
    table = np.asarray(counts, np.float64)
    totals = table.sum(axis=1)
    shares = np.divide(table, totals[:, None], out=np.full_like(table, np.nan), where=totals[:, None] > 0)
    names = [label.replace("_", " ") for label in labels]
    longest = max(len(name) for name in names)
    side = min(max(0.55 * len(names), 3.0), 14.0)
    figure = _figure(side + 1.6 + 0.09 * longest, side + 0.9 + 0.06 * longest)
    axes = figure.add_subplot()
    axes.set_facecolor("#eeeeee")  # shows in rows of scenes without segments
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = 9 if len(names) <= _NUMBERED else 7
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    axes.set_yticks(range(len(names)), [_row_name(*row) for row in zip(names, totals, strict=True)], fontsize=size)
    axes.set_xlabel("answered")
    axes.set_ylabel("scene (segments)")
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    if len(names) <= _NUMBERED:
        for row, column in zip(*np.nonzero(table), strict=True):
            share = shares[row, column]
            colour = "white" if share > 0.68 else "#1a1a1a"
            axes.text(column, row, _percent(share), ha="center", va="center", fontsize=size - 1, color=colour)
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02, format=lambda value, _: f"{100 * value:.0f}")
    bar.set_label("% of the scene's segments")
    bar.outline.set_visible(False)
    return _png(figure)


def draw_reliability(bins: Mapping[str, Mapping[str, Sequence[float]]]) -> bytes:
    """Draw a reliability diagram before and after calibration, above a histogram of the confidences.

    Args:
        bins: "uncalibrated" and "calibrated" to "share", "confidence" and "accuracy" per bin, the latter two multiplied
            by the share, as `trainer.evaluate.metrics.reliability` returns them.

    Raises:
        MissingError: matplotlib is not installed.
    """
    figure = _figure(5.2, 6.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot((0, 1), (0, 1), color=_GREY, linewidth=1, linestyle=(0, (4, 3)), label="perfectly calibrated")
    for name, when, colour, marker in (("calibrated", "after", _BLUE, "o"), ("uncalibrated", "before", _ORANGE, "s")):
        share, confidence, accuracy = (np.asarray(bins[name][key]) for key in ("share", "confidence", "accuracy"))
        there = share >= _SHOWN
        error = float(np.abs(confidence - accuracy).sum())
        upper.plot(
            confidence[there] / share[there],
            accuracy[there] / share[there],
            color=colour,
            marker=marker,
            markersize=5,
            linewidth=1.5,
            clip_on=False,
            zorder=3,
            label=f"{when} calibration: error {100 * error:.1f} %",
        )
        edges = np.linspace(0, 1, len(share) + 1)
        lower.stairs(
            100 * share, edges, color=colour, linewidth=1.5, fill=when == "after", alpha=0.6 if when == "after" else 1
        )
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    lower.set(xlabel="confidence (probability of the answer)", ylabel="% of segments")
    for axes in (upper, lower):
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    upper.legend(loc="upper left", frameon=False)
    return _png(figure)


def _figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, outside pyplot's windows and global state."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingError(
            f"expected matplotlib, which draws the plots, got: {error}; type: pip install 'ascstream[train]'"
        ) from None
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    """Render a figure as reproducible PNG bytes, without a date or a version."""
    file = io.BytesIO()
    metadata: dict[str, Any] = {"Software": None}
    figure.savefig(file, format="png", metadata=metadata, bbox_inches="tight", pad_inches=0.08)
    return file.getvalue()


def _row_name(name: str, total: float) -> str:
    """A scene's name with its number of segments."""
    return f"{name} ({total:,.0f})" if total else f"{name} (–)"


def _percent(share: float) -> str:
    """0.256 as "26"; shares that round to zero as "<1"."""
    return "<1" if share < 0.005 else str(math.floor(100 * share + 0.5))
