"""Export every network: time taken, size of the graphs, and speed of each precision on one thread.

    python benchmarks/export.py [NAME …] [--rounds 30] [--graphs FOLDER] [--json]

Needs the `train` extra. Weights and windows are random. The precisions of a graph are timed in turns, so that a busy
machine slows all of them down alike: read the ratios. The time per window covers one run of the scene graph and one of
the frame graph for each of the window's frames. `--graphs` keeps the graphs, for benchmarks/compile.py.
"""

# ruff: noqa: E402 (libraries read the number of threads when they are loaded)

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engines.check import N_CASES
from engines.errors import BackendError
from engines.ort import OrtEngine
from trainer.config import load_config
from trainer.export.graphs import NetworkGraphs, trace_network
from trainer.export.precisions import PRECISIONS, make_precision
from trainer.inputs import FRAMES, PRESENCE
from trainer.models.ours import OURS
from trainer.models.reference import REFERENCES
from trainer.models.sizes import TRAINABLE, config_of, window_shapes
from trainer.models.systems import build_network, check_inputs

ROOT = Path(__file__).parents[1]
N_LABELS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TRAINABLE))
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--graphs", type=Path)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    if not args.json:
        print("| network | parameters | MACs | export | size | one window | float16 | int8 |\n|---|" + "---:|" * 7)
    for name in args.names or TRAINABLE:
        rows.append(measure(name, args.rounds, args.graphs))
        if not args.json:
            print(describe(rows[-1]), flush=True)
    if args.json:
        print(json.dumps(rows, indent=2))


def measure(name: str, rounds: int, folder: Path | None) -> dict:
    torch.manual_seed(0)
    file, *settings = (config_of(name) or "").split(" --set ")
    config = load_config(ROOT / file, settings)
    system, network = check_inputs(config), build_network(config, N_LABELS).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))  # else they are equal, and the exporter merges them
    cases = random_cases(config, system.inputs)
    begun = time.perf_counter()
    graphs = trace_network(system, network, config.inputs, cases)
    row: dict[str, Any] = {
        "network": name,
        "export_seconds": time.perf_counter() - begun,
        "bytes": {},
        "make_seconds": {},
        "ms": {},
    }
    record = OURS[name] if name in OURS else REFERENCES[name]
    row |= {"parameters": record.parameters, "macs": record.macs}
    made = {"float32": graphs.graphs}
    for precision in PRECISIONS[1:]:
        begun = time.perf_counter()
        try:
            windows = ({key: array[index : index + 1] for key, array in cases.items()} for index in range(2))
            made[precision] = make_precision(graphs, precision, windows)
        except BackendError:
            continue
        row["make_seconds"][precision] = time.perf_counter() - begun
    for precision, parts in made.items():
        row["bytes"][precision] = sum(len(graph) for graph in parts.values())
        for part, graph in parts.items():
            if folder is not None and (precision == "float32" or graph != graphs.graphs[part]):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{name}.{part}.{precision}.onnx").write_bytes(graph)
    n_frames = cases[FRAMES].shape[1] if "frame" in graphs.graphs else 0
    for part in graphs.graphs:
        for precision, ms in time_graph(graphs, made, part, rounds).items():
            weight = n_frames if part == "frame" else 1
            row["ms"][precision] = row["ms"].get(precision, 0.0) + weight * ms
    return row


def random_cases(config, names) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    cases = {}
    for name, shape in window_shapes(config).items():
        cases[name] = rng.standard_normal((N_CASES, *shape), dtype=np.float32)
    if PRESENCE in names:
        cases[PRESENCE] = np.ones((N_CASES, 2), np.float32)
    return cases


def time_graph(graphs: NetworkGraphs, made: dict, part: str, rounds: int) -> dict[str, float]:
    """Median time of each precision in milliseconds; they are timed in turns."""
    feeds = {key: array[:1] for key, array in graphs.golden[part].feeds.items()}
    engines = {precision: OrtEngine(parts[part], name=part) for precision, parts in made.items()}
    seconds = {precision: [] for precision in engines}
    begun = time.perf_counter()
    for engine in engines.values():
        engine.infer(feeds)
    quick = time.perf_counter() - begun < 0.1
    until = time.perf_counter() + 20
    for count in range(rounds):
        for precision, engine in engines.items():
            if quick:
                engine.infer(feeds)  # so that the previous engine does not determine what is in the cache
            begun = time.perf_counter()
            engine.infer(feeds)
            seconds[precision].append(time.perf_counter() - begun)
        if count >= 4 and time.perf_counter() > until:
            break
    for engine in engines.values():
        engine.close()
    return {precision: 1e3 * float(np.median(values)) for precision, values in seconds.items()}


def describe(row: dict) -> str:
    """Format a row of the table; the other precisions get their size and their time relative to float32."""
    cells = [f"`{row['network']}`", f"{row['parameters']:,}", f"{row['macs'] / 1e6:,.1f} M"]
    cells += [f"{row['export_seconds']:.1f} s", size(row["bytes"]["float32"]), f"{row['ms']['float32']:.2f} ms"]
    for precision in PRECISIONS[1:]:
        if precision in row["bytes"]:
            cells.append(f"{size(row['bytes'][precision])}, × {row['ms'][precision] / row['ms']['float32']:.2f}")
        else:
            cells.append("–")
    return "| " + " | ".join(cells) + " |"


def size(n_bytes: int) -> str:
    return f"{n_bytes / 1024:,.0f} KiB" if n_bytes < 10 << 20 else f"{n_bytes / (1 << 20):,.0f} MiB"


if __name__ == "__main__":
    main()
