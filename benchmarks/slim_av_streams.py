"""slim-av as a stream: false switches, delays at changes of scene, and what is named, over many draws of pictures.

Every recording is judged with the settings of its fold, which were chosen without it; see slim_av_world.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from slim_av_world import Fold, Vector, World

from ascstream.smoothing import Decider, SceneFilter

N_DRAWS, SEED = 30, 1
"""How often pictures and orders are drawn anew."""
N_CHANGES, STRETCH_SECONDS = 24, 30.0
"""Changes of scene in each fold and draw, and the seconds between two."""
STEP = 0.5
Answer = tuple[str, str]
"""Level and label."""


def of_streams(world: World, senses: str) -> dict[str, Any]:
    """Recordings of one scene joined end to end, and joined changes of scene, through the runtime's filter and decider.

    Args:
        world: What was held out.
        senses: "audio", "video" or "both".

    Returns:
        "switches_per_hour" of named scenes, mean and 95 % interval over draws; shares of what is named and how often
        it is right; and what `delays_of` gives for "right" and "told".
    """
    rng = np.random.default_rng(SEED)
    spent, rightly = Counter[str](), Counter[str]()
    switches, hours = np.zeros(N_DRAWS), np.zeros(N_DRAWS)
    delays: dict[str, list[float]] = {"right": [], "told": []}
    for fold in world.folds:
        joined = [(draw, *stream) for draw in range(N_DRAWS) for stream in _joined(world, fold, senses, rng)]
        for (draw, scene, rows), answers in zip(
            joined, decide(world, fold, [rows for *_, rows in joined]), strict=True
        ):
            hours[draw] += len(rows) * STEP / 3600
            named = ""
            for level, label in answers:
                spent[level] += 1
                rightly[level] += is_right(world, scene, level, label)
                if level == "scene":
                    switches[draw] += bool(named) and label != named
                    named = label
        changing = [_changing(world, fold, senses, rng) for _ in range(N_DRAWS)]
        for (scenes, _), answers in zip(changing, decide(world, fold, [rows for _, rows in changing]), strict=True):
            for name, seconds in _delays(world, scenes, answers).items():
                delays[name] += seconds
    total = spent.total()
    report: dict[str, Any] = {f"share_{level}": spent[level] / total for level in ("scene", "group", "unknown")}
    report |= {f"{level}_right": rightly[level] / spent[level] for level in ("scene", "group") if spent[level]}
    rates = switches / hours
    report |= {"hours": float(hours.mean()), "draws": N_DRAWS, "switches_per_hour": float(rates.mean())}
    report["switches_interval"] = np.percentile(rates, [2.5, 97.5]).tolist()
    return report | {name: delays_of(seconds) for name, seconds in delays.items()}


def delays_of(seconds: Sequence[float]) -> dict[str, Any]:
    """How soon after a change, over all changes.

    Args:
        seconds: From the change to the answer; infinity where the next change came first.

    Returns:
        "median_seconds" of all changes (None: less than half were reached), "within_5" and "within_30" seconds, and
        "changes".
    """
    median = float(np.median(seconds))
    return {
        "median_seconds": median if np.isfinite(median) else None,
        "within_5": float(np.mean(np.array(seconds) <= 5)),
        "within_30": float(np.mean(np.isfinite(seconds))),
        "changes": len(seconds),
    }


def decide(world: World, fold: Fold, streams: Sequence[Vector]) -> list[list[Answer]]:
    """Level and label of every window of every stream, as the runtime decides; the streams go side by side."""
    manifest = world.manifest
    n_steps = max(len(rows) for rows in streams)
    padded = np.stack([np.pad(rows, ((0, n_steps - len(rows)), (0, 0)), mode="edge") for rows in streams])
    scene_filter = SceneFilter(len(manifest.labels), manifest.smoothing, manifest.window.seconds)
    deciders = [Decider(manifest.labels, manifest.groups, fold.thresholds) for _ in streams]
    answers: list[list[Answer]] = [[] for _ in streams]
    for step in range(n_steps):
        posteriors = scene_filter.update(padded[:, step], STEP if step else manifest.window.seconds)
        for rows, decider, said, posterior in zip(streams, deciders, answers, posteriors, strict=True):
            if step < len(rows):
                decision = decider.decide(posterior)
                said.append((decision.level, decision.label))
    return answers


def is_right(world: World, scene: int, level: str, label: str) -> bool:
    """Whether an answer names the scene, or its group."""
    name = world.pool.labels[scene]
    return name == label if level == "scene" else level == "group" and name in world.manifest.groups[label]


def stream_of(world: World, fold: Fold, recording: int, senses: str, rng: np.random.Generator) -> Vector:
    """[n_windows, n_labels] probabilities of a recording, beside one picture of its scene and fold."""
    sound = world.sound(recording)
    if senses == "audio":
        return np.exp(fold.pool.alone(sound))
    picture = world.seen[rng.choice(fold.pictures[world.scene_of[recording]])]
    seen = np.broadcast_to(picture, sound.shape)
    return np.exp(fold.pool.alone(seen) if senses == "video" else fold.pool.together(sound, seen))


def _members(world: World, fold: Fold) -> dict[int, list[int]]:
    """Scene to recordings of the fold."""
    members: dict[int, list[int]] = {}
    for recording in fold.recordings:
        members.setdefault(world.scene_of[recording], []).append(recording)
    return members


def _joined(world: World, fold: Fold, senses: str, rng: np.random.Generator) -> list[tuple[int, Vector]]:
    """A scene and the probabilities of all its recordings, end to end in any order."""
    return [
        (scene, np.concatenate([stream_of(world, fold, i, senses, rng) for i in rng.permutation(members)]))
        for scene, members in _members(world, fold).items()
    ]


def _changing(world: World, fold: Fold, senses: str, rng: np.random.Generator) -> tuple[list[int], Vector]:
    """Scenes that follow each other, no two alike, and their probabilities."""
    members = _members(world, fold)
    n_steps = round(STRETCH_SECONDS / STEP)
    scenes = [int(rng.choice(sorted(members)))]
    while len(scenes) <= N_CHANGES:
        scenes.append(int(rng.choice([scene for scene in sorted(members) if scene != scenes[-1]])))
    rows = []
    for scene in scenes:
        whole = stream_of(world, fold, int(rng.choice(members[scene])), senses, rng)
        first = int(rng.integers(max(1, len(whole) - n_steps)))
        part = np.resize(whole[first : first + n_steps], (n_steps, whole.shape[1]))
        if rows:  # half of the window that ends half a second after a change is of the scene before
            part[0] = np.sqrt(part[0] * rows[-1][-1])
            part[0] /= part[0].sum()
        rows.append(part)
    return scenes, np.concatenate(rows)


def _delays(world: World, scenes: Sequence[int], answers: Sequence[Answer]) -> dict[str, list[float]]:
    """Seconds from each change to an answer that is right, and to one that tells the two scenes apart.

    Right is the new scene or its group; it tells them apart unless it is a group that the scene before is of too.
    """
    group_of = {label: group for group, members in world.manifest.groups.items() for label in members}
    n_steps = round(STRETCH_SECONDS / STEP)
    delays: dict[str, list[float]] = {"right": [], "told": []}
    for number, scene in enumerate(scenes[1:], start=1):
        part = answers[number * n_steps : (number + 1) * n_steps]
        before = group_of[world.pool.labels[scenes[number - 1]]]
        right = [is_right(world, scene, level, label) for level, label in part]
        told = [hit and (level == "scene" or label != before) for hit, (level, label) in zip(right, part, strict=True)]
        for name, hits in (("right", right), ("told", told)):
            delays[name].append((hits.index(True) + 1) * STEP if any(hits) else np.inf)
    return delays
