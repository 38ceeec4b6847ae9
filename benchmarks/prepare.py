"""`trainer prepare` against an `ffmpeg` command that does the same decoding, clip by clip, on the same cores.

    python benchmarks/prepare.py [--corpus FOLDER] [--hd 24] [--cores N] [--rounds 3]

Two corpora: the synthetic one in the layout of TAU Urban Audio-Visual Scenes 2021 (24-bit stereo WAV, small H.264
videos), and clips like the real one's (1280×720 H.264, 10 s). `ffmpeg` runs as one process per clip, as many at a time
as there are cores, and writes 16-bit samples at 44.1 kHz and 5 frames per second at 224×224 to null: it neither encodes
the frames nor writes any file. `trainer prepare` is the whole command, including start-up, JPEG, hashes and files.
Throughput is hours of clips per hour; the two take turns, and each one's best round counts. CPU time is given as well,
since it depends less on other load. Finally, the time to read a window from the shards is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

RATE, SIZE, FRAMES = 44_100, 224, 5
CONFIG = f"""
name = "benchmark"
[data]
prepared = "out"
[audio]
sample_rate = {RATE}
channels = "left,right"
[audio.feature]
kind = "logmel"
n_fft = 2048
window_length = 2048
hop_length = 882
n_mels = 64
f_min = 50
f_max = 11000
[video]
width = {SIZE}
height = {SIZE}
fit = "squash"
frame_times_seconds = [0.1, 0.3, 0.5, 0.7, 0.9]
max_age_seconds = 0.5
[window]
seconds = 1.0
default_step_seconds = 1.0
"""


def make_hd_corpus(root: Path, n_clips: int) -> None:
    """Make clips like the real corpus's: 48 kHz 24-bit stereo WAV, 1280×720 H.264 at 30 fps, 10 s."""
    for folder in ("audio", "video"):
        (root / folder).mkdir(parents=True)
    rows = ["file,scene_label,split,location,video"]
    picture = "testsrc2=size=1280x720:rate=30:duration=10,noise=alls=6:allf=t,format=yuv420p"
    sound = "anoisesrc=color=pink:sample_rate=48000:amplitude=0.3:duration=10"
    coding = "-c:v libx264 -preset veryfast -b:v 3M -maxrate 4M -bufsize 6M"
    commands = (f"-i {picture} {coding} {root / 'clip.mp4'}", f"-i {sound} -ac 2 -c:a pcm_s24le {root / 'clip.wav'}")
    for command in commands:
        subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", *command.split()], check=True)
    for number in range(n_clips):
        label, split = ("park", "tram")[number % 2], ("train", "evaluate")[number // 2 % 2]
        shutil.copy(root / "clip.wav", root / f"audio/{label}-{number}.wav")
        shutil.copy(root / "clip.mp4", root / f"video/{label}-{number}.mp4")
        rows.append(f"audio/{label}-{number}.wav,{label},{split},{number},video/{label}-{number}.mp4")
    (root / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def media_of(root: Path) -> list[tuple[Path, Path]]:
    """The audio file and the video file of each clip."""
    return [(path, root / "video" / f"{path.stem}.mp4") for path in sorted((root / "audio").iterdir())]


def used_seconds() -> np.ndarray:
    """The clock, and the CPU time of all children so far, in seconds: [2]."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return np.array([time.perf_counter(), children.ru_utime + children.ru_stime])


def time_ffmpeg(media: Sequence[tuple[Path, Path]], n_cores: int) -> np.ndarray:
    """Wall and CPU seconds for all clips, with `n_cores` processes at a time: [2]."""
    scale = f"fps={FRAMES},scale={SIZE}:{SIZE}:flags=bilinear,format=rgb24"

    def decode(pair: tuple[Path, Path]) -> None:
        command = ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-filter_threads", "1", "-i", str(pair[0])]
        command += ["-threads", "1", "-i", str(pair[1]), "-map", "0:a", "-map", "1:v", "-vf", scale]
        command += ["-ar", str(RATE), "-c:a", "pcm_s16le", "-f", "null", "-"]
        subprocess.run(command, check=True)

    begin = used_seconds()
    with ThreadPoolExecutor(n_cores) as pool:
        list(pool.map(decode, media))
    return used_seconds() - begin


def time_prepare(corpus: Path, out: Path, config: Path, n_cores: int) -> np.ndarray:
    """Wall and CPU seconds of the whole command: [2]."""
    shutil.rmtree(out, ignore_errors=True)
    command = [Path(sys.executable).with_name("trainer"), "prepare", corpus, out, "--config", config]
    begin = used_seconds()
    subprocess.run([*map(str, command), "--workers", str(n_cores)], check=True, capture_output=True)
    return used_seconds() - begin


def compare(corpus: Path, media_root: Path, folder: Path, n_cores: int, rounds: int) -> dict[str, float]:
    """Run both in turns, and compare each one's best round."""
    media, config = media_of(media_root), folder / "config.toml"
    config.write_text(CONFIG, encoding="utf-8")
    pairs = [
        (time_ffmpeg(media, n_cores), time_prepare(corpus, folder / "out", config, n_cores)) for _ in range(rounds)
    ]
    theirs, ours = (np.min(times, axis=0) for times in zip(*pairs, strict=True))
    hours = 10 * len(media) / 3600
    return {
        "clips": len(media),
        "ffmpeg_hours_an_hour": round(3600 * hours / theirs[0], 1),
        "prepare_hours_an_hour": round(3600 * hours / ours[0], 1),
        "ratio_of_throughput": round(theirs[0] / ours[0], 2),
        "ffmpeg_processor_seconds_a_clip": round(theirs[1] / len(media), 3),
        "prepare_processor_seconds_a_clip": round(ours[1] / len(media), 3),
    }


def time_reading(folder: Path, n: int = 500) -> dict[str, float]:
    """Milliseconds to read one second from the shards, with warm page cache: its samples, and five frames."""
    from trainer.config import load_config
    from trainer.data.prepared import open_prepared

    prepared = open_prepared(folder / "out")
    inputs = load_config(folder / "config.toml").inputs
    store = prepared.store(inputs)
    rng = np.random.default_rng(1)
    places = [(int(rng.integers(len(store))), int(rng.integers(9 * RATE))) for _ in range(n)]
    times = {"samples": 0.0, "frames": 0.0}
    for _ in range(2):
        begin = time.perf_counter()
        for clip, start in places:
            store.samples(clip, start, RATE)
        times["samples"] = time.perf_counter() - begin
        begin = time.perf_counter()
        for clip, start in places:
            store.frames(clip, [start / RATE + offset / FRAMES for offset in range(FRAMES)], 0.5)
        times["frames"] = time.perf_counter() - begin
    return {f"{name}_ms_a_window": 1000 * seconds / n for name, seconds in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--corpus", type=Path, help="a corpus of trainer synth  [one is made]")
    parser.add_argument("--hd", type=int, default=24, help="clips of 1280×720; 0: none")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = options.corpus
        if corpus is None:
            corpus = folder / "synth"
            synth = [str(Path(sys.executable).with_name("trainer")), "synth", str(corpus), "--clips-per-cell", "1"]
            subprocess.run(synth, check=True, capture_output=True)
        result: dict[str, object] = {"cores": options.cores, "load": os.getloadavg()[0]}
        result["synthetic"] = compare(corpus, corpus, folder, options.cores, options.rounds)
        result["reading"] = time_reading(folder)
        if options.hd:
            make_hd_corpus(folder / "hd", options.hd)
            result["hd"] = compare(folder / "hd/labels.csv", folder / "hd", folder, options.cores, options.rounds)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
