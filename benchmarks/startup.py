"""How long the command line takes to start, relative to an empty Python: median wall time of fresh processes.

python benchmarks/startup.py [--runs 15] [--bundle FOLDER --clip CLIP]
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from ascstream.bundles import shipped

EXAMPLE = Path(__file__).parents[1] / "examples" / "clip.mp4"
COMMAND = Path(sys.executable).with_name("ascstream")
LIMITS = {"ascstream --version": 0.2, "first prediction": 1.0}
"""Maximum median times in seconds."""


def run_time(words: list[str]) -> float:
    """Wall time of a process, in seconds."""
    began = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def first_line_time(words: list[str]) -> float:
    """Time until a process writes its first line to stdout, in seconds."""
    began = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        line = process.stdout.readline()
        seconds = time.perf_counter() - began
        process.stdout.read()
    if not line or process.returncode != 0:
        raise SystemExit(f"{' '.join(words)}: no prediction, exit code {process.returncode}")
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--bundle")
    parser.add_argument("--clip", type=Path, default=EXAMPLE)
    options = parser.parse_args()
    cases = {
        "python -c pass": (run_time, [sys.executable, "-c", "pass"]),
        "ascstream --version": (run_time, [str(COMMAND), "--version"]),
        "ascstream --help": (run_time, [str(COMMAND), "--help"]),
        "ascstream file --help": (run_time, [str(COMMAND), "file", "--help"]),
    }
    if options.clip.exists() and (options.bundle or shipped()):
        bundle = ["--bundle", options.bundle] if options.bundle else []
        cases["first prediction"] = (first_line_time, [str(COMMAND), "file", str(options.clip), *bundle])
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(options.runs + 1):  # interleaved, so that other load affects all of them alike
        for name, (measure, words) in cases.items():
            times[name].append(measure(words))
    kept = {name: values[1:] for name, values in times.items()}  # the first run only warms the caches
    empty = statistics.median(kept["python -c pass"])
    late = 0
    print(f"{'median of ' + str(options.runs):24} {'seconds':>8} {'× empty':>8} {'least':>8} {'limit':>7}")
    for name, values in kept.items():
        median, limit = statistics.median(values), LIMITS.get(name)
        late += limit is not None and median > limit
        print(f"{name:24} {median:8.3f} {median / empty:8.1f} {min(values):8.3f} {limit or '':>7}")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
