"""Clips are divided by whole locations and whole cities; the official split stands; a leak names its location."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.config import DataConfig
from trainer.data.clips import Clip, Corpus
from trainer.data.divide import divide
from trainer.errors import ConfigError, DataError

LABELS = ("bus", "park", "tram")
CITIES = ("lyon", "paris", "prague", "vienna")
PLAIN = DataConfig(prepared="tau")


def clip(label: str, city: str, location: str, number: int, split: str) -> Clip:
    return Clip(Path(f"{label}-{city}-{location}-{number}"), None, label, city, location, str(number), split)


def corpus(cities: tuple[str, ...] = CITIES, split: str = "train", n_locations: int = 4) -> Corpus:
    """Clips of every label in every city, two at a location; a location of each to report on where it is official."""
    clips = [
        clip(label, city, f"{label}{place}", number, "evaluate" if split == "train" and place == 0 else split)
        for label in LABELS
        for city in cities
        for place in range(n_locations)
        for number in range(2)
    ]
    return Corpus("toy", Path("toy"), LABELS, tuple(clips), "CC0")


def places(clips: tuple[Clip, ...], split: str) -> set[str]:
    return {clip.place for clip in clips if clip.split == split}


def test_the_official_split_stays_and_the_rest_is_divided_by_places() -> None:
    whole = corpus()
    clips = divide(whole, PLAIN)
    assert [clip.audio for clip in clips] == [clip.audio for clip in whole.clips]
    assert Counter(clip.split for clip in clips).keys() == {"train", "validation", "calibration", "evaluate"}
    assert places(clips, "evaluate") == places(whole.clips, "evaluate")
    names = ("train", "validation", "calibration", "evaluate")
    assert sum(len(places(clips, name)) for name in names) == len({clip.place for clip in clips})
    (city,) = {clip.city for clip in clips if clip.split == "calibration"}
    assert not any(clip.city == city for clip in clips if clip.split in ("train", "validation"))
    for name in names:
        assert {clip.scene_label for clip in clips if clip.split == name} == set(LABELS)
    assert divide(whole, PLAIN) == clips


def test_more_cities_or_none_are_held_out_as_asked() -> None:
    def cities(n: int, among: tuple[str, ...] = CITIES) -> int:
        clips = divide(corpus(among), replace(PLAIN, calibration_cities=n))
        return len({clip.city for clip in clips if clip.split == "calibration"})

    assert [cities(n) for n in (0, 1, 2, 9)] == [0, 1, 2, 2]
    assert cities(1, CITIES[:2]) == 0


def test_a_city_without_which_a_scene_has_too_few_places_is_kept() -> None:
    whole = corpus(CITIES[:3], n_locations=3)
    few = replace(whole, clips=tuple(c for c in whole.clips if c.scene_label != "tram" or c.city != "paris"))
    lonely = replace(few, clips=tuple(c for c in few.clips if c.scene_label != "tram" or c.city != "prague"))
    clips = divide(lonely, PLAIN)
    assert {clip.city for clip in clips if clip.split == "calibration"} <= {"paris", "prague"}
    assert {clip.scene_label for clip in clips if clip.split == "train"} == set(LABELS)


def test_lists_that_have_a_validation_split_keep_it() -> None:
    whole = corpus()
    listed = replace(
        whole,
        clips=tuple(
            replace(c, split="validation") if c.location.endswith("3") and c.split == "train" else c
            for c in whole.clips
        ),
    )
    clips = divide(listed, replace(PLAIN, calibration_cities=0))
    assert clips == listed.clips


def test_a_fold_is_reported_on_and_has_to_be_named() -> None:
    folds = corpus(split="")
    folds = replace(folds, clips=tuple(replace(c, split=f"fold{int(c.location[-1]) + 1}") for c in folds.clips))
    with pytest.raises(ConfigError, match=r"data\.fold: expected one of fold1, fold2, fold3.* --set data\.fold=fold1"):
        divide(folds, PLAIN)
    clips = divide(folds, replace(PLAIN, fold="fold2"))
    assert {c.location[-1] for c in clips if c.split == "evaluate"} == {"1"}
    assert {c.location[-1] for c in clips if c.split != "evaluate"} == {"0", "2", "3"}
    with pytest.raises(ConfigError, match=r"data\.fold: expected one of fold1, .* for toy, got 'fold9'"):
        divide(folds, replace(PLAIN, fold="fold9"))
    with pytest.raises(ConfigError, match=r"which has an official split, got 'fold2'; leave it out"):
        divide(corpus(), replace(PLAIN, fold="fold2"))


def test_what_cannot_be_divided_is_named() -> None:
    whole = corpus()
    leak = (*whole.clips, clip("bus", "lyon", "bus0", 9, "train"))
    with pytest.raises(DataError, match="expected every location in one split, got 'lyon-bus0' in evaluate"):
        divide(replace(whole, clips=leak), PLAIN)
    with pytest.raises(DataError, match="expected clips to report on, got none"):
        divide(replace(whole, clips=tuple(c for c in whole.clips if c.split == "train")), PLAIN)
    with pytest.raises(DataError, match="expected clips to train on of every label, got none of 'bus'"):
        divide(replace(whole, clips=tuple(c for c in whole.clips if c.scene_label != "bus")), PLAIN)
    single = tuple(c for c in whole.clips if c.split == "evaluate" or (c.city == "lyon" and c.location[-1] == "1"))
    with pytest.raises(DataError, match="scene 'bus': expected two locations or more to hold one out"):
        divide(replace(whole, clips=single), PLAIN)
