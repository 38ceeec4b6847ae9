"""Time every network in TensorRT, PyTorch and ONNX Runtime on one GPU, and compare with what the GPU could do at best.

    python benchmarks/gpu.py [NAME …] [--folder runs/gpu] [--kinds KIND …] [--again] [--dry-run] [--table]

Each part is a process of a few minutes at most that leaves a JSON file. Finished parts are not measured again, so an
interrupted run continues where it stopped. Networks have random weights; `shipped` is the bundle that ships. Writes
results.json and results.md to the folder. Needs a CUDA device, TensorRT, pycuda or cuda-bindings, the `train` extra.
ASCSTREAM_TRT_PYTHON names the Python that has TensorRT; default: this one. Nothing else should run on the machine.
"""

# ruff: noqa: E402 (the repository is first added to the path)

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.gpu_floor import Ceilings, Cost
from benchmarks.gpu_part import SHIPPED, TICK, tensorrt_python
from trainer.models.sizes import TRAINABLE

LIMITS_SECONDS = {
    "export": 600,
    "tensorrt-float32": 600,
    "tensorrt-float16": 600,
    "tensorrt-int8": 600,
    "pytorch": 400,
    "compile": 600,
    "reduce-overhead": 600,
    "max-autotune": 900,
    "onnxruntime": 300,
}
"""The parts measured for a network, in order, and their time limits."""
ONCE_SECONDS = {"ceilings": 300, "tick": 900}
FOR_SHIPPED = ("export", "tensorrt-float32", "tensorrt-float16", "tensorrt-int8")
FIGURES = (
    ("slim_audio", "scene", 1, "TensorRT float16, CUDA graph", "PyTorch eager", 5.0),
    ("slim_audio", "scene", 1, "TensorRT float16, CUDA graph", "PyTorch compile reduce-overhead", 1.0),
    ("slim_audio", "scene", 1, "TensorRT float16, CUDA graph", "PyTorch compile max-autotune", 1.0),
    ("slim_audio", "scene", 1, "TensorRT float16, CUDA graph", "PyTorch compile", 1.0),
    ("se_crnn", "frame", 5, "TensorRT float16, CUDA graph", "PyTorch eager float16 channels_last", 1.5),
)
"""Network, graph, batch size, our way, baseline, and how many times faster ours should be."""
_MISSING = 4
_ASK = f"""
import sys
from engines.errors import BackendError
from engines.trt.driver import require_tensorrt
try:
    device = require_tensorrt()
except BackendError as error:
    print(error, file=sys.stderr)
    sys.exit({_MISSING})
print(f"{{device.name}}, driver {{device.driver}}")
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join((SHIPPED, *TRAINABLE)))
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "gpu")
    parser.add_argument("--kinds", nargs="+", choices=(*LIMITS_SECONDS, *ONCE_SECONDS))
    parser.add_argument("--again", action="store_true", help="parts that failed are tried again")
    parser.add_argument("--dry-run", action="store_true", help="only say what would run")
    parser.add_argument("--table", action="store_true", help="only write the tables of what was measured before")
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in (SHIPPED, *TRAINABLE)]:
        parser.error(f"expected {', '.join((SHIPPED, *TRAINABLE))}, got {', '.join(unknown)}")
    parts = [part for part in plan(args.names or (SHIPPED, *TRAINABLE)) if not args.kinds or part[0] in args.kinds]
    if args.dry_run:
        for kind, name in parts:
            print(f"{kind:18}{name:20}{'done' if is_done(result_of(args.folder, kind, name), args.again) else ''}")
        return 0
    if not args.table:
        there, said = ask(tensorrt_python())
        if not there:
            print(f"benchmark: {said}", file=sys.stderr)
            return _MISSING
        print(said, flush=True)
        for kind, name in parts:
            print(f"{kind} {name}: {run_part(args.folder, kind, name, args.again)}", flush=True)
    results = collect(args.folder)
    (args.folder / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    (args.folder / "results.md").write_text("\n".join(tables(results)) + "\n", encoding="utf-8")
    print("\n".join(tables(results)))
    return 0


def ask(python: str) -> tuple[bool, str]:
    """Whether that Python can run TensorRT, and the device it would run on or what is missing."""
    try:
        done = subprocess.run(
            [python, "-c", _ASK], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError as error:
        return False, f"{python}: expected a Python that has TensorRT, got: {error.strerror}"
    if done.returncode == 0:
        return True, done.stdout.strip()
    said = done.stderr.strip()
    return False, said if done.returncode == _MISSING else f"{python}: {(said.splitlines() or ['no answer'])[-1]}"


def plan(names: tuple[str, ...] | list[str]) -> list[tuple[str, str]]:
    """Kind and network of every part, in order: the device's limits, each network, the whole tick."""
    parts = [("ceilings", "device")]
    for name in names:
        parts += [(kind, name) for kind in (FOR_SHIPPED if name == SHIPPED else LIMITS_SECONDS)]
    return [*parts, ("tick", TICK)] if TICK in names else parts


