"""What a user points to, whatever its layout: which files, of which scenes, and which part of a divided list."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.data.labelled import Use, lone_clip, read_labelled, read_media
from trainer.errors import DataError

LABELS = ["bus", "park"]


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"?")


def labels_of(data: Path, use: Use = "judge") -> dict[str, str]:
    found = read_media(data, LABELS, use)
    return {clip.audio.relative_to(found.where).as_posix(): clip.scene_label for clip in found.clips}


def test_the_nearest_folder_that_bears_a_label_is_a_files_scene_else_the_first(tmp_path: Path) -> None:
    touch(tmp_path, "park/monday/a.wav", "monday/bus/b é 1.AVI", "none/c.jpg", "elsewhere/e/d.wav", "f.m4v")
    assert labels_of(tmp_path) == {
        "park/monday/a.wav": "park",
        "monday/bus/b é 1.AVI": "bus",
        "none/c.jpg": "none",
        "elsewhere/e/d.wav": "elsewhere",
        "f.m4v": "",
    }
    known = read_labelled(tmp_path, LABELS)
    assert [clip.name for clip in known.clips] == ["b é 1", "c", "a"]
    assert known.remarks == (
        "1 clip in no folder of a scene was left out",
        "1 clip of elsewhere, which the bundle does not know, was left out",
    )


def test_one_scene_its_own_folder_and_a_single_file_are_enough(tmp_path: Path) -> None:
    touch(tmp_path, "park/a.wav", "park/b.mp4")
    for data, n in ((tmp_path, 2), (tmp_path / "park", 2), (tmp_path / "park/a.wav", 1)):
        found = read_labelled(data, LABELS)
        assert [clip.scene_label for clip in found.clips] == ["park"] * n
    assert read_media(tmp_path / "park/a.wav", ["tram"]).clips == (lone_clip(tmp_path / "park/a.wav"),)


def test_hidden_files_and_empty_folders_are_passed_over_and_links_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "clips/park/._a.wav", "clips/park/a.wav", "clips/.bus/b.wav", "clips/park/notes.txt", "far/c.wav")
    (tmp_path / "clips/tram").mkdir()
    (tmp_path / "clips/park/gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "clips/bus").symlink_to(tmp_path / "far")
    assert labels_of(tmp_path / "clips") == {"park/a.wav": "park", "park/gone.wav": "park", "bus/c.wav": "bus"}


@pytest.mark.parametrize("named", ["labels.csv", ""])
def test_a_list_says_the_labels_and_where_places_are(tmp_path: Path, named: str) -> None:
    touch(tmp_path, "a.wav", "b.wav", "c.wav", "d.wav", "b.mp4")
    (tmp_path / "labels.csv").write_text(
        "file,scene_label,recording,video\na.wav,park,one,\nb.wav,bus,two,b.mp4\nc.wav,none,,\nd.wav,pub\x1b[1m,,\n"
    )
    found = read_labelled(tmp_path / named, LABELS)
    assert [(clip.name, clip.scene_label, clip.place) for clip in found.clips] == [
        ("a", "park", "one"),
        ("b", "bus", "two"),
        ("c", "none", "c.wav"),
    ]
    assert found.clips[1].video == tmp_path / "b.mp4"
    assert found.remarks == ("1 clip of 'pub\\x1b[1m', which the bundle does not know, was left out",)


@pytest.mark.parametrize(
    ("splits", "use", "chosen"),
    [
        (("train", "validation", "evaluate"), "judge", "c"),
        (("train", "validation", "evaluate"), "calibrate", "b"),
        (("train", "validation", "evaluate"), "fit", "ab"),
        (("train", "evaluate", "evaluate"), "calibrate", "a"),
        (("x", "y", "z"), "judge", "abc"),
        (("x", "y", "z"), "calibrate", "abc"),
        (("", "", ""), "fit", "abc"),
    ],
)
def test_of_a_divided_list_each_use_has_its_part(
    splits: tuple[str, ...], use: Use, chosen: str, tmp_path: Path
) -> None:
    touch(tmp_path, "a.wav", "b.wav", "c.wav")
    rows = [f"{name}.wav,park,{split}" for name, split in zip("abc", splits, strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,scene_label,split", *rows]))
    assert "".join(clip.name for clip in read_labelled(tmp_path, LABELS, use).clips) == chosen


@pytest.mark.parametrize(
    ("files", "rows", "message"),
    [
        ([], None, "--fit: expected recordings at {data}, got nothing there; check the path"),
        (["x.txt"], None, "--fit: {data}: expected recordings such as .wav or .mp4, or pictures, got none"),
        (["a.wav"], None, "--fit: {data}: expected clips of bus, park, in folders of these names or in a CSV with "
         "file,scene_label, got files without a scene; name another bundle, or other data"),
        (["pub/a.wav"], None, "expected clips of bus, park, in folders of these names or in a CSV with "
         "file,scene_label, got pub; name"),
        ([], ["a.wav,park,"], "{data}/labels.csv, line 2: expected a file at {data}/a.wav, got none"),
        (["a.wav", "b.wav"], ["a.wav,park,train", "b.wav,bus,"], "{data}/labels.csv: expected a split for every file "
         "or for none, got none for 'b.wav'"),
        (["a.wav"], ["a.wav,park,", "./a.wav,park,"], "{data}/labels.csv: expected each clip once, got a.wav twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said(files: list[str], rows: list[str] | None, message: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    touch(data, *files)
    if rows is not None:
        data.mkdir(exist_ok=True)
        (data / "labels.csv").write_text("\n".join(["file,scene_label,split", *rows]))
    with pytest.raises(DataError) as refused:
        read_labelled(data, LABELS, "fit", "--fit")
    assert message.format(data=data) in str(refused.value)


def test_a_place_on_two_sides_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    rows = ["file,scene_label,recording,split", "a.wav,park,here,train", "b.wav,park,here,evaluate"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match="expected every location in one split, got 'here' in train"):
        read_labelled(tmp_path, LABELS)
