"""Labelled clips in one shape, whatever layout they come from; no location is ever on two sides of a split.

The layouts are read by `tau_av_2021`, `tau_audio`, `esc10` and `folder`; each gives a `Corpus`, which checks itself.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.errors import ConfigError, DataError

TRAIN, VALIDATION, EVALUATE = "train", "validation", "evaluate"
NONE = "none"
"""Label of clips of none of the scenes, and, once a corpus is divided, the split of those that training may see."""
NONE_EVALUATE = "none evaluate"
"""Split of those that it may not."""
_SHOWN = 3
"""Items a message names before it counts the rest."""


def place_name(city: str, location: str) -> str:
    """City and location as one name, unique in a corpus: what a network may know, or must not."""
    return f"{city}-{location}" if city else location


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled recording."""

    audio: Path
    """Its sound."""
    video: Path | None
    """Its picture, in a file of its own; None where there is none."""
    scene_label: str
    """Its scene; "none" where it is none of them."""
    city: str
    """Where it was recorded, or which source it comes from; "" where the corpus does not say."""
    location: str
    """The place in that city, or the recording it was cut from: what no two splits may share."""
    segment: str
    """Which part of that place's recordings it is."""
    split: str
    """"train", "validation" or "evaluate"; a fold's name; "" where it is not divided yet."""
    device: str = ""
    """What recorded it, in the corpus's letters."""

    @property
    def place(self) -> str:
        """What no two splits may share; see `place_name`."""
        return place_name(self.city, self.location)

    @property
    def name(self) -> str:
        """The clip's file name without its ending."""
        return self.audio.stem


@dataclass(frozen=True, slots=True)
class Corpus:
    """Clips that can be trained on and evaluated: checked when it is made.

    Raises:
        DataError: A label is unknown, empty or given twice, a clip is listed twice, or splits share a location.
    """

    name: str
    """What cards call it."""
    root: Path
    """Where its files lie; messages begin with it."""
    labels: tuple[str, ...]
    """Scenes in alphabetical order: the order of every output."""
    clips: tuple[Clip, ...]
    """Clips in the order of their lists."""
    licence: str
    """Its terms, in a sentence."""
    remarks: tuple[str, ...] = ()
    """What the user should be told: what was left out, and why."""

    def __post_init__(self) -> None:
        if list(self.labels) != sorted(set(self.labels)) or len(self.labels) < 2:
            got = ", ".join(self.labels) or "none"
            raise DataError(f"{self.root}: expected two labels or more in alphabetical order, got {got}")
        known = {*self.labels, NONE}
        for clip in self.clips:
            if clip.scene_label not in known:
                raise DataError(
                    f"{self.root}: expected one of {', '.join(self.labels)}, got {clip.scene_label!r} for {clip.audio}"
                )
        check_listed_once(self.root, self.clips)
        check_disjoint(self.root, self.clips)
        self._check_no_label_is_empty()

    def of(self, *splits: str) -> tuple[Clip, ...]:
        """Clips of these splits."""
        return tuple(clip for clip in self.clips if clip.split in splits)

    def targets(self, clips: Iterable[Clip]) -> list[int]:
        """Position in `labels` of each clip's scene."""
        position = {label: index for index, label in enumerate(self.labels)}
        return [position[clip.scene_label] for clip in clips]

    def as_fold(self, held_out: str) -> Corpus:
        """The corpus with the fold `held_out` as "evaluate" and all others as "train".

        Raises:
            ConfigError: There is no such fold.
        """
        folds = sorted({clip.split for clip in self.clips})
        if held_out not in folds:
            raise ConfigError(f"{self.root}: expected one of the folds {', '.join(folds)}, got {held_out!r}")
        clips = (replace(clip, split=EVALUATE if clip.split == held_out else TRAIN) for clip in self.clips)
        return replace(self, clips=tuple(clips))

    def _check_no_label_is_empty(self) -> None:
        """Every label has clips, and clips to train on where any split is for training."""
        trained = [clip for clip in self.of(TRAIN) if clip.scene_label != NONE]
        present = {clip.scene_label for clip in trained or self.clips}
        for label in self.labels:
            if label not in present:
                raise DataError(
                    f"{self.root}: expected clips{' to train on' if trained else ''} of every label, "
                    f"got none of {label!r}"
                )


