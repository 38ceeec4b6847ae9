"""Runs labelled recordings and pictures through the runtime as evidence: files that have both, or pairs of files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from ascstream.classifier import Classifier
from ascstream.errors import SourceError
from engines.manifest import Modality
from trainer.data.clips import NONE, Clip
from trainer.data.labelled import read_labelled
from trainer.errors import DataError
from trainer.evaluate.metrics import Vector
from trainer.fuse.pool import Pool
from trainer.fuse.weights import NOT_SURE, Evidence
from trainer.plans.media import windows_of

MIN_CLIPS = 20
"""The fewest clips or pairs that weights are fitted on."""
_FOLDS = 5
_WINDOWS_A_FILE = 60
"""At most, from the middle of a recording; more windows of the same place add little."""
_WINDOWS_A_PAIR = 10

Say = Callable[[str], None]
"""Called with a sentence about each file that is left out, and with remarks on the data."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One modality's evidence on a labelled file, window by window."""

    label: int
    """Index of its scene among the pool's labels."""
    place: str
    """Where it was recorded; no two folds may share a place."""
    evidence: Vector
    """[n_windows, n_labels]."""


def read_clips(data: Path, labels: Sequence[str], option: str, say: Say) -> tuple[Clip, ...]:
    """Return labelled files of the bundle's scenes, of a divided list the validation split; see `read_labelled`.

    Raises:
        DataError: They cannot be read, or have fewer than two of the labels.
    """
    found = read_labelled(data, labels, "calibrate", option)
    for remark in found.remarks:
        say(remark)
    chosen = tuple(clip for clip in found.clips if clip.scene_label != NONE)
    scenes = sorted({clip.scene_label for clip in chosen})
    if len(scenes) < 2:
        raise DataError(f"{option}: {data}: expected clips of two or more of {', '.join(labels)}, got {scenes[0]} only")
    return chosen


def clip_evidence(classifier: Classifier, pool: Pool, data: Path, say: Say) -> Evidence:
    """Compute the evidence of both modalities on clips that have sound and picture; each place is a fold.

    Args:
        classifier: A fused bundle of that pool, with any weights.
        pool: Defines the labels.
        data: See `read_clips`.
        say: Called with a message for everything left out.

    Raises:
        DataError: Too few clips have both, or they are all of one place or one scene.
    """
    clips = read_clips(data, pool.labels, "--fit", say)
    places = {place: number for number, place in enumerate(sorted({clip.place for clip in clips}))}
    parts: list[tuple[Vector, Vector, int, int]] = []
    for clip in clips:
        try:
            audio, video = _windows(classifier, clip)
        except SourceError as error:
            say(f"left out: {error}")
            continue
        windows = zip(audio, video, strict=False)
        both = [(heard, seen) for heard, seen in windows if heard is not None and seen is not None]
        if not both:
            say(f"left out: {clip.audio}: expected sound and picture at the same time, got no window with both")
            continue
        heard, seen = (np.stack(side) for side in zip(*both, strict=True))
        parts.append((heard, seen, pool.labels.index(clip.scene_label), places[clip.place]))
    _require(parts, MIN_CLIPS, "clips with sound and picture", "--fit")
    return _joined(parts)


def pair_up(
    sounds: Sequence[Heard], pictures: Sequence[Heard], pool: Pool, option: str, *, n: int, share: float, seed: int
) -> Evidence:
    """Draw random pairs of a recording and a picture: most of one scene, some of two, whose target is even odds.

    The places of recordings and of pictures are assigned to folds, scene by scene, and files are paired only within a
    fold.

    Args:
        sounds: Labelled recordings.
        pictures: Labelled pictures, or recordings with a picture.
        pool: Defines the labels.
        option: The command-line option that error messages name.
        n: Number of pairs.
        share: Fraction of pairs that do not match.
        seed: Seed of the random draw.

    Raises:
        DataError: There are too few files, or too few scenes that have both.
    """
    heard, seen = _dealt(sounds), _dealt(pictures)
    rng = np.random.default_rng(seed)
    folds = [fold for fold in range(_FOLDS) if set(heard[fold]) & set(seen[fold])]
    if len(folds) < 2:
        raise DataError(
            f"{option}: expected two or more scenes with recordings and pictures of two places each, got too few of "
            f"{', '.join(pool.labels)}"
        )
    parts: list[tuple[Vector, Vector, int, int]] = []
    for number in range(n):
        fold = folds[number % len(folds)]
        both = sorted(set(heard[fold]) & set(seen[fold]))
        label = other = int(rng.choice(both))
        others = sorted(set(seen[fold]) - {label})
        mismatched = bool(rng.random() < share and others)
        if mismatched:
            other = int(rng.choice(others))
        sound, picture = (side[int(rng.integers(len(side)))] for side in (heard[fold][label], seen[fold][other]))
        first = int(rng.integers(max(1, len(sound.evidence) - _WINDOWS_A_PAIR + 1)))
        stretch = sound.evidence[first : first + _WINDOWS_A_PAIR]
        looks = np.resize(np.arange(len(picture.evidence)), len(stretch))
        parts.append((stretch, picture.evidence[looks], NOT_SURE if mismatched else label, fold))
    _require(parts, MIN_CLIPS, "pairs", option)
    return _joined(parts)


