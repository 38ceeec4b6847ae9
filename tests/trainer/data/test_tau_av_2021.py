"""TAU Urban Audio-Visual Scenes 2021: layouts, lists, counts, missing files, and what is wrong with a broken copy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from support.recordings import data_folder
from support.tau import AUDIO, LABEL, VIDEO, official_stems, small_fold, write_av_layout, write_table

from trainer.data.clips import EVALUATE, TRAIN, VALIDATION
from trainer.data.tau_av_2021 import (
    CITIES,
    EVALUATE_COUNTS,
    FOLDER,
    LABELS,
    LICENCE,
    SYNTHETIC,
    TRAIN_COUNTS,
    read_tau_av_2021,
)
from trainer.errors import DataError

FIRST = "airport-lisbon-1-100"
TRAINING = small_fold(LABELS, "lisbon", 1, 3)
EVALUATION = small_fold(LABELS, "lisbon", 500, 1)


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return write_av_layout(tmp_path / "corpus", TRAINING, EVALUATION)


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official lists with an empty file for each of the 24,582 recordings."""
    train, evaluate = official_stems(data_folder())
    root = write_av_layout(tmp_path_factory.mktemp("official") / FOLDER, train, evaluate)
    (root / SYNTHETIC).unlink()
    return root


def test_the_published_tables_add_up() -> None:
    assert tuple(TRAIN_COUNTS) == tuple(EVALUATE_COUNTS) == LABELS == tuple(sorted(LABELS))
    assert sum(map(sum, TRAIN_COUNTS.values())) == 8646
    assert sum(map(sum, EVALUATE_COUNTS.values())) == 3645
    by_city = [dict(zip(CITIES, map(sum, zip(*table.values(), strict=True)), strict=True)) for table in
               (TRAIN_COUNTS, EVALUATE_COUNTS)]  # fmt: skip
    assert by_city[0]["london"] == 541
    assert by_city[1]["vienna"] == 315
    assert [sum(TRAIN_COUNTS[scene]) for scene in ("airport", "tram")] == [697, 763]
    assert EVALUATE_COUNTS["tram"][0] == 3


@pytest.mark.data
def test_the_official_lists_are_read_whole(official: Path) -> None:
    corpus = read_tau_av_2021(official.parent)
    assert corpus.labels == LABELS
    assert corpus.licence == LICENCE
    assert corpus.remarks == ()
    splits = Counter(clip.split for clip in corpus.clips)
    assert splits[TRAIN] + splits[VALIDATION] == 8646
    assert splits[EVALUATE] == 3645
    places = {split: {clip.place for clip in corpus.of(split)} for split in splits}
    assert len(places[TRAIN] | places[VALIDATION]) == 305
    assert len(places[EVALUATE]) == 126
    first = corpus.clips[0]
    assert (first.scene_label, first.city, first.location, first.segment) == ("airport", "london", "6", "257")
    assert first.place == "london-6"
    assert first.audio == official / "audio/airport-london-6-257.wav"
    assert first.video == official / "video/airport-london-6-257.mp4"


@pytest.mark.slow
@pytest.mark.data
def test_the_inner_split_is_location_disjoint_and_a_tenth_of_each_scene(official: Path) -> None:
    corpus = read_tau_av_2021(official)
    trained = Counter(clip.scene_label for clip in corpus.of(TRAIN))
    held = Counter(clip.scene_label for clip in corpus.of(VALIDATION))
    for scene in LABELS:
        assert trained[scene] >= int(0.9 * (trained[scene] + held[scene])), scene
        assert held[scene] >= 20, scene
    assert read_tau_av_2021(official) == corpus
    assert read_tau_av_2021(official, seed=31) != corpus


@pytest.mark.data
def test_the_baselines_own_lists_divide_the_fold(official: Path) -> None:
    lists = data_folder() / "tau_av_2021"
    corpus = read_tau_av_2021(official, inner_lists=(lists / "baseline_train.csv", lists / "baseline_val.csv"))
    assert [len(corpus.of(split)) for split in (TRAIN, VALIDATION, EVALUATE)] == [7907, 739, 3645]


@pytest.mark.data
def test_lists_that_lost_a_line_are_told_by_their_counts(official: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    for name in ("train", "evaluate"):
        lines = (official / f"evaluation_setup/fold1_{name}.csv").read_text().splitlines()
        path = root / f"evaluation_setup/fold1_{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\r".join(lines[: -2 if name == "train" else None]))
    with pytest.raises(DataError, match=r"expected 8,646 clips .*, got 8,644: tram in vienna 106 instead of 108"):
        read_tau_av_2021(root)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_ending_is_read(tmp_path: Path, end: str) -> None:
    corpus = read_tau_av_2021(write_av_layout(tmp_path, TRAINING, EVALUATION, end))
    assert [clip.name for clip in corpus.clips] == TRAINING + EVALUATION
    assert corpus.licence == "CC0-1.0"


