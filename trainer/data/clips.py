"""Labelled clips in a common form, whatever their corpus's layout; no location is ever on two sides of a split.

The layouts are read by `tau_av_2021`, `tau_audio`, `esc10` and `folder`; each returns a validated `Corpus`.
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
"""Label of clips that show none of the scenes; in a divided corpus also the split of those that training may use."""
NONE_EVALUATE = "none evaluate"
"""Split of those that training may not use."""
_SHOWN = 3
"""Number of items a message lists before it counts the rest."""


def place_name(city: str, location: str) -> str:
    """City and location as one name, unique within a corpus."""
    return f"{city}-{location}" if city else location


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled recording."""

    audio: Path
    """The file with its sound."""
    video: Path | None
    """The file with its picture, if separate; None otherwise."""
    scene_label: str
    """Its scene; "none" for none of the scenes."""
    city: str
    """City of the recording, or the source it comes from; "" if the corpus does not say."""
    location: str
    """The place in that city, or the recording it was cut from: clips that share it must stay in one split."""
    segment: str
    """Which part of that place's recordings this is."""
    split: str
    """"train", "validation" or "evaluate"; or a fold's name; "" if not divided yet."""
    device: str = ""
    """Recording device, in the corpus's notation."""

    @property
    def place(self) -> str:
        """City and location, which no two splits may share; see `place_name`."""
        return place_name(self.city, self.location)

    @property
    def name(self) -> str:
        """The clip's file name without its extension."""
        return self.audio.stem


@dataclass(frozen=True, slots=True)
class Corpus:
    """Clips that can be trained on and evaluated; validated on construction.

    Raises:
        DataError: A label is unknown, empty or duplicated, a clip is listed twice, or splits share a location.
    """

    name: str
    """Name of the corpus, for model cards."""
    root: Path
    """Where its files are; error messages begin with it."""
    labels: tuple[str, ...]
    """Scenes in alphabetical order, which is the order of every output."""
    clips: tuple[Clip, ...]
    """Clips in the order of their lists."""
    licence: str
    """Licence terms, in one sentence."""
    remarks: tuple[str, ...] = ()
    """Messages for the user: what was left out, and why."""

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
        """Clips of the given splits."""
        return tuple(clip for clip in self.clips if clip.split in splits)

    def targets(self, clips: Iterable[Clip]) -> list[int]:
        """Index in `labels` of each clip's scene."""
        position = {label: index for index, label in enumerate(self.labels)}
        return [position[clip.scene_label] for clip in clips]

    def as_fold(self, held_out: str) -> Corpus:
        """The corpus with the fold `held_out` as "evaluate" and all other folds as "train".

        Raises:
            ConfigError: There is no such fold.
        """
        folds = sorted({clip.split for clip in self.clips})
        if held_out not in folds:
            raise ConfigError(f"{self.root}: expected one of the folds {', '.join(folds)}, got {held_out!r}")
        clips = (replace(clip, split=EVALUATE if clip.split == held_out else TRAIN) for clip in self.clips)
        return replace(self, clips=tuple(clips))

    def _check_no_label_is_empty(self) -> None:
        """Check that every label has clips, and training clips if any clip is for training."""
        trained = [clip for clip in self.of(TRAIN) if clip.scene_label != NONE]
        present = {clip.scene_label for clip in trained or self.clips}
        for label in self.labels:
            if label not in present:
                raise DataError(
                    f"{self.root}: expected clips{' to train on' if trained else ''} of every label, "
                    f"got none of {label!r}"
                )


def check_listed_once(where: Path, clips: Iterable[Clip]) -> None:
    """Check that no clip is listed twice.

    Raises:
        DataError: A clip is listed twice; the message names it, and both splits if they differ.
    """
    split_of: dict[Path, str] = {}
    for clip in clips:
        if clip.audio in split_of:
            first = split_of[clip.audio]
            got = f"twice in {clip.split or 'the list'}" if first == clip.split else f"in {first} and in {clip.split}"
            raise DataError(f"{where}: expected each clip once, got {clip.audio.name} {got}")
        split_of[clip.audio] = clip.split


def check_disjoint(where: Path, clips: Iterable[Clip]) -> None:
    """Check that no two splits share a location.

    Raises:
        DataError: Two splits do; the message names the location and a clip from each side.
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

    For each scene, locations are drawn until training has `train_share` of the scene's clips, rounded down, as in the
    split of the DCASE 2021 task 1B baseline (whose park has 905 of 1,006); at least one location is left for
    validation. The order of the draw is a hash of seed and place, so it does not depend on the order of the list. It
    depends on other scenes only where they share a place, which then goes to one side with all its scenes; scenes with
    few places are decided first. The result is not the baseline's own split, whose lists `read_tau_av_2021` accepts
    too.

    Args:
        clips: Clips to divide; their own `split` is ignored.
        train_share: Fraction of each scene's clips to train on.
        seed: Seed of the draw.

    Raises:
        ConfigError: `train_share` is not between 0 and 1.
        DataError: A scene has a single location, or shared places leave it with no location on one side.
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
    """Assign a scene's unassigned places, in order, to training until it has `wanted` clips; the rest are held out.

    Args:
        trained: Whether each place is trained on, as decided so far, also for other scenes; updated in place.
        free: Places of the scene that are not yet decided.
        sizes: Number of the scene's clips at each place.
        wanted: Number of clips to train on.
    """
    drawn = sum(size for place, size in sizes.items() if trained.get(place, False))
    is_held_out = any(not trained.get(place, True) for place in sizes)
    for number, place in enumerate(free):
        trained[place] = drawn < wanted and (is_held_out or number < len(free) - 1)
        drawn += sizes[place] if trained[place] else 0


def draw_of(place: str, seed: int = 30) -> float:
    """A number in 0…1 derived from a place's name alone, so it is the same in every list."""
    return int.from_bytes(hashlib.sha256(f"{seed} {place}".encode()).digest()[:8], "big") / 2**64


def first_few(items: Sequence[object]) -> str:
    """The first few items as text, and how many more there are."""
    shown = ", ".join(str(item) for item in items[:_SHOWN])
    return shown if len(items) <= _SHOWN else f"{shown} and {len(items) - _SHOWN:,} more"
