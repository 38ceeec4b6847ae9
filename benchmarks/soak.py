"""Run a live stream for as long as asked, on a virtual microphone and camera: its cost, its losses, its latency.

    PYTHONPATH=tests python benchmarks/soak.py --minutes 60               slim_av (random weights), every 0.2 s
    PYTHONPATH=tests python benchmarks/soak.py --minutes 5 --bundle slim-audio    audio only: no camera is opened
    PYTHONPATH=tests python benchmarks/soak.py --minutes 5 --fault camera         it is killed for 5 s in each minute

The microphone is a PulseAudio one, the camera MJPEG over HTTP at 640×480, 25 frames per second; both run alongside.
Memory is what the command and its recording processes have for themselves (RssAnon; shared memory varies with other
programs), CPU time is theirs, latency is measured from capture to the printed line. `cpu_of_ffmpeg` is the ratio to an
ffmpeg that records, decodes and drops the same devices' streams beforehand.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from support.cameras import MjpegCamera
from support.pulse import PulseServer

SAMPLE_SECONDS = 5.0
"""Interval between samples of the processes' CPU time and memory."""
WARM_UP_SECONDS = 300.0
"""Memory growth counts from this time on, or from a tenth of a shorter run."""
FAULT_SECONDS, FAULT_EVERY_SECONDS = 5.0, 60.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Seen:
    """What was observed of the command."""

    predictions: list[dict[str, Any]] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    """Wall-clock time at which each prediction's line arrived."""
    others: list[dict[str, Any]] = field(default_factory=list)
    """Events, health reports and the summary."""
    usage: list[tuple[float, float, float, int]] = field(default_factory=list)
    """Seconds since the start, CPU seconds, MiB, number of processes."""
    faults: list[tuple[str, datetime | float]] = field(default_factory=list)


def make_bundle(folder: Path) -> Path:
    """Write a slim_av bundle with random weights: its cost does not depend on them."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]; from pathlib import Path; from support.every_network import trace; "
        "trace('slim_av').write(Path(sys.argv[3]))"
    )
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-c", code, str(root), str(root / "tests"), str(folder)], check=True)
    return folder


def sound(seconds: float = 30.0, rate: int = 48_000) -> np.ndarray:
    """Noise that swells and fades, with a tone of varying pitch: [n_samples]."""
    time_ = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(1).standard_normal(time_.size) * (0.05 + 0.04 * np.sin(2 * np.pi * time_ / 7.5))
    tone = 0.1 * np.sin(2 * np.pi * (400 + 200 * np.sin(2 * np.pi * time_ / 15)) * time_)
    return (noise + tone).astype(np.float32)


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        try:
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


class Usage:
    """CPU time and memory of a process and its descendants; CPU time includes those that have ended."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._cpu: dict[int, float] = {}

    def look(self) -> tuple[float, float, int]:
        """CPU seconds so far, MiB, and the number of processes."""
        memory, pids = 0.0, family(self._pid)
        for pid in pids:
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                self._cpu[pid] = (int(fields[11]) + int(fields[12])) / TICKS
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("RssAnon:"):
                        memory += int(line.split()[1]) / 1024
            except (OSError, IndexError, ValueError):
                continue
        return sum(self._cpu.values()), memory, len(pids)


def read_lines(process: subprocess.Popen[bytes], seen: Seen) -> None:
    """Record everything the command prints, and when each prediction arrived."""
    assert process.stdout is not None
    for line in process.stdout:
        now = time.time()
        record = json.loads(line)
        if record["type"] == "prediction":
            seen.predictions.append(record)
            seen.arrivals.append(now)
        else:
            seen.others.append(record)


def watch(process: subprocess.Popen[bytes], seen: Seen, seconds: float, faults: queue.Queue[Any]) -> None:
    """Sample the processes until the time is up or the command ends."""
    usage, begun = Usage(process.pid), time.monotonic()
    while process.poll() is None and time.monotonic() - begun < seconds:
        time.sleep(SAMPLE_SECONDS)
        seen.usage.append((time.monotonic() - begun, *usage.look()))
        while not faults.empty():
            seen.faults.append(faults.get())


