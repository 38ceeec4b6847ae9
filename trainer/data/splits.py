"""Who is held out: folds that never share a recording, and whole sources; `check_no_leak` guards every one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.data.recordings import Recording
from trainer.errors import DataError


@dataclass(frozen=True, slots=True)
class Split:
    """Positions of recordings: some to train on, some to be judged by."""

    name: str
    """Of the folder it is kept in: "fold-0", "source-moodist", "final"."""
    train: tuple[int, ...]
    """Recordings that are trained on."""
    test: tuple[int, ...]
    """Recordings that are held out; none for the final network."""


def deal_folds(recordings: Sequence[Recording], n_folds: int, seed: int) -> list[Split]:
    """Deal recordings into folds, scene by scene, so that every scene is in every training part.

    A scene's groups, shuffled, go round the folds, each scene beginning where the last one ended: folds differ by a
    group at most, and a scene of two groups has one in training at all times.

    Raises:
        DataError: A scene has a single group.
    """
    rng = np.random.default_rng(seed)
    fold_of: dict[str, int] = {}
    position = 0
    for label in sorted({recording.label for recording in recordings}):
        groups = sorted({recording.group for recording in recordings if recording.label == label})
        if len(groups) < 2:
            raise DataError(
                f"scene {label!r}: expected at least two recordings to hold one out, got {groups[0]!r} alone"
            )
        for offset, index in enumerate(rng.permutation(len(groups))):
            fold_of[groups[index]] = (position + offset) % n_folds
        position += len(groups)
    splits = []
    for fold in range(n_folds):
        test = tuple(index for index, item in enumerate(recordings) if fold_of[item.group] == fold)
        if test:
            train = tuple(index for index, item in enumerate(recordings) if fold_of[item.group] != fold)
            splits.append(Split(f"fold-{fold}", train, test))
    return [check_no_leak(split, recordings) for split in splits]


def hold_out_sources(recordings: Sequence[Recording]) -> list[Split]:
    """Each source held out once, where the others still have every scene; none where there is one source."""
    labels = {recording.label for recording in recordings}
    splits = []
    for source in sorted({recording.source for recording in recordings}):
        test = tuple(index for index, item in enumerate(recordings) if item.source == source)
        train = tuple(index for index, item in enumerate(recordings) if item.source != source)
        if {recordings[index].label for index in train} == labels:
            splits.append(check_no_leak(Split(f"source-{source or 'unnamed'}", train, test), recordings))
    return splits


def check_no_leak(split: Split, recordings: Sequence[Recording]) -> Split:
    """Give `split` back if no recording is on both sides.

    Raises:
        DataError: One is; the message names it.
    """
    trained = {recordings[index].group for index in split.train}
    for index in split.test:
        if recordings[index].group in trained:
            raise DataError(
                f"{split.name}: expected every recording on one side, got {recordings[index].group!r} "
                "in training and in evaluation"
            )
    return split
