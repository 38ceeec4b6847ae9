"""CPU time of our decoding, relative to an `ffmpeg` command that decodes, scales and resamples the same to null.

    python benchmarks/media.py [--seconds 600] [--clip CLIP] [--threads N]

The clip is 1280×720 at 30 fps, H.264 + AAC, with simulated sensor noise (at least 2 Mbit/s). Both deliver 5 frames per
second at 224×224 and 24 kHz mono; ours also cuts windows of 1 s and turns them into log-mel spectrograms and image
tensors: everything but the networks. CPU time is user + system time of one child process, including start-up, and the
minimum over the rounds; the command uses the system's FFmpeg, ours the one inside PyAV.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engines.manifest import Manifest

SIZE, FRAMES, RATE = 224, 5, 24000


def make_clip(path: Path, seconds: int) -> None:
    """Write a clip of a moving test pattern with temporal noise, and pink noise as its sound."""
    picture = f"testsrc2=size=1280x720:rate=30:duration={seconds}"
    sound = f"anoisesrc=color=pink:sample_rate=48000:amplitude=0.3:duration={seconds}"
    inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-vf", "noise=alls=6:allf=t,format=yuv420p"]
    coding = "-ac 2 -c:v libx264 -preset veryfast -b:v 3M -maxrate 4M -bufsize 6M -c:a aac -b:a 128k".split()  # noqa: SIM905
    subprocess.run(["ffmpeg", "-v", "error", "-y", *inputs, *coding, str(path)], check=True)


def cpu_seconds(command: Sequence[str]) -> float:
    """User and system time of one child process, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ffmpeg_command(clip: Path, threads: int, *, video: bool) -> list[str]:
    """The reference command: decode, scale 5 frames per second, resample, discard."""
    command = ["ffmpeg", "-v", "error", "-threads", str(threads), "-filter_threads", "1"]
    if not video:
        return [*command, "-vn", "-i", str(clip), "-ac", "1", "-ar", str(RATE), "-f", "null", "-"]
    scale = f"fps={FRAMES},scale={SIZE}:{SIZE}:flags=bilinear,format=rgb24"
    return [*command, "-i", str(clip), "-vf", scale, "-ac", "1", "-ar", str(RATE), "-f", "null", "-"]


def decode(clip: Path, *, video: bool) -> None:
    """Our side: read the whole clip, cut windows, compute what networks would be fed."""
    from ascstream.frontend import FrontEnd, image_tensor
    from ascstream.records import EndOfVideo, StreamEvent, VideoFrame
    from ascstream.sources.base import AudioWants, FrameSchedule, VideoWants, Wants
    from ascstream.sources.media import open_media
    from ascstream.windows import Windower

    manifest = describe(video=video)
    offsets = tuple(Fraction(slot, FRAMES) for slot in range(1, FRAMES + 1))
    schedule = FrameSchedule(Fraction(1), offsets, 0.5)
    wants = Wants(AudioWants(RATE, 1), VideoWants(SIZE, SIZE, "squash", None, "bilinear", schedule) if video else None)
    windower, front_end = Windower(manifest, Fraction(1)), FrontEnd(manifest)
    n_windows = n_frames = 0
    with open_media(clip) as source:
        for item in source.items(wants):
            if isinstance(item, StreamEvent):
                continue
            if isinstance(item, VideoFrame) and manifest.video_input is not None:
                image_tensor(item.image, manifest.video_input[1])
                n_frames += 1
            if not isinstance(item, EndOfVideo) or video:
                windower.push(item)
            for window in windower.ready():
                if window.samples is not None:
                    front_end(window.samples, window.start_sample)
                n_windows += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{n_windows} windows, {n_frames} frames, peak memory {peak:.0f} MB", file=sys.stderr)


def describe(*, video: bool) -> Manifest:
    """The manifest of an imaginary bundle with these inputs."""
    from engines.manifest import Manifest

    feature = {"kind": "logmel", "n_fft": 1024, "window_length": 1024, "hop_length": 480, "n_mels": 64}
    audio = {"sample_rate": RATE, "channels": "mono", "feature": feature | {"f_min": 50, "f_max": 11000}}
    picture = {"width": SIZE, "height": SIZE, "fit": "squash", "max_age_seconds": 0.5}
    picture |= {"frame_times_seconds": [slot / FRAMES for slot in range(1, FRAMES + 1)]}
    inputs = [{"name": "logmel", "audio": audio}, *([{"name": "frames", "video": picture}] if video else [])]
    fields = {
        "schema": 1,
        "name": "nothing",
        "version": "1",
        "description": "Inputs only",
        "licence": "Apache-2.0",
        "labels": ["a", "b"],
        "window": {"seconds": 1.0, "default_step_seconds": 1.0},
        "inputs": inputs,
        "outputs": [{"name": "fused"}],
        "graphs": [{"name": "scene", "files": {"float32": "scene.onnx"}}],
        "files": {"scene.onnx": {"sha256": "0" * 64, "size": 1}},
    }
    return Manifest.from_json(json.dumps(fields))


def measure(clip: Path, threads: int, rounds: int, *, video: bool) -> dict[str, float]:
    """Run both in alternating rounds, and compare their minimum times."""
    ours = [sys.executable, __file__, "--decode", str(clip), *([] if video else ["--audio-only"])]
    pairs = [(cpu_seconds(ffmpeg_command(clip, threads, video=video)), cpu_seconds(ours)) for _ in range(rounds)]
    theirs, mine = (min(times) for times in zip(*pairs, strict=True))
    return {"ffmpeg_cpu_seconds": theirs, "ours_cpu_seconds": mine, "ratio": mine / theirs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--clip", type=Path, help="use this clip instead of making one")
    parser.add_argument("--threads", type=int, default=2, help="decoding threads of the ffmpeg command")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--decode", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--audio-only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.decode is not None:
        decode(options.decode, video=not options.audio_only)
        return
    import av

    with tempfile.TemporaryDirectory() as folder:
        clip = options.clip
        if clip is None:
            clip = Path(folder) / "clip.mp4"
            make_clip(clip, options.seconds)
        banner = subprocess.run(["ffmpeg", "-version"], check=True, capture_output=True, text=True).stdout
        version = re.match(r"ffmpeg version (\S+)", banner)
        result = {
            "clip_megabytes": clip.stat().st_size / 1e6,
            "ffmpeg": version.group(1) if version else "?",
            "pyav_ffmpeg": av.ffmpeg_version_info,
            "sound_and_picture": measure(clip, options.threads, options.rounds, video=True),
            "sound_alone": measure(clip, options.threads, options.rounds, video=False),
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
