"""Heads fitted on labelled clips: known answers, whole places held out, what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from support.corpus import write_list, write_wav

from engines.manifest import AudioInput, WaveformFeature, WindowSpec
from trainer.data.labelled import read_labelled
from trainer.errors import DataError
from trainer.importers.embedded import embed_clips
from trainer.importers.fitted import fit_head, groups_of
from trainer.inputs import WAVEFORM, Inputs

RATE = 8000
INPUTS = Inputs(waveform=AudioInput(sample_rate=RATE, channels="mono", feature=WaveformFeature("waveform")))
WINDOW = WindowSpec(seconds=1.0, default_step_seconds=0.5)
LOUD, QUIET = 0.5, 0.05


def level(feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    """[n, 2]: how loud each window is, and nothing of use."""
    samples = feeds[WAVEFORM]
    assert samples.shape[1:] == (1, RATE)
    return np.stack([np.log(samples.std(axis=(1, 2))), np.ones(len(samples))], axis=1).astype(np.float32)


def tone(path: Path, loudness: float, seconds: float = 2.0) -> str:
    """A file of a steady tone."""
    times = np.arange(round(seconds * RATE)) / RATE
    write_wav(path, loudness * np.sin(2 * np.pi * 300 * times), RATE)
    return path.name


def listed(folder: Path, rows: list[tuple[str, str, float]]) -> Path:
    """Clips by scene, location and loudness, with their list."""
    files = [
        (tone(folder / f"{number}.wav", loudness * (1 + number / 50)), scene, location)
        for number, (scene, location, loudness) in enumerate(rows)
    ]
    write_list(folder / "labels.csv", files, ("file", "scene_label", "location"))
    return folder


def test_loud_and_quiet_places_are_told_apart(tmp_path: Path) -> None:
    rows = [("park", f"wood-{n}", QUIET) for n in range(3)] + [("street_traffic", f"road-{n}", LOUD) for n in range(3)]
    clips = listed(tmp_path, [*rows, ("none", "kitchen", 0.2), ("office", "desk", 0.2)])
    head = fit_head(level, INPUTS, WINDOW, clips)
    assert head.labels == ("park", "street_traffic")
    assert (head.n_clips, head.n_places, head.n_windows) == (6, 6, 12)
    assert head.accuracy == 1.0
    assert head.log_loss < 0.05
    assert head.weight.dtype == np.float32
    assert head.weight[1, 0] > 0 > head.weight[0, 0]
    np.testing.assert_array_equal(head.weight[:, 1], 0)
    middle = -(head.bias[1] - head.bias[0]) / (head.weight[1, 0] - head.weight[0, 0])
    assert np.log(QUIET / 2) < middle < np.log(LOUD)
    assert "1 clip of office, which the bundle does not know, was left out" in head.corpus
    assert "12 windows judged by heads fitted on the other folds" in head.corpus
    again = fit_head(level, INPUTS, WINDOW, clips)
    assert (again.corpus, again.temperature) == (head.corpus, head.temperature)
    np.testing.assert_array_equal(again.weight, head.weight)


def test_a_place_is_never_on_both_sides(tmp_path: Path) -> None:
    """Parks are of two loudnesses, a place each: whoever holds one place out calls it by the other scene's."""
    rows = [("park", "wood", QUIET)] * 3 + [("park", "fair", LOUD)] * 3
    rows += [("street_traffic", "lane", QUIET * 1.5)] * 3 + [("street_traffic", "road", LOUD * 1.5)] * 3
    assert fit_head(level, INPUTS, WINDOW, listed(tmp_path, rows)).accuracy <= 0.5


def test_a_folder_a_scene_has_a_place_a_file(tmp_path: Path) -> None:
    for number in range(2):
        tone(tmp_path / f"park/{number}.wav", QUIET)
        tone(tmp_path / f"metro/{number}.wav", LOUD)
    tone(tmp_path / "tram/0.wav", 0.15)
    (tmp_path / "park/broken.wav").write_bytes(b"no sound")
    head = fit_head(level, INPUTS, WINDOW, tmp_path)
    assert head.labels == ("metro", "park", "tram")
    assert (head.n_clips, head.n_places) == (5, 5)
    assert "1 without a window left out" in head.corpus
    assert "8 windows judged" in head.corpus  # the only tram is always learnt from, never judged
    assert groups_of(head.labels) == {"outdoor": ("park",), "transportation": ("metro", "tram")}


