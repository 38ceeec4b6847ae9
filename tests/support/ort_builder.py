"""Stands in for the builder of plans, at its command only: a plan is the graph itself, and ONNX Runtime runs it.

python ort_builder.py [--bias X] [--ms X] [--wait] FOLDER
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from engines.ort import OrtEngine
from engines.trt.exchange import ANSWERS, CASES, GRAPH, PLAN, BuildReport, read_request, write_report
from engines.trt.records import Device, Latency, Machine

MACHINE = Machine(Device("Invented", "9.0", integrated=False, memory_bytes=8 << 30, driver="580.95.05"), "10.3.0")
"""What it builds for."""


def command(*words: object) -> list[str]:
    """The command line without the folder, for `build_command`."""
    return [sys.executable, "-W", "error", __file__, *map(str, words)]


def main() -> None:
    """Do what a folder asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bias", type=float, default=0.0, help="added to the last logit")
    parser.add_argument("--ms", type=float, default=1.0, help="what a call is said to take in float32")
    parser.add_argument("--wait", action="store_true", help="never end")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    folder: Path = given.folder
    request = read_request(folder)
    print(json.dumps({"phase": "tactics", "fraction": 0.25}), flush=True)
    while given.wait:
        time.sleep(0.1)
    graph = (folder / GRAPH).read_bytes() if request.build else (folder / PLAN).read_bytes()
    with np.load(folder / CASES) as cases, OrtEngine(graph, name=request.graph) as engine:
        answers = engine.infer({name: cases[name] for name in engine.inputs})
        for array in answers.values():
            array[:, -1] += np.float32(given.bias)
        with (folder / ANSWERS).open("wb") as file:
            np.savez(file, **answers)
    (folder / PLAN).write_bytes(graph)
    seconds = given.ms / 1000 * {"float32": 1.0, "float16": 0.5, "int8": 0.75}[request.precision]
    latency = [
        Latency(profile.usual, captured, seconds * profile.usual / (1 + captured), 2 * seconds * profile.usual, 500)
        for captured in (False, True)
        for profile in request.profiles
    ]
    write_report(
        folder,
        BuildReport(
            tensorrt=MACHINE.tensorrt,
            device=MACHINE.device,
            build_seconds=0.5,
            workspace_bytes=1 << 30,
            memory_bytes=3 << 20,
            n_layers=9,
            latency=tuple(latency),
            backend="stand-in",
        ),
    )


if __name__ == "__main__":
    main()