@contextmanager
def faulty(kind: str | None, server: PulseServer, camera: MjpegCamera, told: queue.Queue[Any]) -> Iterator[None]:
    """Make a device disappear for a while, again and again."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(FAULT_EVERY_SECONDS - FAULT_SECONDS):
            away, back = (server.unplug, server.plug) if kind == "microphone" else (camera.kill, camera.restart)
            away()
            over.wait(FAULT_SECONDS)
            back()
            told.put((kind, time.time()))

    thread = threading.Thread(target=run, daemon=True)
    if kind is not None:
        thread.start()
    try:
        yield
    finally:
        over.set()


def reference(server: PulseServer, camera: MjpegCamera | None, seconds: float) -> float:
    """CPU use, in cores, of an ffmpeg that records and decodes the same devices."""
    words = ["ffmpeg", "-v", "error", "-nostdin", "-f", "pulse", "-i", "default"]
    if camera is not None:
        words += ["-i", camera.url, "-map", "0:a", "-map", "1:v"]
    words += ["-t", f"{seconds:g}", "-f", "null", "-"]
    begun = time.monotonic()
    process = subprocess.Popen(words, env=server.environment(), stdout=subprocess.DEVNULL)
    usage, cpu = Usage(process.pid), 0.0
    while process.poll() is None:
        cpu = max(cpu, usage.look()[0])
        time.sleep(0.25)
    return cpu / (time.monotonic() - begun)


def report(seen: Seen, step: float, seconds: float, ffmpeg: float) -> dict[str, Any]:
    """Compute the figures of a run."""
    ends = np.array([record["end"] for record in seen.predictions])
    expected = round((ends[-1] - ends[0]) / step) + 1
    late = np.array(
        [
            at - datetime.fromisoformat(r["time"]).timestamp()
            for at, r in zip(seen.arrivals, seen.predictions, strict=True)
        ]
    )
    at, cpu, memory, processes = (np.array(column) for column in zip(*seen.usage, strict=True))
    warm = (at >= min(WARM_UP_SECONDS, seconds / 10)) & (processes >= np.median(processes))
    hours = (at[warm] - at[warm][0]) / 3600
    slope = float(np.polyfit(hours, memory[warm], 1)[0])
    used = float((cpu[warm][-1] - cpu[warm][0]) / (at[warm][-1] - at[warm][0]))
    third = max(1, warm.sum() // 10)
    summary = next(record for record in reversed(seen.others) if record["type"] == "summary")
    figures = {
        "seconds": round(float(ends[-1] - ends[0]) + step, 1),
        "windows": len(ends),
        "windows_expected": expected,
        "windows_degraded": sum(record["degraded"] for record in seen.predictions),
        "windows_dropped": summary.get("n_dropped_windows"),
        "lost_seconds": summary["lost_seconds"],
        "capture_to_line_ms": {p: round(1e3 * float(np.percentile(late, q)), 1) for p, q in PERCENTILES.items()},
        "each_tenth": tenths(ends, late, at, cpu),
        "latency_seconds": summary["latency_seconds"],
        "cpu_cores": round(used, 4),
        "cpu_of_ffmpeg": round(used / ffmpeg, 2) if ffmpeg else None,
        "memory_mib": round(float(np.median(memory[warm])), 1),
        "memory_growth_mib": round(float(np.median(memory[warm][-third:]) - np.median(memory[warm][:third])), 2),
        "memory_slope_mib_per_hour": round(slope, 2),
        "processes": int(np.median(processes)),
        "devices": summary.get("devices"),
        "events": sorted({record["kind"] for record in seen.others if record["type"] == "event"}),
    }
    return figures | ({"recovery_seconds": recoveries(seen)} if seen.faults else {})


def tenths(ends: np.ndarray, late: np.ndarray, at: np.ndarray, cpu: np.ndarray) -> list[dict[str, float]]:
    """Latency and CPU load in each tenth of the run, which reveals other load on the machine."""
    parts = []
    for begin, end in itertools.pairwise(np.linspace(ends[0], ends[-1] + 1e-6, 11)):
        chosen = late[(ends >= begin) & (ends < end)]
        looks = (at >= begin) & (at < end)
        used = np.ptp(cpu[looks]) / np.ptp(at[looks]) if looks.sum() > 1 else float("nan")
        row = {name: round(1e3 * float(np.percentile(chosen, q)), 1) for name, q in PERCENTILES.items()}
        parts.append({**row, "cpu_cores": None if np.isnan(used) else round(float(used), 4)})
    return parts


PERCENTILES = {"p50": 50, "p95": 95, "p99": 99, "max": 100}


def recoveries(seen: Seen) -> list[float]:
    """Seconds from each return of a device to the first prediction that uses its modality again."""
    found = []
    for kind, back in seen.faults:
        modality = "audio" if kind == "microphone" else "video"
        after = (
            at - float(back)  # type: ignore[arg-type]
            for at, record in zip(seen.arrivals, seen.predictions, strict=True)
            if at > float(back) and modality in record["modalities"]  # type: ignore[arg-type]
        )
        found.append(round(next(after, float("nan")), 2))
    return found


def main() -> None:
    """Run the stream, watch it, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--bundle", help="a bundle; default: slim_av with random weights")
    parser.add_argument("--step", type=float, default=0.2, help="seconds between two predictions")
    parser.add_argument("--fault", choices=["microphone", "camera"], help="take it away for 5 s in each minute")
    parser.add_argument("--record", type=Path, help="write the figures here too, as JSON")
    options = parser.parse_args()
    seconds, seen, told = 60 * options.minutes, Seen(), queue.Queue()
    with ExitStack() as stack:
        server = stack.enter_context(PulseServer())
        camera = stack.enter_context(MjpegCamera())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server.play(sound(), loop=True)
        bundle = options.bundle or str(make_bundle(folder / "slim-av"))
        sees = options.bundle != "slim-audio"
        ffmpeg = reference(server, camera if sees else None, min(60.0, seconds / 4))
        words = ["live", "--mic", "default", "--camera", camera.url if sees else "none", "--bundle", bundle]
        words += ["--format", "jsonl", "--step", f"{options.step:g}", "--duration", f"{seconds:g}"]
        command = [str(Path(sys.executable).with_name("ascstream")), *words]
        process = subprocess.Popen(command, env=server.environment(), stdout=subprocess.PIPE)
        reader = threading.Thread(target=read_lines, args=(process, seen), daemon=True)
        reader.start()
        with faulty(options.fault, server, camera, told):
            watch(process, seen, seconds + 10, told)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        code = process.wait(10)
        reader.join(10)
    figures = {"exit_code": code, **report(seen, options.step, seconds, ffmpeg)}
    text = json.dumps(figures, indent=1)
    print(text)
    if options.record is not None:
        options.record.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
