"""No split ever has a recording on both sides, and every scene is always trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.recordings import Recording
from trainer.data.splits import Split, check_no_leak, deal_folds, hold_out_sources
from trainer.errors import DataError


def recording(label: str, group: str, source: str = "") -> Recording:
    return Recording(f"{group}.wav", Path(f"{group}.wav"), label, group, source)


@given(
    counts=st.lists(st.integers(2, 9), min_size=2, max_size=6),
    files=st.integers(1, 3),
    n_folds=st.integers(2, 8),
    seed=st.integers(0, 1000),
)
def test_folds_hold_everyone_out_once_and_train_every_scene(
    counts: list[int], files: int, n_folds: int, seed: int
) -> None:
    recordings = [
        recording(f"scene-{scene}", f"{scene}-{group}")
        for scene, count in enumerate(counts)
        for group in range(count)
        for _ in range(files)
    ]
    splits = deal_folds(recordings, n_folds, seed)
    held_out = sorted(index for split in splits for index in split.test)
    assert held_out == list(range(len(recordings)))
    for split in splits:
        assert sorted((*split.train, *split.test)) == held_out
        assert {recordings[i].label for i in split.train} == {item.label for item in recordings}
        assert not {recordings[i].group for i in split.train} & {recordings[i].group for i in split.test}
    sizes = [len({recordings[i].group for i in split.test}) for split in splits]
    assert max(sizes) - min(sizes) <= 1


def test_folds_follow_from_the_seed() -> None:
    recordings = [recording(label, f"{label}-{index}") for label in "ab" for index in range(6)]
    assert deal_folds(recordings, 3, 1) == deal_folds(recordings, 3, 1)
    assert deal_folds(recordings, 3, 1) != deal_folds(recordings, 3, 2)


def test_a_scene_of_one_recording_cannot_be_held_out() -> None:
    recordings = [recording("park", "p1"), recording("park", "p2"), recording("bus", "b1")]
    with pytest.raises(
        DataError, match="scene 'bus': expected at least two recordings to hold one out, got 'b1' alone"
    ):
        deal_folds(recordings, 2, 1)


def test_sources_are_held_out_where_every_scene_remains() -> None:
    recordings = [
        recording("park", "p1", "north"),
        recording("bus", "b1", "north"),
        recording("park", "p2", "south"),
        recording("bus", "b2", "south"),
        recording("park", "p3", "west"),
    ]
    assert hold_out_sources(recordings) == [
        Split("source-north", (2, 3, 4), (0, 1)),
        Split("source-south", (0, 1, 4), (2, 3)),
        Split("source-west", (0, 1, 2, 3), (4,)),
    ]
    assert hold_out_sources(recordings[:2]) == []


def test_a_leak_is_named() -> None:
    recordings = [recording("park", "p1"), recording("park", "p2"), recording("park", "p1")]
    split = Split("fold-0", (0, 1), (2,))
    with pytest.raises(DataError, match="fold-0: expected every recording on one side, got 'p1' in training and"):
        check_no_leak(split, recordings)
