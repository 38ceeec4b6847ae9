"""Every graph of every bundle that ships compiles, in every precision; and TensorRT 10.3 knows its operators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.rtx import compile_graph
from support.trt_operators import faults

from engines.base import Array
from engines.bundle import Bundle, open_bundle
from engines.check import N_CASES, read_golden
from engines.manifest import GraphName, Precision
from engines.precision import to_float16, to_int8

BUNDLES = sorted(path.parent for path in (Path(__file__).parents[3] / "ascstream" / "bundles").glob("*/manifest.json"))
PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")


def graphs(bundle: Bundle, precision: Precision) -> Iterator[tuple[GraphName, bytes]]:
    """The bundle's graphs of that precision; made of the float32 ones where it does not hold them."""
    golden = read_golden(bundle.read(bundle.manifest.golden or ""), bundle.manifest)
    for spec in bundle.manifest.graphs:
        if precision in spec.files:
            yield spec.name, bundle.read(spec.files[precision])
        else:
            graph = bundle.read(spec.files["float32"])
            made = to_float16(graph) if precision == "float16" else to_int8(graph, windows(golden[spec.name].feeds))
            yield spec.name, made


def windows(feeds: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    return ({name: array[index : index + 1] for name, array in feeds.items()} for index in range(N_CASES))


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.name)
def test_every_graph_of_a_bundle_compiles(path: Path, precision: Precision, tmp_path: Path) -> None:
    for part, graph in graphs(open_bundle(path), precision):
        assert faults(graph) == []
        report = compile_graph(graph, tmp_path / part, part, precision)
        assert report.tensorrt.startswith("1.7.1")
        assert report.build_seconds > 0