def result_of(folder: Path, kind: str, name: str) -> Path:
    return folder / name / f"{kind}.json"


def is_done(path: Path, again: bool) -> bool:
    """Whether a part need not run: it was measured, or it failed and failures are not to be retried."""
    return path.exists() and not (again and "error" in json.loads(path.read_text(encoding="utf-8")))


def run_part(folder: Path, kind: str, name: str, again: bool) -> str:
    """Run a part in its own process and save the result it printed, or why it failed."""
    path = result_of(folder, kind, name)
    if is_done(path, again):
        return "was measured"
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_part.py"), kind, name, str(path.parent)]
    limit = {**LIMITS_SECONDS, **ONCE_SECONDS}[kind]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        result = json.loads(lines[-1]) if done.returncode == 0 and lines else {"error": f"{done.returncode}: {said}"}
    except subprocess.TimeoutExpired:
        result = {"error": f"not finished after {limit} s"}
    fresh = path.with_suffix(".partial")
    fresh.write_text(json.dumps(result), encoding="utf-8")
    fresh.rename(path)
    return result.get("error", "measured")


def collect(folder: Path) -> dict:
    """Everything measured so far: network to kind to result."""
    results: dict = {}
    for path in sorted(folder.glob("*/*.json")):
        results.setdefault(path.parent.name, {})[path.stem] = json.loads(path.read_text(encoding="utf-8"))
    return results


def tables(results: dict) -> Iterator[str]:
    """Yield the tables as Markdown."""
    limits = ceilings_of(results)
    device = results.get("device", {}).get("ceilings", {})
    if limits is not None:
        flops = ", ".join(f"{name} {value / 1e12:,.0f}" for name, value in limits.flops_per_second.items())
        yield f"{device['device']}: copies {limits.bytes_per_second / 1e9:,.0f} GB/s, multiplies {flops} TFLOP/s\n"
    yield from figures(results, limits)
    for name, kinds in results.items():
        rows = [row for result in kinds.values() for row in result.get("rows", ())]
        if name == "device" or not rows:
            continue
        yield f"\n## `{name}`\n"
        yield from facts(kinds)
        yield "\n| graph | batch | way | p50 | p99 | × PyTorch eager | × floor |\n|---|---:|---|---:|---:|---:|---:|"
        for row in rows:
            yield line_of(row, rows, kinds, limits)
        for kind, result in kinds.items():
            for what, why in {
                **result.get("failed", {}),
                **({"all": result["error"]} if "error" in result else {}),
            }.items():
                yield f"\n{kind}, {what}: {why}"


def facts(kinds: dict) -> Iterator[str]:
    """Describe what was built and how well it agrees with ONNX Runtime."""
    for kind, result in kinds.items():
        for part, graph in result.get("graphs", {}).items():
            labels = "" if graph["agreement"] is None else f", labels agree {graph['agreement']:.2%}"
            if graph.get("every_head") not in (None, graph["agreement"]):
                labels += f", of the worst head {graph['every_head']:.2%}"
            yield (
                f"* {part}, {kind.removeprefix('tensorrt-')}: {graph['layers']} layers, built in "
                f"{graph['build_seconds']:.1f} s, {graph['memory_bytes'] / 1e6:,.0f} MB, TensorRT {graph['tensorrt']}; "
                f"{graph['cases']} cases: differs by {graph['max_difference']:.2g}{labels}"
            )


