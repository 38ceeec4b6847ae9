"""Stands in for the builder of plans at its command only: gives the golden answers, or fails in one of many ways.

python stand_in_builder.py --golden FILE [--mode MODE] [--log FILE] [--seconds S] [--until FILE] FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from engines.trt.exchange import (
    ANSWERS,
    GRAPH,
    PLAN,
    REPORT,
    TIMING,
    BuildReport,
    read_arrays,
    read_request,
    write_arrays,
    write_report,
)
from engines.trt.records import Device, Latency, Machine
from engines.trt.worker import watch_parent

MACHINE = Machine(
    Device("Invented", "8.7", integrated=True, memory_bytes=8 << 30, driver="540.4", l4t="36.4"), "10.3.0"
)
"""What it builds for."""
ROOT = Path(__file__).parents[2]


def command(
    golden: Path, mode: str = "good", *, log: Path | None = None, seconds: float = 0.0, until: Path | None = None
) -> list[str]:
    """The command line without the folder, for `build_command`.

    Args:
        golden: The bundle's golden cases.
        mode: What goes wrong; see `main`.
        log: Where every start leaves a line with the number of its process.
        seconds: How long a build takes.
        until: And it takes until this file is there.
    """
    words = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-W", "error", __file__, "--golden", str(golden)]
    words += ["--mode", mode, "--seconds", str(seconds)]
    for name, path in (("--log", log), ("--until", until)):
        words += [] if path is None else [name, str(path)]
    return words


def main() -> None:
    """Do what a folder asks for, or something else."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--golden", type=Path, required=True)
    parser.add_argument("--mode", default="good")
    parser.add_argument("--log", type=Path)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--until", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    watch_parent(given.folder)
    if given.log is not None:
        with given.log.open("a") as file:
            file.write(f"{os.getpid()}\n")
    say("tactics", 0.25)
    time.sleep(given.seconds)
    while given.until is not None and not given.until.exists():
        time.sleep(0.01)
    if given.mode != "silent":
        print("TensorRT: a warning", file=sys.stderr)
    _fail(given.mode, given.folder)
    _write(given.mode, given.folder, given.golden)


def say(phase: str, fraction: float) -> None:
    print(json.dumps({"phase": phase, "fraction": fraction}), flush=True)


def _fail(mode: str, folder: Path) -> None:
    """What ends a builder early."""
    if mode == "hangs":
        (folder / PLAN).write_bytes(b"half")
        while True:
            time.sleep(1)
    if mode == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if mode == "exits":
        print("x" * 100_000 + "\nscene: expected something else\n", file=sys.stderr)
        sys.exit(3)
    if mode == "silent":
        sys.exit(4)
    if mode == "full":
        with Path("/dev/full").open("wb", buffering=0) as device:
            device.write(b"plan")


def _write(mode: str, folder: Path, golden: Path) -> None:
    """What a builder leaves."""
    request = read_request(folder)
    if mode == "progress":
        for line in (
            "no JSON",
            '{"phase": "x"}',
            '{"phase": "x", "fraction": 7}',
            "[]",
            '{"phase": "x", "fraction": "y"}',
        ):
            print(line)
        say("tactics", 0.5)
        say("a new phase", 0.1)
        say("writing", 1.0)
    if request.build and mode != "no plan":
        graph = (folder / GRAPH).read_bytes()
        (folder / PLAN).write_bytes(b"" if mode == "empty plan" else b"plan of " + hashlib.sha256(graph).digest())
        earlier = (folder / TIMING).read_bytes() if (folder / TIMING).exists() else b""
        (folder / TIMING).write_bytes(earlier + b"t")
    answers = {
        name.removeprefix(f"{request.graph}/out/"): array
        for name, array in read_arrays(golden).items()
        if name.startswith(f"{request.graph}/out/")
    }
    first = next(iter(answers))
    change = {
        "wrong": lambda array: array + np.float32(0.25),
        "nearly": lambda array: array + np.float32(0.01),
        "nan": lambda array: array * np.float32(np.nan),
        "short": lambda array: array[:-1],
        "narrow": lambda array: array[:, :-1],
        "doubles": lambda array: array.astype(np.float64),
    }.get(mode)
    if change is not None:
        answers[first] = change(answers[first])
    if mode == "another output":
        answers["other"] = answers.pop(first)
    if mode != "no answers":
        write_arrays(folder / ANSWERS, answers)
    if mode == "cut answers":
        (folder / ANSWERS).write_bytes((folder / ANSWERS).read_bytes()[:-10])
    if mode == "no report":
        return
    device = MACHINE.device if mode != "other device" else Device("NVIDIA H100", "9.0", False, 80 << 30, "580.95.05")
    report = BuildReport(
        tensorrt="10.13.2" if mode == "other TensorRT" else MACHINE.tensorrt,
        device=device,
        build_seconds=12.5,
        workspace_bytes=1 << 30,
        memory_bytes=3 << 20,
        n_layers=9,
        latency=tuple(Latency(profile.usual, True, 0.001, 0.002, 500) for profile in request.profiles if request.timed),
        backend="TensorRT 10.3.0, Invented",
    )
    write_report(folder, report)
    if mode == "bad report":
        (folder / REPORT).write_text('{"tensorrt": 10}')
    if mode.startswith("pipe "):  # which nobody ever writes to
        name = mode.removeprefix("pipe ")
        (folder / name).unlink()
        os.mkfifo(folder / name)
    if mode == "link":
        (folder / PLAN).unlink()
        (folder / PLAN).symlink_to("/dev/zero")
    if mode == "deep report":
        (folder / REPORT).write_text("[" * 200_000)


if __name__ == "__main__":
    main()
