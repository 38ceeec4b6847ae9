"""How well slim-av does on recordings and images it was not trained on: figures, a plot, simulated streams.

    python benchmarks/slim_av_figures.py WORK          (after benchmarks/slim_av.py DATA WORK)

Every recording is judged by the network of the fold that held it out, every image belongs to the held-out fifth. Pairs
are random pairs of a recording and an image of the same scene: given the scene they are independent by construction,
unlike sound and image of the same moment. Writes WORK/figures.json and WORK/coverage.png.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ascstream.smoothing import Decider, SceneFilter
from engines.bundle import open_bundle
from engines.manifest import Manifest
from trainer.clip_run import EVALUATION, open_clip_run
from trainer.evaluate.answers import WHOLE
from trainer.evaluate.metrics import accuracy, balanced_weights, calibration_error, log_loss
from trainer.evaluate.recordings import gather
from trainer.evaluate.report import read_segments
from trainer.evaluate.thresholds import best_groups
from trainer.fuse.bundle import pool_of
from trainer.fuse.fitting import Pairs, fit_on_runs
from trainer.fuse.pool import Pool
from trainer.fuse.runs import calibrated
from trainer.fuse.weights import with_weights
from trainer.run import open_run

Vector = NDArray[np.float64]
REPEATS, STRETCH = 5, 10
DRAWS, SEED = 1000, 1
STEP = 0.5
MISMATCHED, SURE = 0.05, (0.92, 0.89)
"""The same values with which slim_av.py fuses."""
STRETCH_SECONDS, N_CHANGES = 30.0, 600
"""Time between two simulated changes of scene, and their number."""


@dataclass(frozen=True, slots=True)
class World:
    """The held-out data, and the model that judges them."""

    manifest: Manifest
    """Manifest of the fused bundle."""
    pool: Pool
    """The fusion of sound and image evidence."""
    sound: Vector
    """[n_windows, n_labels]: evidence of every held-out window of sound, half a second apart."""
    recordings: NDArray[np.int64]
    """[n_windows] number of the recording."""
    scene_of: dict[int, int]
    """Recording to scene."""
    pictures: dict[int, Vector]
    """Scene to [n_pictures, n_labels], the evidence of its held-out images."""

    @property
    def groups(self) -> list[list[int]]:
        """Label indices of each group."""
        return [[self.pool.labels.index(label) for label in members] for members in self.manifest.groups.values()]


def main() -> int:
    """Parse the command line, compute the figures, write and print them."""
    parser = argparse.ArgumentParser(description="Figures of slim-av.")
    parser.add_argument("work", type=Path)
    work = parser.parse_args().work
    bundles = {name: open_bundle(work / "bundles" / name) for name in ("slim-audio", "slim-visual", "slim-av")}
    ear, eye = bundles["slim-audio"], bundles["slim-visual"]
    runs = work / "runs" / "slim-audio", work / "runs" / "slim-visual"
    plain = calibrated(pool_of(ear.manifest, eye.manifest), *runs)
    found = fit_on_runs(ear, eye, plain, Pairs(*runs, mismatched=MISMATCHED), sure=SURE)
    pool = with_weights(plain, found.fitted.audio_weight, found.fitted.video_weight)
    world = make_world(bundles["slim-av"].manifest, pool, *runs)
    report: dict[str, Any] = {"weights": [found.fitted.audio_weight, found.fitted.video_weight]}
    whole = {"sound": all_sound(world), "pictures": all_pictures(world)}
    pairs, curves = of_pairs(world)
    for name, given in whole.items():
        report[name] = of_windows(world, *given)
    report["pairs"] = {name: of_windows(world, *given) for name, given in pairs.items()}
    report["among"] = {name: of_windows(world, *among(*given)) for name, given in {**whole, **pairs}.items()}
    report["streams"] = {name: of_streams(world, name) for name in ("audio", "video", "both")}
    (work / "figures.json").write_text(json.dumps(report, indent=1) + "\n")
    draw_coverage(work / "coverage.png", curves)
    show(report)
    return 0


def make_world(manifest: Manifest, pool: Pool, audio_run: Path, video_run: Path) -> World:
    """Collect the held-out recordings and images."""
    run = open_run(audio_run)
    held_out = gather(run, [split for split in run.splits if split.name.startswith("fold-")])
    targets = {int(index): pool.labels.index(run.entries[index].label) for index in np.unique(held_out.recordings)}
    clips = open_clip_run(video_run)
    segments = read_segments(clips, EVALUATION)
    evidence = pool.evidence("video", segments.logits[WHOLE])
    scenes = np.array([pool.labels.index(clips.clips[index].label) for index in segments.clips])
    pictures = {int(scene): evidence[scenes == scene] for scene in np.unique(scenes)}
    return World(manifest, pool, pool.evidence("audio", held_out.logits), held_out.recordings, targets, pictures)


def all_sound(world: World) -> tuple[Vector, NDArray[np.int64], NDArray[np.int64]]:
    """Probabilities, scenes and recordings for every held-out window of sound."""
    targets = np.array([world.scene_of[int(index)] for index in world.recordings])
    return np.exp(world.pool.alone(world.sound)), targets, world.recordings


def all_pictures(world: World) -> tuple[Vector, NDArray[np.int64], NDArray[np.int64]]:
    """The same for every held-out image; each image counts as a recording of its own."""
    evidence = np.concatenate(list(world.pictures.values()))
    targets = np.repeat(list(world.pictures), [len(part) for part in world.pictures.values()])
    return np.exp(world.pool.alone(evidence)), targets, np.arange(len(targets))


def among(
    probabilities: Vector, targets: NDArray[np.int64], owners: NDArray[np.int64]
) -> tuple[Vector, NDArray[np.int64], NDArray[np.int64]]:
    """The same answers restricted to the scenes that occur: the others are known to be absent."""
    there = np.isin(np.arange(probabilities.shape[1]), targets)
    kept = np.where(there, probabilities, 0.0)
    return kept / kept.sum(axis=1, keepdims=True), targets, owners


def of_windows(
    world: World, probabilities: Vector, targets: NDArray[np.int64], owners: NDArray[np.int64]
) -> dict[str, Any]:
    """Figures with scenes weighted equally, and recordings equally within a scene; bootstrapped over recordings."""
    _, group_right = best_groups(probabilities, targets, world.groups)
    right = probabilities.argmax(axis=1) == targets

    def figures(rows: NDArray[np.int64], owner: NDArray[np.int64]) -> dict[str, float]:
        weights = balanced_weights(targets[rows], owner)
        return {
            "accuracy": accuracy(probabilities[rows], targets[rows], weights),
            "group_accuracy": float(weights @ group_right[rows] / weights.sum()),
            "log_loss": log_loss(probabilities[rows], targets[rows], weights),
            "calibration_error": calibration_error(probabilities[rows], targets[rows], weights),
        }

    everything = figures(np.arange(len(targets)), owners)
    drawn = bootstrap(targets, owners, figures)
    return {
        "n_windows": len(targets),
        "n_owners": len(np.unique(owners)),
        "figures": everything,
        "intervals": {name: np.percentile([one[name] for one in drawn], [2.5, 97.5]).tolist() for name in everything},
        "recall": {
            world.pool.labels[scene]: float(
                np.mean([right[owners == o].mean() for o in np.unique(owners[targets == scene])])
            )
            for scene in np.unique(targets)
        },
    }


def bootstrap(
    targets: NDArray[np.int64],
    owners: NDArray[np.int64],
    figures: Callable[[NDArray[np.int64], NDArray[np.int64]], dict[str, float]],
) -> list[dict[str, float]]:
    """Compute figures for recordings resampled with replacement, scene by scene."""
    rng = np.random.default_rng(SEED)
    rows_of = {int(owner): np.flatnonzero(owners == owner) for owner in np.unique(owners)}
    by_scene = [np.unique(owners[targets == scene]) for scene in np.unique(targets)]
    drawn = []
    for _ in range(DRAWS if len(rows_of) < 200 else DRAWS // 5):
        chosen = np.concatenate([rng.choice(members, len(members)) for members in by_scene])
        parts = [rows_of[int(owner)] for owner in chosen]
        again = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        drawn.append(figures(np.concatenate(parts), again))
    return drawn


def of_pairs(world: World) -> tuple[dict[str, Any], dict[str, Any]]:
    """Results of sound alone, images alone and both on the same random pairs, and curves of accuracy against coverage.

    Results are probabilities, scenes and recordings. All recordings count equally: each contributes its windows
    `REPEATS` times, with one held-out image of its scene for every stretch of ten windows.
    """
    rng = np.random.default_rng(SEED + 1)
    heard, seen, targets, owners = [], [], [], []
    for recording, scene in world.scene_of.items():
        pictures = world.pictures.get(scene)
        if pictures is None:
            continue
        sound = world.sound[world.recordings == recording]
        for _ in range(REPEATS):
            shown = rng.integers(len(pictures), size=1 + len(sound) // STRETCH)
            heard.append(sound)
            seen.append(pictures[shown[np.arange(len(sound)) // STRETCH]])
            targets.append(np.full(len(sound), scene))
            owners.append(np.full(len(sound), recording))
    audio, video, targets, owners = (np.concatenate(parts) for parts in (heard, seen, targets, owners))  # type: ignore[assignment]
    answers = {
        "audio": np.exp(world.pool.alone(audio)),
        "video": np.exp(world.pool.alone(video)),
        "both": np.exp(world.pool.together(audio, video)),
    }
    given: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    for name, probabilities in answers.items():
        given[name] = probabilities, targets, owners
        weights = balanced_weights(targets, owners)
        right = probabilities.argmax(axis=1) == targets
        order = np.argsort(-probabilities.max(axis=1), kind="stable")
        covered = np.cumsum(weights[order]) / weights.sum()
        curves[name] = (covered, np.cumsum((weights * right)[order]) / np.cumsum(weights[order]))
    return given, curves


def of_streams(world: World, senses: str) -> dict[str, float]:
    """Run joined recordings of one scene, then scene changes, through the runtime's filter and decider."""
    rng = np.random.default_rng(SEED)
    hours = switches = 0.0
    spent = {"scene": 0, "group": 0, "unknown": 0}
    rightly = {"scene": 0, "group": 0}
    by_scene: dict[int, list[int]] = {}
    for recording, scene in world.scene_of.items():
        if scene in world.pictures:
            by_scene.setdefault(scene, []).append(recording)
    for scene, members in by_scene.items():
        rows = np.concatenate([stream_of(world, recording, senses, rng) for recording in rng.permutation(members)])
        named = ""
        for level, label in decide(world, rows):
            spent[level] += 1
            if level in rightly:
                rightly[level] += is_right(world, scene, level, label)
            if level == "scene":
                switches += bool(named) and label != named
                named = label
        hours += len(rows) * STEP / 3600
    n = sum(spent.values())
    report = {f"share_{level}": count / n for level, count in spent.items()}
    report |= {f"{level}_right": rightly[level] / spent[level] for level in rightly if spent[level]}
    return report | {"hours": hours, "switches_per_hour": switches / hours} | of_changes(world, by_scene, senses, rng)


