"""Cross-validation splits: folds that never share a recording, and whole sources; `check_no_leak` checks every one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.data.recordings import Recording
from trainer.errors import DataError


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of the recordings to train on and to evaluate on."""

    name: str
    """Name, also of its folder: "fold-0", "source-moodist", "final"."""
    train: tuple[int, ...]
    """Recordings to train on."""
    test: tuple[int, ...]
    """Held-out recordings; none for the final network."""


def deal_folds(recordings: Sequence[Recording], n_folds: int, seed: int) -> list[Split]:
    """Divide recordings into folds, scene by scene, so that every scene is in every training part.

    A scene's groups are shuffled and dealt to the folds in turn, each scene starting where the previous one ended.
    Folds thus differ by at most one group, and a scene with two groups always has one in training.

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
    """Hold out each source once, if the other sources cover every scene; empty if there is only one source."""
    labels = {recording.label for recording in recordings}
    splits = []
    for source in sorted({recording.source for recording in recordings}):
        test = tuple(index for index, item in enumerate(recordings) if item.source == source)
        train = tuple(index for index, item in enumerate(recordings) if item.source != source)
        if {recordings[index].label for index in train} == labels:
            splits.append(check_no_leak(Split(f"source-{source or 'unnamed'}", train, test), recordings))
    return splits


def check_no_leak(split: Split, recordings: Sequence[Recording]) -> Split:
    """Return `split` if no group of recordings is on both sides.

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
