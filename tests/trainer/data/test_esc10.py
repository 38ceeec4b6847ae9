"""ESC-10: the real folders, and folders that are not quite ESC-10."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from support.recordings import data_folder

from trainer.data.esc10 import read_esc10
from trainer.errors import DataError


@pytest.fixture
def small(tmp_path: Path) -> Path:
    for number, sound in enumerate(("Dog bark", "Rain"), start=1):
        for fold in range(1, 6):
            for take in range(8):
                path = tmp_path / f"{number:03} - {sound}/{fold}-{number}{fold}{take}-A.ogg"
                path.parent.mkdir(exist_ok=True)
                path.touch()
    return tmp_path


@pytest.mark.data
def test_the_real_corpus_is_read() -> None:
    corpus = read_esc10(data_folder() / "esc10")
    assert len(corpus.clips) == 400
    assert corpus.labels[:2] == ("baby_cry", "chainsaw")
    assert corpus.labels[-1] == "sea_waves"
    assert set(Counter((clip.scene_label, clip.split) for clip in corpus.clips).values()) == {8}
    assert len({clip.place for clip in corpus.clips}) == 304
    held = corpus.as_fold("3")
    assert [len(held.of(split)) for split in ("train", "evaluate")] == [320, 80]
    assert {clip.name[0] for clip in held.of("evaluate")} == {"3"}


def test_two_sounds_are_a_corpus_only_when_asked(small: Path) -> None:
    with pytest.raises(DataError, match="expected ten sounds, got 2; go on with them: --allow-partial"):
        read_esc10(small)
    corpus = read_esc10(small, allow_partial=True)
    assert corpus.labels == ("dog_bark", "rain")
    assert (corpus.clips[0].location, corpus.clips[0].segment, corpus.clips[0].split) == ("110", "A", "1")


def test_a_source_in_two_folds_is_a_leak(small: Path) -> None:
    (small / "002 - Rain/1-210-A.ogg").rename(small / "002 - Rain/2-211-A.ogg")
    with pytest.raises(DataError, match=r"got '211' in 1 \(1-211-A\.ogg\) and in 2 \(2-211-A\.ogg\)"):
        read_esc10(small, allow_partial=True)


def test_a_file_with_another_name_is_named(small: Path) -> None:
    (small / "002 - Rain/rain.ogg").touch()
    with pytest.raises(DataError, match=r"rain\.ogg: expected a name as in 1-100032-A\.ogg"):
        read_esc10(small, allow_partial=True)


def test_another_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected folders as in '001 - Dog bark', got none"):
        read_esc10(tmp_path / "nothing")
