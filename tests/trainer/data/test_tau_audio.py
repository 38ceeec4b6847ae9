"""The audio corpora of 2018 … 2022: their lists, their names, their devices."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tau import small_fold, write_table

from trainer.data.clips import EVALUATE, TRAIN, VALIDATION
from trainer.data.tau_audio import read_tau_audio
from trainer.data.tau_av_2021 import LABELS
from trainer.errors import DataError

HEADER = ("filename", "scene_label")
YEARS = {"2018": ("", ".txt", "-a"), "2019": (HEADER, ".csv", "-a"), "2022": (HEADER, ".csv", "-3-s2")}


def write_audio_layout(root: Path, year: str, end: str = "\n") -> Path:
    """Lists as that year has them, with empty files."""
    header, suffix, tail = YEARS[year]
    for name, first in (("train", 1), ("evaluate", 500)):
        stems = [f"{stem}{tail}" for stem in small_fold(LABELS, "paris", first, 2)]
        rows = [(f"audio/{stem}.wav", stem.split("-")[0]) for stem in stems]
        write_table(root / f"evaluation_setup/fold1_{name}{suffix}", tuple(header), rows, end)
        (root / "audio").mkdir(exist_ok=True)
        for stem in stems:
            (root / f"audio/{stem}.wav").touch()
    return root


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_each_years_lists_are_read(tmp_path: Path, year: str, end: str) -> None:
    corpus = read_tau_audio(write_audio_layout(tmp_path / "TAU-urban-acoustic-scenes", year, end).parent)
    assert corpus.labels == LABELS
    assert {split: len(corpus.of(split)) for split in (TRAIN, VALIDATION, EVALUATE)} == {
        TRAIN: 20,
        VALIDATION: 20,
        EVALUATE: 40,
    }
    first = corpus.clips[0]
    assert (first.scene_label, first.place, first.video) == ("airport", "paris-1", None)
    assert (first.segment, first.device) == (("100-3", "s2") if year == "2022" else ("100", "a"))


def test_devices_are_chosen(tmp_path: Path) -> None:
    root = write_audio_layout(tmp_path, "2022")
    assert len(read_tau_audio(root, devices=frozenset({"a", "s2"})).clips) == 80
    with pytest.raises(DataError, match=r"fold1_train\.csv: expected clips of the devices a, b, got none"):
        read_tau_audio(root, devices=frozenset({"a", "b"}))


def test_a_corpus_without_lists_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected evaluation_setup/ in it, or in one folder below it, got none"):
        read_tau_audio(tmp_path)
    write_audio_layout(tmp_path / "one", "2018")
    write_audio_layout(tmp_path / "two", "2019")
    with pytest.raises(DataError, match="got one, two"):
        read_tau_audio(tmp_path)
    (tmp_path / "one/evaluation_setup/fold1_evaluate.txt").unlink()
    with pytest.raises(DataError, match=r"expected evaluation_setup/fold1_evaluate\.csv or \.txt, got neither"):
        read_tau_audio(tmp_path / "one")


def test_missing_recordings_are_counted_or_left_out(tmp_path: Path) -> None:
    root = write_audio_layout(tmp_path, "2019")
    for path in (root / "audio").glob("bus-*"):
        path.unlink()
    with pytest.raises(DataError, match=r"expected 80 media files, got 72; missing are audio/bus-.* and 5 more"):
        read_tau_audio(root)
    corpus = read_tau_audio(root, allow_partial=True)
    assert corpus.labels == tuple(label for label in LABELS if label != "bus")
    assert corpus.remarks == ("8 of 80 clips are left out: 8 files are not there",)
