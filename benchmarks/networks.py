"""Time the trainer's networks in ONNX Runtime on one thread, and slim_audio against wider and deeper variants.

    python benchmarks/networks.py [--json] [--rounds 300]

Needs the `train` extra. The candidates are timed in turns, so that a busy machine slows all of them down alike: read
the ratios to the shipped shape. Weights are random; the time does not depend on them.
"""

# ruff: noqa: E402 (libraries read the number of threads when they are loaded)

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import io
import json
import time
import warnings

import numpy as np
import torch
from torch import nn

from engines.ort import OrtEngine
from trainer.models.ours import OURS
from trainer.models.slim_audio import SlimAudio, Stage

N_LABELS, SHAPE = 10, (1, 64, 48)
SIBLINGS = {
    "  a stage less wide": (Stage(16, 1, (2, 2)), Stage(24, 2, (2, 2)), Stage(40, 1, (2, 1))),
    "  wider, three blocks first": (Stage(32, 3, (2, 2)), Stage(56, 2, (2, 2)), Stage(80, 1, (2, 1))),
    "  hops kept longer": (Stage(32, 2, (2, 1)), Stage(48, 2, (2, 2)), Stage(72, 2, (2, 1))),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    networks = {"slim_audio": OURS["slim_audio"].build(N_LABELS)}
    networks |= {name: SlimAudio(N_LABELS, stages=stages) for name, stages in SIBLINGS.items()}
    rows = measure(networks, args.rounds)
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'network':30}{'parameters':>11}{'p50 ms':>9}{'p95 ms':>9}{'× slim_audio':>14}{'torch ms':>10}")
    for row in rows:
        print(
            f"{row['network']:30}{row['parameters']:11,}{row['p50_ms']:9.3f}{row['p95_ms']:9.3f}"
            f"{row['ratio']:14.2f}{row['torch_ms']:10.2f}"
        )


def measure(networks: dict[str, nn.Module], rounds: int) -> list[dict]:
    engines = {name: OrtEngine(to_onnx(model.eval()), name=name) for name, model in networks.items()}
    feeds = {"features": np.random.default_rng(0).standard_normal((1, *SHAPE)).astype(np.float32)}
    window = torch.from_numpy(feeds["features"])
    seconds = {name: [] for name in networks}
    eager = {name: [] for name in networks}
    for _ in range(20):
        for engine in engines.values():
            engine.infer(feeds)
    for _ in range(rounds):
        for name, engine in engines.items():
            engine.infer(feeds)  # so that the previous engine does not determine what is in the cache
            seconds[name].append(once(lambda engine=engine: engine.infer(feeds)))
    with torch.inference_mode():
        for _ in range(max(10, rounds // 10)):
            for name, model in networks.items():
                eager[name].append(once(lambda model=model: model(window)))
    base = np.median(seconds["slim_audio"])
    return [
        {
            "network": name,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "p50_ms": 1e3 * float(np.median(seconds[name])),
            "p95_ms": 1e3 * float(np.percentile(seconds[name], 95)),
            "ratio": float(np.median(seconds[name]) / base),
            "torch_ms": 1e3 * float(np.median(eager[name])),
        }
        for name, model in networks.items()
    ]


def once(call) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def to_onnx(model: nn.Module) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        example = (torch.zeros(2, *SHAPE),)
        axes = {"features": {0: "batch"}, "fused": {0: "batch"}}
        torch.onnx.export(
            model, example, buffer, dynamo=False, opset_version=17,
            input_names=["features"], output_names=["fused"], dynamic_axes=axes,
        )  # fmt: skip
    return buffer.getvalue()


if __name__ == "__main__":
    main()
