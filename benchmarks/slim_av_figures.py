"""How well slim-av does on recordings and pictures it was not trained on: figures, a plot, simulated streams.

    python benchmarks/slim_av_figures.py WORK [--beside BUNDLE --data DATA]      (after slim_av.py DATA WORK)

Every recording is judged by the network of the fold that held it out, at the temperature, weights and thresholds that
the other folds chose; every picture belongs to the held-out fifth. A pair is a random recording and a random picture of
the same scene: given the scene they are independent by construction, unlike sound and picture of the same moment. With
--beside, an audio bundle of others is judged on the same recordings. Writes WORK/figures.json and WORK/coverage.png.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from slim_av_streams import STEP, of_streams
from slim_av_world import Integers, Vector, World, make_world, settings_of

from ascstream import Classifier, StreamSettings, open_media, stream
from engines.bundle import open_bundle
from trainer.evaluate.metrics import accuracy, balanced_weights, calibration_error, log_loss
from trainer.evaluate.recordings import gather
from trainer.evaluate.thresholds import best_groups
from trainer.run import BASELINE

REPEATS, STRETCH = 5, 10
DRAWS, SEED = 1000, 1


@dataclass(frozen=True, slots=True)
class Answers:
    """What one way of answering says of labelled windows."""

    probabilities: Vector
    """[n_windows, n_labels]."""
    targets: Integers
    """[n_windows] scene of each."""
    owners: Integers
    """[n_windows] recording, or picture, of each."""
    groups: list[list[int]]
    """Positions of each group's labels."""


def main() -> int:
    """Parse the command line, compute the figures, write and print them."""
    parser = argparse.ArgumentParser(description="Figures of slim-av.")
    parser.add_argument("work", type=Path)
    parser.add_argument("--beside", type=Path, help="An audio bundle to judge on the same recordings.")
    parser.add_argument("--data", type=Path, help="Where the recordings lie, for --beside.")
    options = parser.parse_args()
    work: Path = options.work
    ear, eye, both = (open_bundle(work / "bundles" / name) for name in ("slim-audio", "slim-visual", "slim-av"))
    world = make_world(ear, eye, both.manifest, work / "runs/slim-audio", work / "runs/slim-visual")
    answers = {"sound": of_sound(world), "pictures": of_pictures(world), **of_pairs(world)}
    kept = {name: among(given) for name, given in answers.items()}
    report: dict[str, Any] = {
        "settings": settings_of(world.folds),
        "windows": {name: of_windows(given, world.pool.labels) for name, given in answers.items()},
        "among": {name: of_windows(given, world.pool.labels) for name, given in kept.items()},
        "gains": {
            f"both over {name}, {kind}": gain_of(part["both"], part[name])
            for kind, part in (("over all labels", answers), ("of the scenes that occur", kept))
            for name in ("picture alone", "sound alone")
        },
    }
    report["linear"], gains = beside_linear(world)
    report["gains"] |= gains
    if options.beside is not None:
        report["beside"] = beside_bundle(world, options.beside, options.data)
    report["streams"] = {name: of_streams(world, name) for name in ("audio", "video", "both")}
    (work / "figures.json").write_text(json.dumps(report, indent=1) + "\n")
    draw_coverage(work / "coverage.png", {name: answers[name] for name in ("sound alone", "picture alone", "both")})
    show(report)
    return 0


def of_sound(world: World) -> Answers:
    """Answers for every held-out window of sound."""
    targets = np.array([world.scene_of[int(index)] for index in world.recordings])
    return Answers(np.exp(world.pool.alone(world.heard)), targets, world.recordings, world.groups)


def of_pictures(world: World) -> Answers:
    """Answers for every held-out picture; each counts as a recording of its own."""
    probabilities = np.exp(world.pool.alone(world.seen))
    return Answers(probabilities, world.scenes_seen, np.arange(len(world.seen)), world.groups)