def of_changes(world: World, by_scene: dict[int, list[int]], senses: str, rng: np.random.Generator) -> dict[str, float]:
    """How often and how soon after a change of scene the answer is right again, and tells the two scenes apart.

    Right means the new scene or its group; it tells the two apart unless that group is also the previous scene's.
    """
    group_of = {label: group for group, members in world.manifest.groups.items() for label in members}
    n_steps = round(STRETCH_SECONDS / STEP)
    scenes = [int(rng.choice(sorted(by_scene)))]
    while len(scenes) <= N_CHANGES:
        scenes.append(int(rng.choice([scene for scene in sorted(by_scene) if scene != scenes[-1]])))
    rows = []
    for scene in scenes:
        whole = stream_of(world, int(rng.choice(by_scene[scene])), senses, rng)
        first = int(rng.integers(max(1, len(whole) - n_steps)))
        rows.append(np.resize(whole[first : first + n_steps], (n_steps, whole.shape[1])))
    answers = decide(world, np.concatenate(rows))
    delays: dict[str, list[float]] = {"right": [], "told": []}
    for number, scene in enumerate(scenes[1:], start=1):
        part = answers[number * n_steps : (number + 1) * n_steps]
        before = group_of[world.pool.labels[scenes[number - 1]]]
        right = [is_right(world, scene, level, label) for level, label in part]
        told = [hit and (level == "scene" or label != before) for hit, (level, label) in zip(right, part, strict=True)]
        for name, hits in (("right", right), ("told", told)):
            delays[name].append((hits.index(True) + 1) * STEP if any(hits) else np.inf)
    report = {}
    for name, seconds in delays.items():
        reached = np.array(seconds)[np.isfinite(seconds)]
        report[f"changes_{name}"] = len(reached) / len(seconds)
        report[f"{name}_median_seconds"] = float(np.median(reached)) if len(reached) else float("nan")
    return report