def _windows(classifier: Classifier, clip: Clip) -> tuple[list[Vector | None], list[Vector | None]]:
    """Evidence of each modality on a clip's non-overlapping windows; None where the modality is absent."""
    classifier.reset()
    step = Fraction(str(classifier.manifest.window.seconds))
    sides: tuple[list[Vector | None], list[Vector | None]] = ([], [])
    for window in windows_of(classifier, clip, step):
        by_output = classifier.score(window).by_output
        for side, head in zip(sides, ("audio", "video"), strict=True):
            found = by_output.get(head)
            tiny = np.finfo(np.float64).tiny
            side.append(None if found is None else np.log(np.maximum(found, tiny)) + np.log(len(found)))
    return sides


def judged_files(classifier: Classifier, pool: Pool, data: Path, modality: Modality, say: Say) -> Iterator[Heard]:
    """Yield the evidence of one modality of a fused bundle on labelled files.

    Raises:
        DataError: They cannot be read, or have fewer than two of the labels.
    """
    for clip in read_clips(data, pool.labels, "--pairs", say):
        path = clip.video if modality == "video" and clip.video is not None else clip.audio
        try:
            sides = _windows(classifier, replace(clip, audio=path, video=None))
        except SourceError as error:
            say(f"left out: {error}")
            continue
        found = [entry for entry in sides[modality == "video"] if entry is not None]
        if found:
            yield Heard(pool.labels.index(clip.scene_label), clip.place, middle(np.stack(found)))
        else:
            what = "sound" if modality == "audio" else "a picture"
            say(f"left out: {path}: expected {what} that can be judged, got none")


def middle(windows: Vector) -> Vector:
    """Return the middle of a file's windows [n_windows, …], at most `_WINDOWS_A_FILE` of them."""
    first = max(0, (len(windows) - _WINDOWS_A_FILE) // 2)
    return windows[first : first + _WINDOWS_A_FILE]


def deal_places(labelled: Sequence[tuple[int, str]]) -> dict[str, int]:
    """Place to fold, from labels and places: those of each scene go to the folds in turn, from the first on."""
    fold_of: dict[str, int] = {}
    for label in sorted({label for label, _ in labelled}):
        for number, place in enumerate(sorted({place for other, place in labelled if other == label})):
            fold_of.setdefault(place, number % _FOLDS)
    return fold_of


def _dealt(files: Sequence[Heard]) -> list[dict[int, list[Heard]]]:
    """Label to files, for each fold; the places of each scene are assigned to the folds in turn, from the first on."""
    fold_of = deal_places([(file.label, file.place) for file in files])
    dealt: list[dict[int, list[Heard]]] = [defaultdict(list) for _ in range(_FOLDS)]
    for file in files:
        dealt[fold_of[file.place]][file.label].append(file)
    return dealt


def _joined(parts: Sequence[tuple[Vector, Vector, int, int]]) -> Evidence:
    """Concatenate clips or pairs into rows of windows."""
    counts = [len(heard) for heard, *_ in parts]
    return Evidence(
        np.concatenate([heard for heard, *_ in parts]),
        np.concatenate([seen for _, seen, *_ in parts]),
        np.repeat([target for *_, target, _ in parts], counts).astype(np.int64),
        np.repeat(np.arange(len(parts)), counts).astype(np.int64),
        np.repeat([fold for *_, fold in parts], counts).astype(np.int64),
    )


def _require(parts: Sequence[tuple[Vector, Vector, int, int]], least: int, what: str, option: str) -> None:
    """Refuse data that are too few to fit weights on."""
    labels = {target for *_, target, _ in parts if target != NOT_SURE}
    folds = {fold for *_, fold in parts}
    if len(parts) < least or len(labels) < 2 or len(folds) < 2:
        raise DataError(
            f"{option}: expected at least {least} {what}, of two scenes and two places, to fit weights on, got "
            f"{len(parts)} of {len(labels)} scenes and {len(folds)} places; leave {option} out for weights of 1"
        )