@pytest.mark.parametrize(
    ("media", "lists", "given"),
    [
        (FOLDER, FOLDER, "."),
        (FOLDER, FOLDER, FOLDER),
        (FOLDER, f"{FOLDER}/{FOLDER}.meta", "."),
        (FOLDER, f"{FOLDER}/{FOLDER}.meta", FOLDER),
        (".", f"{FOLDER}.meta", "."),
        (FOLDER, f"{FOLDER}.meta/{FOLDER}", "."),
    ],
)
def test_every_layout_of_folders_is_found(tmp_path: Path, media: str, lists: str, given: str) -> None:
    write_av_layout(tmp_path / media, TRAINING, EVALUATION, lists=tmp_path / lists)
    corpus = read_tau_av_2021(tmp_path / given)
    assert len(corpus.clips) == len(TRAINING) + len(EVALUATION)
    assert all(clip.audio.is_file() and clip.video is not None and clip.video.is_file() for clip in corpus.clips)


def test_a_folder_without_lists_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected evaluation_setup/fold1_train\.csv .* trainer fetch tau-av-2021 DIR"):
        read_tau_av_2021(tmp_path)


def test_the_test_list_stands_in_for_the_evaluation_list(layout: Path) -> None:
    evaluate = layout / "evaluation_setup/fold1_evaluate.csv"
    rows = [(f"audio/{stem}.wav", f"video/{stem}.mp4") for stem in EVALUATION]
    write_table(evaluate.with_name("fold1_test.csv"), (AUDIO, VIDEO), rows)
    whole = read_tau_av_2021(layout)
    evaluate.unlink()
    assert read_tau_av_2021(layout) == whole


def test_a_test_list_of_other_clips_is_named(layout: Path) -> None:
    rows = [(f"audio/{stem}.wav", f"video/{stem}.mp4") for stem in EVALUATION[1:]]
    write_table(layout / "evaluation_setup/fold1_test.csv", (AUDIO, VIDEO), rows)
    with pytest.raises(
        DataError, match=rf"fold1_test\.csv: expected the clips of fold1_evaluate\.csv.*{EVALUATION[0]}"
    ):
        read_tau_av_2021(layout)


def test_missing_files_are_reported_at_once(layout: Path) -> None:
    for stem in TRAINING[:4]:
        (layout / f"audio/{stem}.wav").unlink()
    for stem in EVALUATION[:2]:
        (layout / f"video/{stem}.mp4").unlink()
    with pytest.raises(DataError) as caught:
        read_tau_av_2021(layout)
    message = str(caught.value)
    assert "expected 160 media files, got 154; missing are " in message
    assert message.count(".wav") == 3
    assert "and 3 more" in message
    assert "--allow-partial" in message


def test_a_corpus_without_any_media_is_one_message(tmp_path: Path) -> None:
    write_av_layout(tmp_path / "all", TRAINING, EVALUATION)
    (tmp_path / "all/evaluation_setup").rename(tmp_path / "evaluation_setup")
    (tmp_path / "all" / SYNTHETIC).rename(tmp_path / SYNTHETIC)
    for allow_partial in (False, True):
        with pytest.raises(DataError, match=r"expected 160 media files, got 0; missing are audio/.* and 157 more"):
            read_tau_av_2021(tmp_path, allow_partial=allow_partial)


def test_a_partial_copy_is_read_when_asked(layout: Path) -> None:
    (layout / f"audio/{TRAINING[0]}.wav").unlink()
    (layout / f"video/{TRAINING[1]}.mp4").unlink()
    corpus = read_tau_av_2021(layout, allow_partial=True)
    assert [clip.name for clip in corpus.clips] == TRAINING[2:] + EVALUATION
    assert corpus.remarks == ("2 of 80 clips are left out: 2 files are not there",)


def test_a_partial_copy_loses_labels_it_has_no_clips_of(layout: Path) -> None:
    for path in (layout / "audio").glob("tram-lisbon-[0-9]-*.wav"):
        path.unlink()
    for path in (layout / "audio").glob("tram-lisbon-[0-9][0-9]-*.wav"):
        path.unlink()
    corpus = read_tau_av_2021(layout, allow_partial=True)
    assert corpus.labels == LABELS[:-1]
    assert corpus.remarks[1] == "no clips to train on, left out: tram"
    assert {clip.scene_label for clip in corpus.clips} == set(LABELS[:-1])


def test_without_pictures_only_sound_has_to_be_there(layout: Path) -> None:
    for path in (layout / "video").iterdir():
        path.unlink()
    corpus = read_tau_av_2021(layout, video=False)
    assert len(corpus.clips) == 80
    assert {clip.video for clip in corpus.clips} == {None}