def line_of(row: dict, rows: list[dict], kinds: dict, limits: Ceilings | None) -> str:
    """Format a row of a network's table: speed-up over eager PyTorch, and time as a multiple of the device's floor."""
    same = [other for other in rows if (other["part"], other["batch"]) == (row["part"], row["batch"])]
    eager = next((other["p50_ms"] for other in same if other["way"] == "PyTorch eager"), None)
    cells = [row["part"], str(row["batch"]), row["way"], f"{row['p50_ms']:.3f} ms", f"{row['p99_ms']:.3f} ms"]
    cells.append("" if eager is None else f"{eager / row['p50_ms']:.2f}")
    floor = None if limits is None else floor_ms(row, kinds, limits)
    cells.append("" if floor is None else f"{row['p50_ms'] / floor:.1f}")
    return "| " + " | ".join(cells) + " |"


def floor_ms(row: dict, kinds: dict, limits: Ceilings) -> float | None:
    """Lower bound in milliseconds: moving data, computing or launching the plan's layers, whichever takes longest."""
    cost = kinds.get("export", {}).get("costs", {}).get(row["part"])
    if cost is None:
        return None
    precision = next((name for name in ("float16", "int8") if name in row["way"]), "float32")
    seconds = limits.floor_seconds(Cost(**cost), precision, row["batch"])
    layers = kinds.get(f"tensorrt-{precision}", {}).get("graphs", {}).get(row["part"], {}).get("layers")
    if row["way"].startswith("TensorRT") and layers:
        seconds = max(seconds, limits.launch_floor(layers))
    return 1e3 * seconds


def figures(results: dict, limits: Ceilings | None) -> Iterator[str]:
    """Yield a table of goals and the measured values."""
    yield "| figure | measured | goal |\n|---|---:|---:|"
    for name, part, batch, ours, baseline, goal in FIGURES:
        mine, theirs = (p50_of(results, name, part, batch, way) for way in (ours, baseline))
        measured = "not measured" if mine is None or theirs is None else f"{theirs / mine:.2f} ×"
        yield f"| `{name}` {part}, batch {batch}: {ours} by {baseline} | {measured} | ≥ {goal:g} × |"
    own = p50_of(results, "slim_audio", "scene", 1, "TensorRT float16, CUDA graph")
    graphs = results.get("slim_audio", {}).get("tensorrt-float16", {}).get("graphs", {})
    known = own is not None and limits is not None and graphs.get("scene", {}).get("layers")
    measured = f"{own / (1e3 * limits.launch_floor(graphs['scene']['layers'])):.2f} ×" if known else "not measured"
    yield f"| `slim_audio` by as many empty kernels | {measured} | ≤ 1.5 × |"
    ticks = results.get(TICK, {}).get("tick", {}).get("rows", ())
    tick_ms = f"{ticks[0]['p99_ms']:.2f} ms" if ticks else "not measured"
    yield f"| a whole tick, p99 | {tick_ms} | ≤ 1 ms |"
    for precision, goal in (("float16", "99.9"), ("int8", "99")):
        graphs = results.get(SHIPPED, {}).get(f"tensorrt-{precision}", {}).get("graphs", {})
        agrees = f"{graphs['scene']['agreement']:.2%}" if graphs else "not measured"
        yield f"| labels of the bundle that ships, {precision} | {agrees} | ≥ {goal} % |"


def p50_of(results: dict, name: str, part: str, batch: int, way: str) -> float | None:
    """Median in milliseconds, or None if it was not measured."""
    rows = (row for result in results.get(name, {}).values() for row in result.get("rows", ()))
    wanted = (part, batch, way)
    return next((row["p50_ms"] for row in rows if (row["part"], row["batch"], row["way"]) == wanted), None)


def ceilings_of(results: dict) -> Ceilings | None:
    """The device's measured limits; None if measuring them failed."""
    found = results.get("device", {}).get("ceilings", {})
    if "bytes_per_second" not in found:
        return None
    launch = {int(count): seconds for count, seconds in found["launch_seconds"].items()}
    return Ceilings(found["bytes_per_second"], found["flops_per_second"], launch)


if __name__ == "__main__":
    sys.exit(main())
