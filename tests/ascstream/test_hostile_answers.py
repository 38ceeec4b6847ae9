"""Graphs that answer what was not agreed, which shows only when they run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from support import bundles
from support.graphs import graph_of

from ascstream.classifier import Classifier
from ascstream.pipeline import stream
from ascstream.records import Prediction
from ascstream.sources.synthetic import ReplaySource
from engines.errors import BackendError


def answers_of(path: Path) -> list[Prediction]:
    """Classify a second of noise."""
    with Classifier.load(path) as classifier:
        noise = np.random.default_rng(0).standard_normal((1, 24_000)).astype(np.float32) * np.float32(0.1)
        return list(stream(classifier, ReplaySource(noise, 24_000)))


@pytest.mark.parametrize(
    ("graph", "shape"),
    [
        (
            graph_of(
                helper.make_node("Add", ["e", "three"], ["end"]),
                helper.make_node("Slice", ["y", "begin", "end", "one"], ["fused"]),
                width="k",
                begin=np.array([0], np.int64),
                three=np.array([3], np.int64),
            ),
            "[1, 3]",
        ),
        (graph_of(helper.make_node("Concat", ["y", "y"], ["fused"], axis=0)), "[2, 10]"),
        (
            graph_of(helper.make_node("Slice", ["y", "begin", "e"], ["fused"]), begin=np.array([0], np.int64)),
            "[0, 10]",
        ),
    ],
    ids=["three labels", "two windows", "none"],
)
def test_an_answer_of_another_size_than_agreed_is_refused(graph: bytes, shape: str, tmp_path: Path) -> None:
    path = bundles.mono_logmel(tmp_path, scene=graph)
    with pytest.raises(BackendError) as caught:
        answers_of(path)
    assert str(caught.value) == f"fused: expected an answer of [1, 10], got {shape}; export it anew"


def test_infinite_logits_are_no_answer_and_no_warning(tmp_path: Path) -> None:
    factor = np.float32(np.inf)
    path = bundles.mono_logmel(tmp_path, scene=graph_of(helper.make_node("Mul", ["y", "f"], ["fused"]), f=factor))
    (only,) = answers_of(path)
    assert (only.label, only.reason) == ("unknown", "invalid_scores")