def of_pairs(world: World) -> dict[str, Answers]:
    """Answers of sound alone, pictures alone and both for the same random pairs.

    All recordings count equally: each contributes its windows `REPEATS` times, with one picture of its scene and fold
    for every stretch of ten windows.
    """
    rng = np.random.default_rng(SEED + 1)
    parts: dict[str, list[Vector]] = {"sound alone": [], "picture alone": [], "both": []}
    targets, owners = [], []
    for fold in world.folds:
        for recording in sorted(fold.recordings):
            scene, sound = world.scene_of[recording], world.sound(recording)
            for _ in range(REPEATS):
                shown = rng.choice(fold.pictures[scene], size=1 + len(sound) // STRETCH)
                seen = world.seen[shown[np.arange(len(sound)) // STRETCH]]
                parts["sound alone"].append(fold.pool.alone(sound))
                parts["picture alone"].append(fold.pool.alone(seen))
                parts["both"].append(fold.pool.together(sound, seen))
                targets.append(np.full(len(sound), scene))
                owners.append(np.full(len(sound), recording))
    whole = np.concatenate(targets), np.concatenate(owners)
    return {name: Answers(np.exp(np.concatenate(rows)), *whole, world.groups) for name, rows in parts.items()}


def among(given: Answers) -> Answers:
    """The same answers restricted to the scenes that occur: the others are known to be absent."""
    there = np.isin(np.arange(given.probabilities.shape[1]), given.targets)
    kept = np.where(there, given.probabilities, 0.0)
    return Answers(kept / kept.sum(axis=1, keepdims=True), given.targets, given.owners, given.groups)


def figures_of(given: Answers) -> Callable[[NDArray[np.int64], NDArray[np.int64]], dict[str, float]]:
    """A function from rows and their owners to figures: scenes weighted equally, and recordings within a scene."""
    probabilities, targets = given.probabilities, given.targets
    _, group_right = best_groups(probabilities, targets, given.groups)

    def figures(rows: NDArray[np.int64], owners: NDArray[np.int64]) -> dict[str, float]:
        weights = balanced_weights(targets[rows], owners)
        return {
            "accuracy": accuracy(probabilities[rows], targets[rows], weights),
            "group_accuracy": float(weights @ group_right[rows] / weights.sum()),
            "log_loss": log_loss(probabilities[rows], targets[rows], weights),
            "calibration_error": calibration_error(probabilities[rows], targets[rows], weights),
        }

    return figures


def bootstrap(given: Answers) -> list[dict[str, float]]:
    """Figures of recordings resampled with replacement, scene by scene; the same draws for the same recordings."""
    figures, owners = figures_of(given), given.owners
    rng = np.random.default_rng(SEED)
    rows_of = {int(owner): np.flatnonzero(owners == owner) for owner in np.unique(owners)}
    by_scene = [np.unique(owners[given.targets == scene]) for scene in np.unique(given.targets)]
    drawn = []
    for _ in range(DRAWS if len(rows_of) < 200 else DRAWS // 5):
        chosen = np.concatenate([rng.choice(members, len(members)) for members in by_scene])
        parts = [rows_of[int(owner)] for owner in chosen]
        again = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        drawn.append(figures(np.concatenate(parts), again))
    return drawn


def of_windows(given: Answers, labels: tuple[str, ...]) -> dict[str, Any]:
    """Figures with 95 % intervals of a bootstrap over recordings, and each scene's recall."""
    everything = figures_of(given)(np.arange(len(given.targets)), given.owners)
    drawn = bootstrap(given)
    right = given.probabilities.argmax(axis=1) == given.targets
    owners_of = {scene: np.unique(given.owners[given.targets == scene]) for scene in np.unique(given.targets)}
    return {
        "n_windows": len(given.targets),
        "n_owners": len(np.unique(given.owners)),
        "figures": everything,
        "intervals": {name: _interval([one[name] for one in drawn]) for name in everything},
        "recall": {
            labels[scene]: float(np.mean([right[given.owners == owner].mean() for owner in owners]))
            for scene, owners in owners_of.items()
        },
    }


def gain_of(better: Answers, plain: Answers) -> dict[str, Any]:
    """Differences of the figures of two ways of answering the same windows, with intervals over the same draws."""
    whole = np.arange(len(better.targets)), better.owners
    one, other = figures_of(better)(*whole), figures_of(plain)(*whole)
    drawn = list(zip(bootstrap(better), bootstrap(plain), strict=True))
    return {
        name: {"gain": one[name] - other[name], "interval": _interval([a[name] - b[name] for a, b in drawn])}
        for name in ("accuracy", "group_accuracy", "log_loss")
    }


def beside_linear(world: World) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures of the linear model that `trainer fit` trains beside the network, and the network's gain over it.

    On folds, and on whole sources of recordings that neither had met; among the scenes that the recordings are of.
    """
    run = world.run
    groups = [[run.labels.index(label) for label in members] for members in run.groups.values()]
    found: dict[str, Any] = {}
    gains: dict[str, Any] = {}
    for kind in ("fold-", "source-"):
        splits = [split for split in run.splits if split.name.startswith(kind)]
        network, linear = (
            Answers(part.probabilities, part.targets, part.recordings, groups)
            for part in (gather(run, splits), gather(run, splits, BASELINE))
        )
        what = {"fold-": "folds", "source-": "sources"}[kind]
        found[f"network, {what}"] = of_windows(network, run.labels)
        found[f"linear, {what}"] = of_windows(linear, run.labels)
        gains[f"sound over linear, {what}"] = gain_of(network, linear)
    return found, gains


def beside_bundle(world: World, path: Path, data: Path) -> dict[str, Any]:
    """Figures of another audio bundle on the same recordings, through the runtime; among all its scenes, and ours."""
    run = world.run
    rows: list[Vector] = []
    targets, owners = [], []
    with Classifier.load(path) as classifier:
        manifest = classifier.manifest
        for index in sorted(world.scene_of):
            entry = run.entries[index]
            with open_media(data / "scenes_audio" / entry.file) as source:
                for prediction in stream(classifier, source, StreamSettings(step_seconds=STEP)):
                    if prediction.raw_scores:
                        rows.append(np.array([prediction.raw_scores[label] for label in manifest.labels]))
                        targets.append(manifest.labels.index(entry.label))
                        owners.append(index)
    groups = [[manifest.labels.index(label) for label in members] for members in manifest.groups.values()]
    given = Answers(np.stack(rows), np.array(targets), np.array(owners), groups)
    return {
        "bundle": manifest.name,
        "all": of_windows(given, manifest.labels),
        "among": of_windows(among(given), manifest.labels),
    }


def draw_coverage(path: Path, answers: Mapping[str, Answers]) -> None:
    """Draw how often the surest answers are right, against the share of windows that is answered."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.8), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colours = {"sound alone": "#0072B2", "picture alone": "#E69F00", "both": "#009E73"}
    for name, given in answers.items():
        weights = balanced_weights(given.targets, given.owners)
        right = given.probabilities.argmax(axis=1) == given.targets
        order = np.argsort(-given.probabilities.max(axis=1), kind="stable")
        covered = np.cumsum(weights[order]) / weights.sum()
        precision = np.cumsum((weights * right)[order]) / np.cumsum(weights[order])
        kept = covered > 0.02
        axes.plot(100 * covered[kept], 100 * precision[kept], color=colours[name], label=name, linewidth=2)
    axes.set(
        xlabel="share of windows answered, most confident first (%)",
        ylabel="of these correct (%)",
        xlim=(0, 100),
        ylim=(0, 101),
    )
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left")
    figure.savefig(path, metadata={"Software": None})


def show(report: Mapping[str, Any]) -> None:
    """Print the figures as lines."""
    for setting in report["settings"]:
        print("fold      ", "  ".join(f"{key} {value}" for key, value in setting.items()))
    rows = [(f"{kind}: {name}", part) for kind in ("windows", "among") for name, part in report[kind].items()]
    rows += report["linear"].items()
    if "beside" in report:
        rows += [(f"{report['beside']['bundle']}, {name}", report["beside"][name]) for name in ("all", "among")]
    for name, part in rows:
        figures, ends = part["figures"], part["intervals"]
        cells = [f"{key} {figures[key]:.3f} ({ends[key][0]:.3f}–{ends[key][1]:.3f})" for key in figures]
        print(f"{name:26}{'  '.join(cells)}")
        print(f"{'':26}{'  '.join(f'{label} {share:.2f}' for label, share in part['recall'].items())}")
    for name, part in report["gains"].items():
        cells = [f"{k} {v['gain']:+.3f} ({v['interval'][0]:+.3f} to {v['interval'][1]:+.3f})" for k, v in part.items()]
        print(f"{name:40}{'  '.join(cells)}")
    for name, part in report["streams"].items():
        print(f"stream {name}: {json.dumps(part)}")


def _interval(values: list[float]) -> list[float]:
    """95 % of the values."""
    ends: list[float] = np.percentile(values, [2.5, 97.5]).tolist()
    return ends


if __name__ == "__main__":
    sys.exit(main())
