"""What gain, microphones, noise, darkness, blur and camera rotation cost slim-av in accuracy, and its computing time.

    python benchmarks/slim_av_robustness.py WORK DATA          (after benchmarks/slim_av.py DATA WORK)

Held-out recordings are judged by the networks of the folds that held them out, held-out images by the network that
ships. Agreement is with the label of the unaltered window; accuracy weights scenes equally. Also shows how the bundle
decides after a long look at one image, and the time for one second (5 frames and 2 windows) against the SE-CRNN
reference (VGG16), timed in turns in one run. Prints everything and writes WORK/robustness.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ascstream.frontend import image_tensor
from ascstream.smoothing import Decider, SceneFilter
from engines.backends import load_engines
from engines.bundle import open_bundle
from engines.check import golden_of
from engines.manifest import FRAME_INPUT, FRAME_OUTPUT
from engines.ort import OrtEngine
from trainer.clip_run import open_clip_run
from trainer.config import load_config
from trainer.data.audio import Mono, decode, load_responses
from trainer.data.clips import EVALUATE, NONE_EVALUATE
from trainer.data.memory import MemoryStore
from trainer.data.prepared import open_prepared
from trainer.data.segments import SegmentReader
from trainer.evaluate.answers import WHOLE
from trainer.evaluate.metrics import softmax
from trainer.fit.trained import Trained, load_trained
from trainer.models.graph import export_graph
from trainer.models.systems import build_network, deploy, find_system
from trainer.run import open_run

CONFIGS = Path(__file__).parents[1] / "configs"
Picture = NDArray[np.uint8]


def main() -> int:
    """Parse the command line, measure, write and print the results."""
    parser = argparse.ArgumentParser(description="Robustness and cost of slim-av.")
    parser.add_argument("work", type=Path)
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "sound": of_sound(options.work / "runs/slim-audio", options.data),
        "pictures": of_pictures(options.work / "runs/slim-visual", options.work / "data"),
        "gaze": of_gaze(options.work),
        "speed": speed(options.work / "bundles/slim-av"),
    }
    (options.work / "robustness.json").write_text(json.dumps(report, indent=1) + "\n")
    for sense in ("sound", "pictures"):
        for name, row in report[sense].items():
            print(f"{sense:9}{name:28}{'  '.join(f'{key} {value:.3f}' for key, value in row.items())}")
    for name, row in report["gaze"].items():
        print(f"gaze     {name:28}{'  '.join(f'{key} {value:.3f}' for key, value in row.items())}")
    print("  ".join(f"{key} {value:.4g}" for key, value in report["speed"].items()))
    return 0


def of_sound(run_folder: Path, data: Path) -> dict[str, dict[str, float]]:
    """Agreement and accuracy for each alteration of the sound."""
    run = open_run(run_folder)
    rate = run.config.inputs.sample_rate
    root = data / Path(run.config.data.labels or "").parent
    recordings = [decode(root / entry.file, rate) for entry in run.entries]
    responses = load_responses(data / (run.config.data.impulse_responses or ""), rate)
    folds = [split for split in run.splits if split.name.startswith("fold-")]
    networks = {split.name: load_trained(run.folder / split.name, len(run.labels), run.config) for split in folds}

    def answers(
        change: Callable[[Mono, np.random.Generator], Mono],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        said, whose = [], []
        for split in folds:
            rng = np.random.default_rng(1)
            changed = MemoryStore([change(recordings[index], rng) for index in split.test], rate)
            trained: Trained = networks[split.name]
            reader = SegmentReader(changed, trained.inputs, run.config, trained.system.inputs)
            owners, starts = reader.segments(range(len(split.test)))
            said.append(reader.logits(owners, starts, trained.answer, alone=False)[WHOLE].argmax(axis=1))
            whose.append(np.array(split.test)[owners])
        return np.concatenate(said), np.concatenate(whose)

    clean, owners = answers(lambda sound, _rng: sound)
    targets = run.targets[owners]
    changes: dict[str, Callable[[Mono, np.random.Generator], Mono]] = {
        **{
            f"gain {db:+d} dB": lambda sound, _rng, db=db: np.clip(sound * 10 ** (db / 20), -1, 1)
            for db in (-12, -6, 6, 12)
        },
        "another microphone": lambda sound, rng: _filtered(sound, responses[int(rng.integers(len(responses)))]),
        "low-pass 4 kHz": lambda sound, _rng: _lowpass(sound, rate, 4000),
        "noise 20 dB below": lambda sound, rng: _noisy(sound, 20, rng),
        "noise 10 dB below": lambda sound, rng: _noisy(sound, 10, rng),
    }
    rows = {"unaltered": _row(clean, clean, targets, owners)}
    return rows | {name: _row(answers(change)[0], clean, targets, owners) for name, change in changes.items()}


def of_pictures(run_folder: Path, root: Path) -> dict[str, dict[str, float]]:
    """Agreement and accuracy for each alteration of the image."""
    run = open_clip_run(run_folder)
    trained = load_trained(run.network, len(run.labels), run.config)
    video = trained.inputs.video
    if video is None:
        raise RuntimeError("expected a network that sees")
    store = open_prepared(root / (run.config.data.prepared or "")).store(trained.inputs)
    numbers = [number for number, clip in enumerate(run.clips) if clip.split == EVALUATE]
    pictures = [store.frames(number, video.frame_times_seconds, video.max_age_seconds)[0][0] for number in numbers]
    targets = run.targets[numbers]

    def answers(change: Callable[[Picture, np.random.Generator], Picture]) -> NDArray[np.int64]:
        rng = np.random.default_rng(1)
        tensors = np.stack([image_tensor(change(picture, rng), video) for picture in pictures])[:, None]
        parts = [trained.answer({"frames": tensors[i : i + 64]})["fused"] for i in range(0, len(tensors), 64)]
        return np.concatenate(parts).argmax(axis=1)

    clean = answers(lambda picture, _rng: picture)
    changes: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
        "a third of the light": lambda picture, rng: _dark(picture, 1 / 3, rng),
        "a tenth of the light": lambda picture, rng: _dark(picture, 0.1, rng),
        "blur, 1 % of the width": lambda picture, _rng: _blurred(picture, 0.01),
        "blur, 2 % of the width": lambda picture, _rng: _blurred(picture, 0.02),
        "a quarter turn": lambda picture, rng: np.rot90(picture, int(rng.choice((1, 3)))),
        "mirrored": lambda picture, _rng: picture[:, ::-1],
        "noise, 15 of 255": lambda picture, rng: np.clip(picture + rng.normal(0, 15, picture.shape), 0, 255).astype(
            np.uint8
        ),
    }
    owners = np.arange(len(targets))
    rows = {"unaltered": _row(clean, clean, targets, owners)}
    return rows | {name: _row(answers(change), clean, targets, owners) for name, change in changes.items()}


def of_gaze(work: Path) -> dict[str, dict[str, float]]:
    """The bundle's final decision when its camera sees one held-out image for 20 s and there is no sound."""
    run = open_clip_run(work / "runs/slim-visual")
    opened = open_bundle(work / "bundles/slim-av")
    manifest = opened.manifest
    video = run.config.inputs.video
    if video is None or manifest.video_input is None or manifest.presence_input is None:
        raise RuntimeError("expected a bundle that may hear and sees")
    store = open_prepared(work / "data" / (run.config.data.prepared or "")).store(run.config.inputs)
    group_of = {label: group for group, members in manifest.groups.items() for label in members}
    ends: dict[str, list[tuple[str, bool]]] = {"scenes": [], "none": []}
    with load_engines(opened, backend="onnxruntime") as engines:
        silence = {
            name: np.zeros((1, *spec.shape[1:]), np.float32)  # type: ignore[arg-type]
            for name, spec in engines.scene.inputs.items()
        }
        for number, clip in enumerate(run.clips):
            if clip.split not in (EVALUATE, NONE_EVALUATE) or engines.frame is None:
                continue
            picture = store.frames(number, video.frame_times_seconds, video.max_age_seconds)[0][0]
            seen = engines.frame.infer({FRAME_INPUT: image_tensor(picture, video)[None]})[FRAME_OUTPUT]
            feeds = silence | {manifest.video_input[0]: seen[:, None], manifest.presence_input[0]: np.float32([[0, 1]])}
            row = softmax(engines.scene.infer(feeds)["fused"].astype(np.float64))[0]
            scene_filter = SceneFilter(len(manifest.labels), manifest.smoothing, manifest.window.seconds)
            decider = Decider(manifest.labels, manifest.groups, manifest.thresholds)
            for step in range(40):
                decision = decider.decide(scene_filter.update(row, 0.5 if step else manifest.window.seconds))
            right = decision.label in (clip.label, group_of.get(clip.label))
            ends["scenes" if clip.split == EVALUATE else "none"].append((decision.level, right))
    return {name: _shares(rows) for name, rows in ends.items()}


