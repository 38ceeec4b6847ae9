"""Clips and corpora: what makes a corpus invalid, and how it is divided by location."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.clips import TRAIN, VALIDATION, Clip, Corpus, check_disjoint, first_few, hold_out_locations
from trainer.errors import ConfigError, DataError


def clip(scene: str, location: str, segment: int = 0, split: str = "", city: str = "lyon") -> Clip:
    return Clip(Path(f"{scene}-{city}-{location}-{segment}.wav"), None, scene, city, location, str(segment), split)


def corpus(*clips: Clip, labels: tuple[str, ...] = ("bus", "tram")) -> Corpus:
    return Corpus("Toy scenes", Path("toy"), labels, clips, "CC0")


def test_a_leak_names_the_location_and_a_clip_of_either_side() -> None:
    with pytest.raises(DataError) as caught:
        corpus(clip("bus", "6", 1, "train"), clip("tram", "7", 2, "train"), clip("bus", "6", 3, "evaluate"))
    assert str(caught.value) == (
        "toy: expected every location in one split, got 'lyon-6' in train (bus-lyon-6-1.wav) "
        "and in evaluate (bus-lyon-6-3.wav)"
    )


def test_leaks_are_counted_and_one_is_named() -> None:
    sides = [clip("bus", str(place), segment, split) for place in range(5) for segment, split in enumerate(("a", "b"))]
    with pytest.raises(DataError, match=r"'lyon-0' in a .* and in b .* \(and 4 more locations\)"):
        corpus(clip("tram", "9", 0, "a"), *sides)


def test_the_same_number_in_another_city_is_another_location() -> None:
    made = corpus(
        clip("bus", "6", 1, "train"), clip("bus", "6", 1, "evaluate", city="milan"), clip("tram", "1", 1, "train")
    )
    assert [item.place for item in made.clips] == ["lyon-6", "milan-6", "lyon-1"]


@pytest.mark.parametrize(
    ("second", "got"), [("train", "bus-lyon-6-1.wav twice in train"), ("evaluate", "in train and in evaluate")]
)
def test_a_clip_listed_twice_is_named(second: str, got: str) -> None:
    with pytest.raises(DataError, match=f"expected each clip once, got .*{got}"):
        corpus(clip("bus", "6", 1, "train"), clip("bus", "6", 1, second))


def test_an_unknown_label_is_named_with_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"expected one of bus, tram, got 'park' for park-lyon-1-0\.wav"):
        corpus(clip("bus", "6"), clip("tram", "7"), clip("park", "1"))


def test_a_label_without_clips_is_named() -> None:
    with pytest.raises(DataError, match="toy: expected clips of every label, got none of 'tram'"):
        corpus(clip("bus", "6"))


def test_a_label_that_is_only_evaluated_is_named() -> None:
    with pytest.raises(DataError, match="expected clips to train on of every label, got none of 'tram'"):
        corpus(clip("bus", "6", 0, "train"), clip("tram", "7", 0, "evaluate"))


@pytest.mark.parametrize("labels", [("tram", "bus"), ("bus", "bus"), ("bus",), ()])
def test_labels_are_alphabetical_and_two_at_least(labels: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="expected two labels or more in alphabetical order"):
        corpus(clip("bus", "6"), labels=labels)


def test_targets_are_positions_in_the_labels() -> None:
    made = corpus(clip("tram", "7"), clip("bus", "6"), clip("tram", "8"))
    assert made.targets(made.clips) == [1, 0, 1]


def test_a_fold_is_held_out() -> None:
    made = corpus(*(clip(scene, f"{scene}{fold}", 0, fold) for scene in ("bus", "tram") for fold in "123"))
    held = made.as_fold("2")
    assert [item.split for item in held.clips] == ["train", "evaluate", "train"] * 2
    assert [item.location for item in held.of("evaluate")] == ["bus2", "tram2"]
    with pytest.raises(ConfigError, match="toy: expected one of the folds 1, 2, 3, got '4'"):
        made.as_fold("4")


def test_a_scene_of_one_location_cannot_be_divided() -> None:
    clips = [clip("bus", "1"), clip("bus", "2"), clip("tram", "5", 0), clip("tram", "5", 1)]
    with pytest.raises(DataError, match="scene 'tram': expected two locations or more to hold one out, got 'lyon-5'"):
        hold_out_locations(clips)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_a_share_that_leaves_one_side_empty_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        hold_out_locations([clip("bus", "1"), clip("bus", "2")], share)


sizes_of_scenes = st.dictionaries(
    st.sampled_from(["bus", "park", "tram"]), st.lists(st.integers(1, 20), min_size=2, max_size=12), min_size=1
)


@given(sizes_of_scenes, st.floats(0.05, 0.95), st.integers(0, 1000), st.randoms())
def test_every_scene_is_divided_by_whole_locations(sizes, share, seed, shuffler) -> None:
    clips = [
        clip(scene, f"{scene}{place}", segment)
        for scene, places in sizes.items()
        for place, n in enumerate(places)
        for segment in range(n)
    ]
    divided = hold_out_locations(clips, share, seed)
    assert [item.audio for item in divided] == [item.audio for item in clips]
    for scene, places in sizes.items():
        trained = Counter(item.location for item in divided if (item.scene_label, item.split) == (scene, TRAIN))
        held = Counter(item.location for item in divided if (item.scene_label, item.split) == (scene, VALIDATION))
        assert not trained.keys() & held.keys()
        assert held
        # whole locations up to the share: without the last one drawn it would be missed
        if len(held) > 1:
            assert trained.total() >= int(share * sum(places))
        if trained:
            assert trained.total() - max(places) < max(1, int(share * sum(places)))
    shuffled = list(clips)
    shuffler.shuffle(shuffled)
    again = {item.audio: item.split for item in hold_out_locations(shuffled, share, seed)}
    assert again == {item.audio: item.split for item in divided}


@given(
    st.lists(st.sets(st.sampled_from(["bus", "park", "tram"]), min_size=1), min_size=6, max_size=12), st.integers(0, 99)
)
def test_a_place_of_several_scenes_goes_to_one_side(scenes_of, seed) -> None:
    clips = [
        clip(scene, str(place), segment)
        for place, scenes in enumerate(scenes_of)
        for scene in sorted(scenes)
        for segment in range(1 + place % 3)
    ]
    clips += [clip(scene, f"own-{scene}-{number}") for scene in ("bus", "park", "tram") for number in range(2)]
    divided = hold_out_locations(clips, 0.8, seed)
    check_disjoint(Path("toy"), divided)
    for scene in ("bus", "park", "tram"):
        assert {item.split for item in divided if item.scene_label == scene} == {TRAIN, VALIDATION}


def test_a_scene_that_others_leave_on_one_side_is_named() -> None:
    clips = [clip("bus", "1"), clip("bus", "2"), clip("park", "3"), clip("park", "4")]
    side = {item.location: item.split for item in hold_out_locations(clips)}
    held = [place for place in sorted(side) if side[place] == VALIDATION]
    shared = [clip("tram", place) for place in held]
    with pytest.raises(DataError, match=r"scene 'tram': .* got all of them held out with other scenes there"):
        hold_out_locations([*clips, *shared])


def test_another_seed_draws_other_locations() -> None:
    clips = [clip("bus", str(place)) for place in range(40)]
    held = [
        {item.location for item in hold_out_locations(clips, 0.9, seed) if item.split == VALIDATION}
        for seed in (30, 31)
    ]
    assert [len(places) for places in held] == [4, 4]
    assert held[0] != held[1]


def test_a_message_names_three_and_counts_the_rest() -> None:
    assert first_few(["a", "b", "c"]) == "a, b, c"
    assert first_few([str(number) for number in range(1205)]) == "0, 1, 2 and 1,202 more"
