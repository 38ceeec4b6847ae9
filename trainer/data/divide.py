"""Divide a corpus by whole locations: training, epoch selection (validation), calibration, reporting (evaluation).

The official split determines what is reported on. The rest is divided by draws that depend on the places' names alone,
so the same corpus is divided the same way in every run, whatever its seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from trainer.config import DataConfig
from trainer.data.clips import (
    EVALUATE,
    NONE,
    NONE_EVALUATE,
    TRAIN,
    VALIDATION,
    Clip,
    Corpus,
    check_disjoint,
    first_few,
    hold_out_locations,
)
from trainer.errors import ConfigError, DataError

CALIBRATION = "calibration"
_FEWEST_CITIES = 3
"""Minimum number of training cities for holding one out."""
_SEED = 30
"""Seed of the draws, as in the split of the DCASE 2021 task 1B baseline."""


def divide(corpus: Corpus, config: DataConfig) -> tuple[Clip, ...]:
    """Assign every clip, in the corpus's order, to "train", "validation", "calibration" or "evaluate".

    Clips of none of the scenes are kept apart: "none" if training may use them, otherwise "none evaluate".

    Args:
        corpus: Clips with the split or fold that their corpus assigns.
        config: The fold to report on, the share for validation, the number of calibration cities.

    Returns:
        The clips; none are for calibration if training has too few cities, and validation clips are used instead.

    Raises:
        ConfigError: There is no such fold, or a fold must be named.
        DataError: Two splits share a location, or a split lacks clips.
    """
    check_disjoint(corpus.root, corpus.clips)
    official = _official(corpus, config).clips
    clips = [clip for clip in official if clip.scene_label != NONE]
    for label in corpus.labels:
        if not any(clip.scene_label == label and clip.split == TRAIN for clip in clips):
            raise DataError(f"{corpus.root}: expected clips to train on of every label, got none of {label!r}")
    if not any(clip.split == EVALUATE for clip in clips):
        raise DataError(f"{corpus.root}: expected clips to report on, got none; prepare the whole corpus")
    _hold_out_cities(clips, config.calibration_cities)
    if not any(clip.split == VALIDATION for clip in clips):
        numbers = [number for number, clip in enumerate(clips) if clip.split == TRAIN]
        divided = hold_out_locations([clips[number] for number in numbers], 1 - config.validation_share, _SEED)
        for number, clip in zip(numbers, divided, strict=True):
            clips[number] = clip
    check_disjoint(corpus.root, clips)
    scenes = iter(clips)
    return tuple(_apart(clip) if clip.scene_label == NONE else next(scenes) for clip in official)


def _apart(clip: Clip) -> Clip:
    """A clip of none of the scenes, with its split replaced by "none" or "none evaluate"."""
    return replace(clip, split=NONE_EVALUATE if clip.split == EVALUATE else NONE)


def _official(corpus: Corpus, config: DataConfig) -> Corpus:
    """The corpus split into "train" and "evaluate", and "validation" if its lists have one."""
    splits = sorted({clip.split for clip in corpus.clips})
    known = set(splits) <= {TRAIN, VALIDATION, EVALUATE}
    if known and config.fold in (None, EVALUATE):
        return corpus
    if known:
        raise ConfigError(
            f"data.fold: expected none for {corpus.root}, which has an official split, got {config.fold!r}; "
            "leave it out"
        )
    if config.fold not in splits:
        got = "none" if config.fold is None else repr(config.fold)
        raise ConfigError(
            f"data.fold: expected one of {first_few(splits)} for {corpus.root}, got {got}; "
            f"name the fold to report on: --set data.fold={splits[0]}"
        )
    return corpus.as_fold(config.fold)


def _hold_out_cities(clips: list[Clip], n_cities: int) -> None:
    """Reassign whole cities of training clips to calibration, in place.

    Cities with the most scenes come first, so that temperatures are fitted on all scenes. A city stays in training if
    without it a scene would have fewer than two locations, or training fewer than two cities.
    """
    cities = {clip.city for clip in clips if clip.split in (TRAIN, VALIDATION)}
    if len(cities) < _FEWEST_CITIES:
        return
    labels = {clip.scene_label for clip in clips}
    scenes = {city: {clip.scene_label for clip in _of(clips, city)} for city in cities}
    order = sorted(cities, key=lambda city: (-len(scenes[city]), hashlib.sha256(f"{_SEED} {city}".encode()).digest()))
    held_out: set[str] = set()
    for city in order:
        if len(held_out) == min(n_cities, len(cities) - 2):
            break
        rest = [clip for clip in clips if clip.split == TRAIN and clip.city not in held_out | {city}]
        if city and all(len({clip.place for clip in rest if clip.scene_label == label}) > 1 for label in labels):
            held_out.add(city)
    for number, clip in enumerate(clips):
        if clip.split in (TRAIN, VALIDATION) and clip.city in held_out:
            clips[number] = replace(clip, split=CALIBRATION)


def _of(clips: Iterable[Clip], city: str) -> list[Clip]:
    """The training clips of a city."""
    return [clip for clip in clips if clip.city == city and clip.split == TRAIN]
