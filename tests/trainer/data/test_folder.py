"""A CSV or a folder of classes as clips."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from support.corpus import write_corpus

from trainer.config import DataConfig
from trainer.data.clips import hold_out_locations
from trainer.data.divide import divide
from trainer.data.folder import hold_out_evaluation, read_folder
from trainer.errors import DataError


def test_a_list_becomes_clips(tmp_path: Path) -> None:
    corpus = read_folder(write_corpus(tmp_path, n_recordings=3, seconds=0.1))
    assert corpus.labels == ("hiss", "hum", "whistle")
    assert len(corpus.clips) == 10
    assert [clip.name for clip in corpus.clips if clip.scene_label == "none"] == ["white"]
    assert corpus.licence == "CC0"
    assert {clip.city for clip in corpus.clips} == {"north", "south"}
    divided = hold_out_locations([clip for clip in corpus.clips if clip.scene_label != "none"], 0.5)
    assert [clip.split for clip in divided].count("validation") == 6


def test_a_folder_of_classes_becomes_clips(tmp_path: Path) -> None:
    for name in ("bus/a.wav", "bus/b.wav", "tram/a.wav", "tram/b.wav", "park/a.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    corpus = read_folder(tmp_path)
    assert corpus.labels == ("bus", "tram")
    assert [clip.name for clip in corpus.clips] == ["a", "b", "a", "b"]
    assert corpus.remarks == ("too few recordings, left out: park",)
    assert len({clip.place for clip in corpus.clips}) == 4


def test_clips_of_none_of_the_scenes_are_kept_apart(tmp_path: Path) -> None:
    rows = ["file,scene_label,recording"]
    for label in ("bus", "none", "tram"):
        (tmp_path / label).mkdir()
        for number in range(20):
            (tmp_path / label / f"{number}.jpg").touch()
            rows.append(f"{label}/{number}.jpg,{label},{label} {number // 2}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    corpus = hold_out_evaluation(read_folder(tmp_path / "labels.csv"))
    assert corpus.labels == ("bus", "tram")
    clips = divide(corpus, DataConfig(prepared="toy"))
    counts = Counter((clip.scene_label, clip.split) for clip in clips)
    assert [clip.audio for clip in clips] == [clip.audio for clip in corpus.clips]
    assert {split for label, split in counts if label == "none"} == {"none", "none evaluate"}
    assert {split for label, split in counts if label == "bus"} == {"train", "validation", "evaluate"}
    assert sum(count for (label, _), count in counts.items() if label == "none") == 20
    seen = {clip.place for clip in clips if clip.split == "none"}
    assert not seen & {clip.place for clip in clips if clip.split == "none evaluate"}


def test_a_divided_list_divides_the_clips_of_none_of_the_scenes_too(tmp_path: Path) -> None:
    rows = [("a", "bus", "train"), ("b", "bus", "evaluate"), ("c", "tram", "train"), ("d", "tram", "evaluate")]
    rows += [("e", "none", "train"), ("f", "none", "evaluate")]
    for name, _, _ in rows:
        (tmp_path / f"{name}.png").touch()
    lines = ["file,scene_label,split", *(f"{name}.png,{label},{split}" for name, label, split in rows)]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    corpus = read_folder(tmp_path / "labels.csv")
    assert [(clip.scene_label, clip.split) for clip in corpus.clips][4:] == [("none", "train"), ("none", "evaluate")]
    (tmp_path / "labels.csv").write_text("\n".join([*lines[:-1], "f.png,none,"]))
    with pytest.raises(DataError, match=r"expected a split for every file or for none, got none for 'f\.png'"):
        read_folder(tmp_path / "labels.csv")
