"""The whole `ascstream file` command: CPU time relative to ffmpeg only decoding, memory, and time to the first result.

    python benchmarks/file.py [--seconds 600] [--long-seconds 3600] [--bundle FOLDER] [--json]

Every figure is a ratio or a difference of two commands measured in turns in the same run, from the kernel's accounting
of their processes (user + system time, peak resident memory). The clip is 1280×720 at 30 fps, H.264 at 2 Mbit/s or more
with simulated sensor noise, and stereo AAC; it is made by the `ffmpeg` on PATH.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ASCSTREAM = [str(Path(sys.executable).with_name("ascstream"))]
EXAMPLE = Path(__file__).parent.parent / "examples" / "clip.mp4"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="length of the video clip")
    parser.add_argument("--long-seconds", type=int, default=3600, help="length of the long sound file")
    parser.add_argument("--bundle", help="bundle to run; the shipped one by default")
    parser.add_argument("--size", default="224", help="side of the picture that ffmpeg scales to")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = run(args, Path(folder))
    if args.json:
        print(json.dumps(report, indent=2))
        return
    for name, value in report.items():
        print(f"{name:52} {value:.3f}" if isinstance(value, float) else f"{name:52} {value}")


def run(args: argparse.Namespace, folder: Path) -> dict[str, float | str]:
    clip = make_clip(folder / "clip.mp4", args.seconds)
    command = [*ASCSTREAM, "file", "--format", "jsonl"]
    if args.bundle:
        command += ["--bundle", args.bundle]
    scale = f"fps=5,scale={args.size}:{args.size}:flags=bilinear"
    both = ["ffmpeg", "-v", "error", "-threads", "1", "-i", str(clip)]
    both += ["-map", "0:v", "-vf", scale, "-map", "0:a", "-ar", "24000", "-ac", "1", "-f", "null", "-"]
    sound = ["ffmpeg", "-v", "error", "-threads", "1", "-i", str(clip), "-vn", "-ar", "24000", "-ac", "1"]
    sound += ["-f", "null", "-"]
    ours = [cost([*command, str(clip)]) for _ in range(args.repeat)]
    theirs = [cost(both) for _ in range(args.repeat)]
    sounds = [cost(sound) for _ in range(args.repeat)]
    short = make_sound(folder / "short.wav", 60)
    long = make_sound(folder / "long.wav", args.long_seconds)
    peak_short = min(cost([*command, str(short)])[1] for _ in range(args.repeat))
    peak_long = min(cost([*command, str(long)])[1] for _ in range(2))
    startup = sorted(
        first_line(["file", *(["--bundle", args.bundle] if args.bundle else []), str(EXAMPLE)]) for _ in range(5)
    )
    bare = sorted(wall([sys.executable, "-c", "pass"]) for _ in range(5))
    version = sorted(wall([*ASCSTREAM, "--version"]) for _ in range(9))
    cpu = statistics.median(value for value, _ in ours)
    return {
        "clip": f"{args.seconds} s, {clip.stat().st_size * 8 / args.seconds / 1e6:.2f} Mbit/s",
        "ffmpeg": subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout.split()[2],
        "ascstream file, CPU s": cpu,
        "ffmpeg decode + scale 5 fps + resample, CPU s": statistics.median(value for value, _ in theirs),
        "ffmpeg sound alone, CPU s": statistics.median(value for value, _ in sounds),
        "ratio to decode + scale + resample": cpu / statistics.median(value for value, _ in theirs),
        "ratio to sound alone": cpu / statistics.median(value for value, _ in sounds),
        "peak resident MiB, video clip": max(peak for _, peak in ours) / 1024,
        "peak resident MiB, 1-minute sound": peak_short / 1024,
        f"peak resident MiB, {args.long_seconds // 60}-minute sound": peak_long / 1024,
        "difference MiB": (peak_long - peak_short) / 1024,
        "first prediction of the example clip, wall s": startup[len(startup) // 2],
        "ascstream --version, wall s": version[len(version) // 2],
        "python -c pass, wall s": bare[len(bare) // 2],
    }


def cost(command: list[str]) -> tuple[float, int]:
    """CPU seconds and peak resident memory in KiB of a command, from wait4."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def wall(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def first_line(arguments: list[str]) -> float:
    """Seconds from the start of the command to its first line of results on a pipe."""
    start = time.perf_counter()
    with subprocess.Popen([*ASCSTREAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seconds = time.perf_counter() - start
        process.communicate()
    return seconds


def make_clip(path: Path, seconds: int) -> Path:
    picture = f"testsrc2=size=1280x720:rate=30:duration={seconds},noise=alls=8:allf=t"
    sound = f"anoisesrc=color=pink:sample_rate=48000:amplitude=0.2:duration={seconds}"
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-b:v", "2500k", "-pix_fmt", "yuv420p"]
    command += ["-c:a", "aac", "-b:a", "128k", "-ac", "2", str(path)]
    subprocess.run(command, check=True)
    return path


def make_sound(path: Path, seconds: int) -> Path:
    source = f"anoisesrc=color=pink:sample_rate=24000:amplitude=0.2:duration={seconds}"
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, "-ac", "1", str(path)], check=True)
    return path


if __name__ == "__main__":
    main()
