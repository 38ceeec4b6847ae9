"""How far plans are from PyTorch and ONNX Runtime; the builder may be another one, so that this itself can be tried."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from support.every_network import Traced
from support.gpu import build

from benchmarks import gpu_part
from engines.base import Array
from engines.manifest import GraphName, Precision
from engines.ort import OrtEngine
from trainer.evaluate.metrics import softmax
from trainer.export.precisions import make_precision, to_judge


def distance(got: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """Largest difference over all outputs: of probabilities; of an embedding by its largest number."""
    found = []
    for name, array in expected.items():
        assert np.isfinite(got[name]).all()
        if name == "embedding":
            found.append(np.abs(got[name] - array).max() / max(1.0, np.abs(array).max()))
        else:
            found.append(np.abs(softmax(got[name]) - softmax(array)).max())
    return float(max(found))


def graphs_of(traced: Traced, precision: Precision) -> tuple[Mapping[GraphName, bytes], Mapping[GraphName, bytes]]:
    """What is compiled, and what answers like it on a CPU."""
    if precision == "float32":
        return traced.graphs.graphs, traced.graphs.graphs
    made = make_precision(traced.graphs, precision, traced.cases.ranges(4))
    return made, to_judge(made, precision)


def compare(
    traced: Traced, precision: Precision, command: Sequence[str] | None = None
) -> dict[str, tuple[float, float]]:
    """Every graph: how far it is from PyTorch, and from ONNX Runtime with the same graph."""
    made, judged = graphs_of(traced, precision)
    found = {}
    for part, graph in made.items():
        golden = traced.graphs.golden[part]
        built = build(graph, part, precision, golden.feeds, command=command)
        with OrtEngine(judged[part], name=part) as engine:
            answers = engine.infer(dict(golden.feeds))
        found[part] = (distance(built.answers, golden.answers), distance(built.answers, answers))
    return found


def label_agreement(precision: Precision, folder: Path, command: Sequence[str] | None = None) -> float:
    """Share of equal labels: windows of the clip, and of recordings if there are some, through the shipped bundle."""
    media = [gpu_part.ROOT / "examples" / "clip.mp4"]
    if (data := os.environ.get("ASCSTREAM_TEST_DATA")) is not None:
        media += sorted(Path(data).rglob("*.wav"))[:100]
    exported = gpu_part.export_shipped(folder, media)
    (folder / "export.json").write_text(json.dumps(exported), encoding="utf-8")
    result = gpu_part.tensorrt(precision, command)(gpu_part.SHIPPED, folder)
    assert result["graphs"]["scene"]["cases"] == exported["n"]
    return float(result["graphs"]["scene"]["agreement"])
