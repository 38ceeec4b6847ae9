"""A CSV or a folder of classes as clips."""

from __future__ import annotations

from pathlib import Path

from support.corpus import write_corpus

from trainer.data.clips import hold_out_locations
from trainer.data.folder import read_folder


def test_a_list_becomes_clips(tmp_path: Path) -> None:
    corpus = read_folder(write_corpus(tmp_path, n_recordings=3, seconds=0.1))
    assert corpus.labels == ("hiss", "hum", "whistle")
    assert len(corpus.clips) == 9
    assert corpus.licence == "CC0"
    assert {clip.city for clip in corpus.clips} == {"north", "south"}
    divided = hold_out_locations(corpus.clips, 0.5)
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