def test_a_long_clip_is_heard_here_and_there(tmp_path: Path) -> None:
    rows = [("park", "wood", QUIET), ("park", "fair", QUIET), ("metro", "a", LOUD), ("metro", "b", LOUD)]
    clips = listed(tmp_path, rows)
    tone(clips / "0.wav", QUIET, 150)
    seen: list[tuple[int, int]] = []
    head = fit_head(level, INPUTS, WINDOW, clips, on_clip=lambda *so_far: seen.append(so_far))
    assert head.n_windows == 50 + 3 * 2  # each third of 150
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_more_clips_the_fewer_windows_of_each(tmp_path: Path) -> None:
    rows = [("park", "wood", QUIET), ("metro", "a", LOUD), ("metro", "b", 0.0)]
    clips = listed(tmp_path, rows)
    tone(clips / "0.wav", QUIET, 20)
    found = read_labelled(clips, ("metro", "park"), "fit").clips
    counts = {}
    for n_windows in (1, 6, 9, 60, 61):
        kept = embed_clips(level, INPUTS, WINDOW, clips, found, n_windows=n_windows)
        counts[n_windows] = np.bincount(kept.clips).tolist()
        assert (kept.n_unreadable, kept.features.shape) == (1, (sum(counts[n_windows]), 2))  # silence gives none
    assert counts == {1: [1, 1], 6: [2, 2], 9: [3, 2], 60: [20, 2], 61: [20, 2]}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [("park", "wood", QUIET), ("park", "fair", QUIET), ("metro", "a", LOUD)],
            "expected clips of two places or more of two labels or more, so that some can be held out, "
            "got places: 1 of metro, 2 of park; add recordings of other places",
        ),
        ([("park", "wood", QUIET), ("park", "fair", QUIET)], "got places: 2 of park"),
        ([("office", "desk", QUIET), ("kitchen", "home", LOUD)], "got kitchen, office"),
        ([("park", "a", 0.0), ("park", "b", 0.0), ("metro", "c", 0.0), ("metro", "d", 0.0)], "can be read, got none"),
    ],
)
def test_too_little_is_refused(rows: list[tuple[str, str, float]], expected: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--data: ") as raised:
        fit_head(level, INPUTS, WINDOW, listed(tmp_path, rows))
    assert expected in str(raised.value)


def test_the_evaluation_split_is_left_alone(tmp_path: Path) -> None:
    rows = [("park", "wood", QUIET), ("park", "fair", QUIET), ("metro", "a", LOUD), ("metro", "b", LOUD)]
    listed(tmp_path, [*rows, ("park", "lake", LOUD), ("metro", "c", QUIET)])
    lines = (tmp_path / "labels.csv").read_text().splitlines()

    def divide(*splits: str) -> None:
        rows = [f"{line},{split}" for line, split in zip(lines, ("split", *splits), strict=True)]
        (tmp_path / "labels.csv").write_text("\n".join(rows))

    divide(*["train"] * 4, *["evaluate"] * 2)
    head = fit_head(level, INPUTS, WINDOW, tmp_path)
    assert (head.n_clips, head.accuracy) == (4, 1.0)
    divide(*["evaluate"] * 6)
    with pytest.raises(DataError, match="got those of the evaluation split alone, which are left to measure on"):
        fit_head(level, INPUTS, WINDOW, tmp_path)


def test_nothing_there_and_no_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got nothing there"):
        fit_head(level, INPUTS, WINDOW, tmp_path / "absent")
    rows = [("park", "wood", QUIET), ("park", "fair", QUIET), ("metro", "a", LOUD), ("metro", "b", LOUD)]
    with pytest.raises(DataError, match="expected finite features of every window"):
        fit_head(lambda feeds: level(feeds) * np.float32(np.nan), INPUTS, WINDOW, listed(tmp_path, rows))
