"""What slim-av is judged on: recordings and pictures that it has never met, and settings that were chosen without them.

The network of a fold answers for the recordings that it never heard; the picture network answers for pictures of the
held-out fifth. What is fitted on such answers (the temperature of sound, the weights of the pool, the thresholds) is
fitted again for every fold, on the other folds alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.manifest import Manifest, Thresholds
from trainer.clip_run import EVALUATION, open_clip_run
from trainer.evaluate.answers import WHOLE
from trainer.evaluate.metrics import balanced_weights, fit_temperature
from trainer.evaluate.recordings import HeldOut, gather
from trainer.evaluate.report import read_segments
from trainer.evaluate.thresholds import measure_thresholds, smooth_clips
from trainer.fuse.bundle import pool_of
from trainer.fuse.fitting import Pairs, fit_on_files
from trainer.fuse.material import Heard, deal_places, pair_up
from trainer.fuse.pool import Pool
from trainer.fuse.runs import Folds, calibrated, judged_run
from trainer.fuse.weights import Evidence, with_weights
from trainer.run import Run, open_run

Vector = NDArray[np.float64]
Integers = NDArray[np.int64]
MISMATCHED, SURE = 0.05, (0.92, 0.89)
"""As slim_av.py fuses: the share of mismatched pairs, and how often a named scene and a named group shall be right."""


@dataclass(frozen=True, slots=True)
class Fold:
    """A fifth of what was held out, and the settings chosen on the other four fifths."""

    pool: Pool
    """The pool, its temperature of sound and its weights fitted on the other folds."""
    thresholds: Thresholds
    """Chosen on the other folds."""
    recordings: tuple[int, ...]
    """Recordings of this fold, of scenes that have pictures too."""
    pictures: dict[int, Integers]
    """Scene to rows of `World.seen` of this fold."""
    kept: dict[str, float]
    """What `measure_thresholds` gives for these thresholds on pairs of this fold."""


@dataclass(frozen=True, slots=True)
class World:
    """Evidence on everything that was held out."""

    manifest: Manifest
    """Manifest of the fused bundle."""
    pool: Pool
    """The pool that ships."""
    heard: Vector
    """[n_windows, n_labels] evidence of every held-out window of sound, at the temperature of the other folds."""
    recordings: Integers
    """[n_windows] recording of each."""
    scene_of: dict[int, int]
    """Recording to scene."""
    seen: Vector
    """[n_pictures, n_labels] evidence of every held-out picture."""
    scenes_seen: Integers
    """[n_pictures] scene of each."""
    folds: tuple[Fold, ...]
    """Five folds."""
    run: Run
    """The audio network's run."""

    @property
    def groups(self) -> list[list[int]]:
        """Positions of each group's labels."""
        return _groups(self.manifest)

    def sound(self, recording: int) -> Vector:
        """[n_windows, n_labels] evidence of one recording, half a second apart."""
        return self.heard[self.recordings == recording]