def edited(layout: Path, old: str, new: str, name: str = "train") -> Path:
    """The layout with a text in one of its lists replaced once."""
    path = layout / f"evaluation_setup/fold1_{name}.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return layout


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("scene_label", "label", r"fold1_train\.csv: expected a column 'scene_label', got filename_audio, filename_v"),
        ("\tairport\n", "\tharbour\n", r"line 2: expected one of airport, .*, tram, got the label 'harbour'"),
        ("\tairport\n", "\ttram\n", r"line 2: expected the label in the file's name, 'airport', got 'tram' beside it"),
        ("\tairport\n", "\t\n", r"line 2: expected a value for 'scene_label', got none"),
        ("\tairport\n", "\n", r"line 2: expected a value for 'scene_label', got none"),
        (f"{FIRST}.wav", "first.wav", r"line 2: expected a name as in airport-london-6-257\.wav .*'audio/first\.wav'"),
        (f"{FIRST}.mp4", "airport-lisbon-1-101.mp4", r"line 2: expected sound and picture of one clip, got 'audio/"),
        ("lisbon-1-101", "lisbon-1-100", r"sound and picture of one clip"),
    ],
)
def test_a_broken_list_names_line_and_value(layout: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_tau_av_2021(edited(layout, old, new))


def test_a_clip_listed_twice_in_a_fold_is_named(layout: Path) -> None:
    line = f"audio/{FIRST}.wav\tvideo/{FIRST}.mp4\tairport\n"
    with pytest.raises(DataError, match=rf"expected each clip once, got {FIRST}\.wav twice in train"):
        read_tau_av_2021(edited(layout, line, 2 * line))


def test_a_clip_in_both_folds_is_named(layout: Path) -> None:
    line = f"audio/{FIRST}.wav\tvideo/{FIRST}.mp4\tairport\n"
    header = f"{AUDIO}\t{VIDEO}\t{LABEL}\n"
    with pytest.raises(DataError, match=rf"expected each clip once, got {FIRST}\.wav in train and in evaluate"):
        read_tau_av_2021(edited(layout, header, header + line, "evaluate"))


def test_a_location_in_both_folds_is_named(tmp_path: Path) -> None:
    root = write_av_layout(tmp_path, TRAINING, [*EVALUATION, "bus-lisbon-4-9999"])
    with pytest.raises(
        DataError, match=r"got 'lisbon-4' in train \(bus-lisbon-4-400\.wav\) and in evaluate \(bus-lisbon-4-9999\.wav\)"
    ):
        read_tau_av_2021(root)


def test_a_scene_without_clips_is_named(tmp_path: Path) -> None:
    stems = [stem for stem in TRAINING if not stem.startswith("park")]
    with pytest.raises(DataError, match="expected clips to train on of every label, got none of 'park'"):
        read_tau_av_2021(write_av_layout(tmp_path, stems, EVALUATION))


@pytest.mark.parametrize(("content", "message"), [(b"", "got an empty file"), (b"\xff\xfe\x00w", "got something else")])
def test_a_list_that_is_none_is_refused(layout: Path, content: bytes, message: str) -> None:
    (layout / "evaluation_setup/fold1_train.csv").write_bytes(content)
    with pytest.raises(DataError, match=f"expected a list of clips.*{message}"):
        read_tau_av_2021(layout)


def test_inner_lists_have_to_name_the_fold(layout: Path, tmp_path: Path) -> None:
    lists = tmp_path / "train.csv", tmp_path / "val.csv"
    header = "filename_audio,filename_video,scene_label,location_id\n"
    for path, stems in zip(lists, (TRAINING[:-2], TRAINING[-2:-1]), strict=True):
        path.write_text(header + "".join(f"audio/{stem}.wav,,,\n" for stem in stems))
    with pytest.raises(DataError, match=rf"expected the clips of fold1_train\.csv, got a difference: {TRAINING[-1]}"):
        read_tau_av_2021(layout, inner_lists=lists)
    lists[1].write_text(header + "".join(f"audio/{stem}.wav,,,\n" for stem in TRAINING[-2:]))
    corpus = read_tau_av_2021(layout, inner_lists=lists)
    assert [clip.name for clip in corpus.of(VALIDATION)] == TRAINING[-2:]
    lists[1].write_text(header + "".join(f"audio/{stem}.wav,,,\n" for stem in TRAINING[-3:]))
    with pytest.raises(DataError, match=rf"val\.csv, line 2: expected each clip once, got {TRAINING[-3]} again"):
        read_tau_av_2021(layout, inner_lists=lists)
    lists[0].write_text(header + "".join(f"audio/{stem}.wav,,,\n" for stem in TRAINING[:-1]))
    lists[1].write_text(header + f"audio/{TRAINING[-1]}.wav,,,\n")
    with pytest.raises(DataError, match=r"expected every location in one split, got 'lisbon-30' in train"):
        read_tau_av_2021(layout, inner_lists=lists)