def stream_of(world: World, recording: int, senses: str, rng: np.random.Generator) -> Vector:
    """[n_windows, n_labels]: probabilities of a recording, combined with a held-out image of its scene."""
    sound = world.sound[world.recordings == recording]
    pictures = world.pictures.get(world.scene_of[recording])
    if senses == "audio" or pictures is None:
        return np.exp(world.pool.alone(sound))
    seen = np.broadcast_to(pictures[rng.integers(len(pictures))], sound.shape)
    return np.exp(world.pool.alone(seen) if senses == "video" else world.pool.together(sound, seen))


def decide(world: World, rows: Vector) -> list[tuple[str, str]]:
    """Level and label of the decision for every window, as in the runtime."""
    manifest = world.manifest
    scene_filter = SceneFilter(len(manifest.labels), manifest.smoothing, manifest.window.seconds)
    decider = Decider(manifest.labels, manifest.groups, manifest.thresholds)
    decisions = []
    for index, row in enumerate(rows):
        decision = decider.decide(scene_filter.update(row, STEP if index else manifest.window.seconds))
        decisions.append((decision.level, decision.label))
    return decisions


def is_right(world: World, scene: int, level: str, label: str) -> bool:
    """Whether an answer names the scene or its group."""
    name = world.pool.labels[scene]
    return name == label if level == "scene" else level == "group" and name in world.manifest.groups[label]


