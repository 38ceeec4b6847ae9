"""Every graph of every network compiles, strongly typed, in every precision, in the worker that builds plans.

Networks of random weights; pictures smaller and CLIP's tower shorter than published, which changes no operator and no
type. The published sizes are compiled by benchmarks/compile.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from support.every_network import BIG, SMALL, Traced, trace
from support.rtx import compile_graph
from support.tensorrt_tools import rtx_python
from support.trt_operators import faults

from engines.errors import BackendError
from engines.manifest import GraphName, Precision
from trainer.export.precisions import PRECISIONS, make_precision

pytestmark = pytest.mark.slow
SMALLER = dict.fromkeys(("se_crnn", "se_crnn_early", "se_visual"), ("video.width=64", "video.height=64"))
N_BLOCKS = dict.fromkeys(("clip_probe", "clip_zero_shot", "resnet_clip"), 1)


@pytest.mark.parametrize("name", [*SMALL, *BIG])
def test_every_graph_of_a_network_compiles(name: str, tmp_path: Path) -> None:
    rtx_python()
    traced = trace(name, SMALLER.get(name, ()), N_BLOCKS.get(name))
    for precision in PRECISIONS:
        for part, graph in _graphs(traced, precision).items():
            assert faults(graph) == []
            report = compile_graph(graph, tmp_path / f"{part}-{precision}", part, precision)
            assert report.build_seconds > 0


def _graphs(traced: Traced, precision: Precision) -> Mapping[GraphName, bytes]:
    """Those that differ from float32's, or float32's."""
    if precision == "float32":
        return traced.graphs.graphs
    try:
        made = make_precision(traced.graphs, precision, traced.cases.ranges(1))
    except BackendError:
        return {}
    return {part: graph for part, graph in made.items() if graph != traced.graphs.graphs[part]}