def check_listed_once(where: Path, clips: Iterable[Clip]) -> None:
    """No clip is there twice.

    Raises:
        DataError: One is; the message names it, and both splits where they differ.
    """
    split_of: dict[Path, str] = {}
    for clip in clips:
        if clip.audio in split_of:
            first = split_of[clip.audio]
            got = f"twice in {clip.split or 'the list'}" if first == clip.split else f"in {first} and in {clip.split}"
            raise DataError(f"{where}: expected each clip once, got {clip.audio.name} {got}")
        split_of[clip.audio] = clip.split


def check_disjoint(where: Path, clips: Iterable[Clip]) -> None:
    """No two splits share a location.

    Raises:
        DataError: Two do; the message names the location and a clip of either side.
    """
    first_of: dict[str, Clip] = {}
    leaks: dict[str, Clip] = {}
    for clip in clips:
        first = first_of.setdefault(clip.place, clip)
        if clip.split != first.split:
            leaks.setdefault(clip.place, clip)
    if leaks:
        place, clip = next(iter(leaks.items()))
        first = first_of[place]
        more = f" (and {len(leaks) - 1} more locations)" if len(leaks) > 1 else ""
        raise DataError(
            f"{where}: expected every location in one split, got {place!r} in {first.split} ({first.audio.name}) "
            f"and in {clip.split} ({clip.audio.name}){more}"
        )


def hold_out_locations(clips: Sequence[Clip], train_share: float = 0.9, seed: int = 30) -> tuple[Clip, ...]:
    """Divide clips into "train" and "validation" by whole locations.

    Scene by scene, locations are drawn until training has `train_share` of the scene's clips, rounded down, as in the
    split of the DCASE 2021 task 1B baseline (its park has 905 of 1,006); one location at least stays for validation.
    The draw is a hash of seed and place: it does not depend on the order of the list, and depends on other scenes only
    where these share a place, which then goes to one side with all of its scenes; scenes of few places decide first. It
    is not the baseline's own, whose lists `read_tau_av_2021` takes as well.

    Args:
        clips: Clips to divide; their own `split` is ignored.
        train_share: Part of each scene's clips to train on.
        seed: Which draw.

    Raises:
        ConfigError: `train_share` is not between 0 and 1.
        DataError: A scene has a single location, or other scenes leave it none on one side.
    """
    if not 0 < train_share < 1:
        raise ConfigError(f"expected a share to train on between 0 and 1, got {train_share}")
    sizes: dict[str, Counter[str]] = {}
    for clip in clips:
        sizes.setdefault(clip.scene_label, Counter())[clip.place] += 1
    trained: dict[str, bool] = {}
    for label, places in sorted(sizes.items(), key=lambda item: (len(item[1]), item[0])):
        order = sorted(places, key=lambda place: hashlib.sha256(f"{seed} {place}".encode()).digest())
        if len(order) < 2:
            raise DataError(f"scene {label!r}: expected two locations or more to hold one out, got {order[0]!r} alone")
        free = [place for place in order if place not in trained]
        _draw(trained, free, places, max(1, int(train_share * places.total())))
        sides = {trained[place] for place in order}
        if len(sides) < 2:
            raise DataError(
                f"scene {label!r}: expected a location to train on and one to hold out, got all of them "
                f"{'to train on' if sides == {True} else 'held out'} with other scenes there; divide the clips "
                "yourself, in a column split"
            )
    return tuple(replace(clip, split=TRAIN if trained[clip.place] else VALIDATION) for clip in clips)


def _draw(trained: dict[str, bool], free: Sequence[str], sizes: Counter[str], wanted: int) -> None:
    """Say of each of a scene's free places, in order, whether it is trained on, until `wanted` clips are.

    Args:
        trained: What was said of other places, some of the same scene; it gets the new ones.
        free: Places of which nothing was said yet.
        sizes: The scene's clips a place.
        wanted: Clips to train on.
    """
    drawn = sum(size for place, size in sizes.items() if trained.get(place, False))
    is_held_out = any(not trained.get(place, True) for place in sizes)
    for number, place in enumerate(free):
        trained[place] = drawn < wanted and (is_held_out or number < len(free) - 1)
        drawn += sizes[place] if trained[place] else 0


def draw_of(place: str, seed: int = 30) -> float:
    """A number of 0…1 that follows from a place's name: the same in every list."""
    return int.from_bytes(hashlib.sha256(f"{seed} {place}".encode()).digest()[:8], "big") / 2**64


def first_few(items: Sequence[object]) -> str:
    """Some of them, and how many more there are."""
    shown = ", ".join(str(item) for item in items[:_SHOWN])
    return shown if len(items) <= _SHOWN else f"{shown} and {len(items) - _SHOWN:,} more"
