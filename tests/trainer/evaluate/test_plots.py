"""The plots: PNG files of the right proportions, the same bytes each time, whatever the names and counts."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from support.answers import LABELS

from trainer.evaluate.metrics import reliability, softmax
from trainer.evaluate.plots import draw_confusion, draw_reliability


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height in pixels."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    return int(width), int(height)


@pytest.mark.slow
@pytest.mark.parametrize(
    "labels",
    [LABELS, ("a", "b"), tuple(f"a_rather_long_name_of_a_scene_{k:02}" for k in range(30))],
    ids=["ten", "two", "thirty long ones"],
)
def test_a_confusion_matrix_has_room_for_its_names(labels: tuple[str, ...]) -> None:
    counts = np.random.default_rng(0).integers(0, 9, (len(labels), len(labels)))
    counts[1] = 0  # a scene without a segment
    png = draw_confusion(labels, counts.tolist())
    width, height = size_of(png)
    assert 400 < width < 3000
    assert 400 < height < 3000
    assert len(png) < 500_000


def test_a_plot_is_drawn_alike_each_time() -> None:
    assert draw_confusion(("a", "b"), [[3, 1], [0, 2]]) == draw_confusion(("a", "b"), [[3, 1], [0, 2]])


def test_a_reliability_diagram_of_any_confidence() -> None:
    targets = np.arange(10).repeat(5)
    sure, unsure = np.eye(10)[targets], softmax(np.random.default_rng(0).standard_normal((50, 10)))
    bins = {
        name: dict(zip(("share", "confidence", "accuracy"), map(list, reliability(part, targets)), strict=True))
        for name, part in (("uncalibrated", sure), ("calibrated", unsure))
    }
    width, height = size_of(draw_reliability(bins))
    assert 600 < width < 1000
    assert 700 < height < 1100
