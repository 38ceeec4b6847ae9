"""Compiles graphs with TensorRT-RTX in the real worker: no GPU is needed, and what is compiled is thrown away."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.tensorrt_tools import rtx_python

from engines.manifest import GraphName, Precision
from engines.trt.exchange import GRAPH, PLAN, BuildReport, Request, read_report, write_request
from engines.trt.records import profiles_of

ROOT = Path(__file__).parents[2]


def compile_graph(
    graph: bytes, folder: Path, part: GraphName, precision: Precision, batches: tuple[int, ...] = (1, 8)
) -> BuildReport:
    """Compile a graph as a strongly typed network, with a profile for each batch size; fails where that cannot be."""
    python = rtx_python()
    folder.mkdir(parents=True)
    (folder / GRAPH).write_bytes(graph)
    write_request(folder, Request(graph=part, precision=precision, profiles=profiles_of(batches), run=False))
    done = subprocess.run(
        [python, "-m", "engines.trt.worker", "--module", "tensorrt_rtx", folder],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{part} {precision}: {done.stderr}"
    assert (folder / PLAN).stat().st_size > 1000
    return read_report(folder)