def draw_coverage(path: Path, curves: dict[str, Any]) -> None:
    """Plot how often the most confident answers are right against the share of windows that get one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.8), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    looks = {"audio": ("sound alone", "#0072B2"), "video": ("picture alone", "#E69F00"), "both": ("both", "#009E73")}
    for name, (label, colour) in looks.items():
        covered, right = curves[name]
        kept = covered > 0.02
        axes.plot(100 * covered[kept], 100 * right[kept], color=colour, label=label, linewidth=2)
    axes.set(
        xlabel="part of the windows that are answered, surest first (%)",
        ylabel="of these right (%)",
        xlim=(0, 100),
        ylim=(0, 101),
    )
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left")
    figure.savefig(path, metadata={"Software": None})


def show(report: dict[str, Any]) -> None:
    """Print the figures, line by line."""
    print(f"weights: sound {report['weights'][0]:.2f}, pictures {report['weights'][1]:.2f}")
    rows: Sequence[tuple[str, dict[str, Any]]] = [
        ("all sound", report["sound"]),
        ("all pictures", report["pictures"]),
        *((f"pairs: {name}", part) for name, part in report["pairs"].items()),
        *((f"among: {name}", part) for name, part in report["among"].items()),
    ]
    for name, part in rows:
        figures, ends = part["figures"], part["intervals"]
        cells = [f"{key} {figures[key]:.3f} ({ends[key][0]:.3f}–{ends[key][1]:.3f})" for key in figures]
        print(f"{name:16}{'  '.join(cells)}")
        print(f"{'':16}{'  '.join(f'{label} {share:.2f}' for label, share in part['recall'].items())}")
    for name, part in report["streams"].items():
        print(f"stream {name:9}{'  '.join(f'{key} {value:.3f}' for key, value in part.items())}")


if __name__ == "__main__":
    sys.exit(main())