def _shares(ends: Sequence[tuple[str, bool]]) -> dict[str, float]:
    """Number of images, the share for which each level was decided, and the share of these that is right."""
    shares: dict[str, float] = {"n": len(ends)}
    for level in ("scene", "group", "unknown"):
        rights = [right for ended, right in ends if ended == level]
        shares[level] = len(rights) / len(ends)
        if level != "unknown" and rights:
            shares[f"{level}_right"] = float(np.mean(rights))
    return shares


def speed(bundle: Path) -> dict[str, float]:
    """CPU time for one second of five frames and two windows, in turns with SE-CRNN with random weights; one thread."""
    opened = open_bundle(bundle)
    golden = golden_of(opened)
    config = load_config(CONFIGS / "se_crnn.toml")
    parts = deploy(find_system(config), build_network(config, 10))
    shapes = {"features": (1, 3, 64, 50), "embeddings": (1, 5, 512), "frames": (1, 3, 224, 224)}
    scene = _graph(parts.scene, {name: shapes[name] for name in parts.scene_inputs})
    if parts.encoder is None:
        raise RuntimeError("expected an encoder")
    frame = _graph(parts.encoder, {"image": shapes["frames"]})
    ours: list[float] = []
    windows: list[float] = []
    frames: list[float] = []
    theirs: list[float] = []
    with load_engines(opened, backend="onnxruntime") as engines, OrtEngine(scene) as big, OrtEngine(frame) as vgg:
        if engines.frame is None:
            raise RuntimeError("expected a frame graph")
        image = {name: values[:1] for name, values in golden["frame"].feeds.items()}
        window = {name: values[:1] for name, values in golden["scene"].feeds.items()}
        rng = np.random.default_rng(0)
        feeds = {name: rng.standard_normal((1, *spec.shape[1:]), np.float32) for name, spec in big.inputs.items()}  # type: ignore[arg-type]
        picture = {name: rng.standard_normal((1, *spec.shape[1:]), np.float32) for name, spec in vgg.inputs.items()}  # type: ignore[arg-type]
        for turn in range(12):
            frames.append(_time(lambda: engines.frame.infer(image), 5) / 5)  # type: ignore[union-attr]
            windows.append(_time(lambda: engines.scene.infer(window), 20) / 20)
            ours.append(5 * frames[-1] + 2 * windows[-1])
            theirs.append(_time(lambda: vgg.infer(picture), 1) * 5 + 2 * _time(lambda: big.infer(feeds), 1))
            if turn < 2:
                for values in (frames, windows, ours, theirs):
                    values.clear()
    return {
        "window_ms": 1e3 * float(np.median(windows)),
        "frame_ms": 1e3 * float(np.median(frames)),
        "second_ms": 1e3 * float(np.median(ours)),
        "se_crnn_second_ms": 1e3 * float(np.median(theirs)),
        "ratio": float(np.median(theirs) / np.median(ours)),
    }


