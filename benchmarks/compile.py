"""Compile ONNX graphs ahead of time with TensorRT-RTX, without a GPU: are their types and operators accepted?

    python benchmarks/export.py --graphs graphs             # every network in every precision
    python -m venv /path/to/rtx && /path/to/rtx/bin/pip install tensorrt-rtx==1.7.1.116
    /path/to/rtx/bin/python benchmarks/compile.py graphs    # a folder, or files

Success means that a strongly typed network's types agree and that a recent parser knows the operators; TensorRT 8.6 to
10.3 know fewer, for which the tests keep a list. The results are not TensorRT engines, and are discarded.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

BATCHES = (1, 1, 8)
"""Minimum, optimal and maximum batch size for the free axis."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs", nargs="+", type=Path)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        import tensorrt_rtx as trt
    except ImportError:
        print(
            "expected TensorRT-RTX, got none; type, in an environment of its own: pip install tensorrt-rtx==1.7.1.116",
            file=sys.stderr,
        )
        return 4
    paths = [path for given in args.graphs for path in (sorted(given.glob("*.onnx")) if given.is_dir() else [given])]
    rows = []
    for path in paths:
        rows.append(compile_graph(trt, path))
        if not args.json:
            print(describe(rows[-1]), flush=True)
    if args.json:
        print(json.dumps(rows, indent=2))
    failed = [row["graph"] for row in rows if row["error"]]
    print(f"{len(rows) - len(failed)} of {len(rows)} graphs compile" + "".join(f"; not {name}" for name in failed))
    return 1 if failed or not rows else 0


def compile_graph(trt, path: Path) -> dict:
    log = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    row = {"graph": path.stem, "layers": 0, "seconds": 0.0, "megabytes": 0.0, "error": ""}
    if not parser.parse(path.read_bytes()):
        return row | {"error": "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))}
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        profile.set_shape(tensor.name, *[[batch if size == -1 else size for size in tensor.shape] for batch in BATCHES])
    config.add_optimization_profile(profile)
    begun = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - begun
    if plan is None:
        return row | {"layers": network.num_layers, "error": "the build failed"}
    return row | {"layers": network.num_layers, "seconds": round(seconds, 3), "megabytes": round(plan.nbytes / 1e6, 3)}


def describe(row: dict) -> str:
    if row["error"]:
        return f"{row['graph']:40} REFUSED: {row['error']}"
    return f"{row['graph']:40}{row['layers']:6} layers {row['seconds']:7.2f} s {row['megabytes']:9.2f} MB"


if __name__ == "__main__":
    sys.exit(main())