def make_world(ear: Bundle, eye: Bundle, manifest: Manifest, audio_run: Path, video_run: Path) -> World:
    """Gather what was held out, and fit each fold's settings on the others.

    Args:
        ear: The audio bundle.
        eye: The picture bundle.
        manifest: Manifest of the fused bundle.
        audio_run: Run that `ear` was exported from.
        video_run: Run that `eye` was exported from.
    """
    run, clips = open_run(audio_run), open_clip_run(video_run)
    splits = [split for split in run.splits if split.name.startswith("fold-")]
    held_out = gather(run, splits)
    plain = calibrated(pool_of(ear.manifest, eye.manifest), Folds(run, held_out), clips)
    segments = read_segments(clips, EVALUATION)
    scenes_seen = np.array([plain.labels.index(clips.clips[index].label) for index in segments.clips])
    places = [clips.clips[index].place for index in segments.clips]
    fold_of = deal_places(list(zip(scenes_seen.tolist(), places, strict=True)))
    fold_seen = np.array([fold_of[place] for place in places])
    scene_of = {int(i): plain.labels.index(run.entries[i].label) for i in np.unique(held_out.recordings)}
    pairs = Pairs(audio_run, video_run, mismatched=MISMATCHED)
    heard = np.zeros((len(held_out.logits), len(plain.labels)))
    folds = []
    for number, split in enumerate(splits):
        mine = np.isin(held_out.recordings, split.test)
        pool = _calibrated_without(plain, held_out, mine)
        heard[mine] = pool.evidence("audio", held_out.logits[mine])
        sounds = list(judged_run(Folds(run, held_out), pool, "audio"))
        pictures = list(judged_run(clips, pool, "video"))
        own_sounds = np.isin(np.unique(held_out.recordings), split.test)
        others = _which(sounds, ~own_sounds), _which(pictures, fold_seen != number)
        found = fit_on_files(ear, eye, pool, pairs, others, sure=SURE)
        chosen = {name: found.thresholds[name] for name in ("scene", "group")}
        pool = with_weights(pool, found.fitted.audio_weight, found.fitted.video_weight)
        own = _which(sounds, own_sounds), _which(pictures, fold_seen == number)
        kept = _measured(manifest, pool, pair_up(*own, pool, "--runs", n=pairs.n, share=0, seed=pairs.seed), chosen)
        rows = {int(s): np.flatnonzero((fold_seen == number) & (scenes_seen == s)) for s in np.unique(scenes_seen)}
        there = {scene: members for scene, members in rows.items() if len(members)}
        folds.append(
            Fold(
                pool,
                replace(manifest.thresholds, **chosen),
                tuple(int(i) for i in split.test if scene_of.get(int(i)) in there),
                there,
                kept,
            )
        )
    seen = plain.evidence("video", segments.logits[WHOLE])
    return World(manifest, plain, heard, held_out.recordings, scene_of, seen, scenes_seen, tuple(folds), run)


def settings_of(folds: Sequence[Fold]) -> list[dict[str, Any]]:
    """What each fold was given, as it stands in the report."""
    return [
        {
            "temperature": fold.pool.audio.temperature,
            "weights": [fold.pool.audio.weight, fold.pool.video.weight],
            "thresholds": [fold.thresholds.scene, fold.thresholds.group],
            "right_on_pairs": [fold.kept["scene_precision"], fold.kept["group_precision"]],
            "named_on_pairs": [fold.kept["scene_coverage"], fold.kept["group_coverage"]],
            "recordings": len(fold.recordings),
            "pictures": sum(len(rows) for rows in fold.pictures.values()),
        }
        for fold in folds
    ]


def _which(files: Sequence[Heard], chosen: NDArray[np.bool_]) -> list[Heard]:
    """The files that are chosen."""
    return [file for file, is_chosen in zip(files, chosen, strict=True) if is_chosen]


def _measured(manifest: Manifest, pool: Pool, pairs: Evidence, thresholds: dict[str, float]) -> dict[str, float]:
    """How often what is named is right on pairs, behind the runtime's filter, as `trainer fuse` judges thresholds."""
    seconds = manifest.window.seconds
    answers = np.exp(pool.together(pairs.audio, pairs.video))
    smoothed = smooth_clips(answers, pairs.clips, manifest.smoothing, seconds, seconds)
    return measure_thresholds(smoothed, pairs.targets, pairs.clips, _groups(manifest), thresholds)


def _groups(manifest: Manifest) -> list[list[int]]:
    """Positions of each group's labels."""
    return [[manifest.labels.index(label) for label in members] for members in manifest.groups.values()]


def _calibrated_without(pool: Pool, held_out: HeldOut, mine: NDArray[np.bool_]) -> Pool:
    """The pool with the temperature of sound fitted on the other windows."""
    targets, recordings = held_out.targets[~mine], held_out.recordings[~mine]
    temperature = fit_temperature(held_out.logits[~mine], targets, balanced_weights(targets, recordings))
    return replace(pool, audio=replace(pool.audio, temperature=temperature))