def _graph(module: torch.nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """Export a part of a network as a graph."""
    examples = {name: torch.randn(2, *shape[1:]) for name, shape in shapes.items()}
    outputs = module(*examples.values())
    names = ["out"] if isinstance(outputs, torch.Tensor) else [f"out{index}" for index in range(len(outputs))]
    return export_graph(module, examples, names)


def _time(call: Callable[[], Any], n: int) -> float:
    """CPU time of n calls, in seconds."""
    begun = time.process_time()
    for _ in range(n):
        call()
    return time.process_time() - begun


def _row(
    answers: NDArray[np.int64], clean: NDArray[np.int64], targets: NDArray[np.int64], owners: NDArray[np.int64]
) -> dict[str, float]:
    right = answers == targets
    recalls = [
        np.mean([right[owners == owner].mean() for owner in np.unique(owners[targets == scene])])
        for scene in np.unique(targets)
    ]
    return {"agreement": float((answers == clean).mean()), "accuracy": float(np.mean(recalls))}


def _filtered(sound: Mono, response: Mono) -> Mono:
    n = 1 << int(np.ceil(np.log2(len(sound) + len(response))))
    out = np.fft.irfft(np.fft.rfft(sound, n) * np.fft.rfft(response, n), n)[: len(sound)]
    return np.clip(out, -1, 1).astype(np.float32)


def _lowpass(sound: Mono, rate: int, hertz: float) -> Mono:
    spectrum = np.fft.rfft(sound)
    frequencies = np.fft.rfftfreq(len(sound), 1 / rate)
    return np.fft.irfft(spectrum / np.sqrt(1 + (frequencies / hertz) ** 8), len(sound)).astype(np.float32)


def _noisy(sound: Mono, db_below: float, rng: np.random.Generator) -> Mono:
    level = np.sqrt(np.square(sound).mean()) * 10 ** (-db_below / 20)
    return np.clip(sound + level * rng.standard_normal(len(sound)), -1, 1).astype(np.float32)


def _dark(picture: Picture, light: float, rng: np.random.Generator) -> Picture:
    return np.clip(picture * light + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)


def _blurred(picture: Picture, share: float) -> Picture:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(share * picture.shape[1])))


if __name__ == "__main__":
    sys.exit(main())
