"""Any corpus by its layout; every fault of a list, each one error."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from support.tau import small_fold, write_av_layout, write_table

from trainer.data.corpora import KINDS, open_corpus, recognise
from trainer.data.tau_av_2021 import LABELS
from trainer.errors import ConfigError, DataError

HEAD = "file,scene_label,split,location"
ROWS = ("a.wav,park,train,1", "b.wav,tram,train,2", "c.wav,park,evaluate,3", "d.wav,tram,evaluate,4")


def write_csv(folder: Path, *rows: str, head: str = HEAD) -> Path:
    """A list, and an empty file for each of its rows."""
    for row in rows:
        for name in row.split(","):
            if name.endswith((".wav", ".mp4")) and name.strip():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).touch()
    (folder / "labels.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return folder / "labels.csv"


def tau_audio(root: Path) -> Path:
    for name, first in (("train", 1), ("evaluate", 50)):
        stems = small_fold(LABELS, "lyon", first, 2)
        write_table(
            root / f"evaluation_setup/fold1_{name}.csv",
            ("filename", "scene_label"),
            [(f"audio/{stem}-a.wav", stem.split("-")[0]) for stem in stems],
        )
        for stem in stems:
            (root / "audio").mkdir(exist_ok=True)
            (root / f"audio/{stem}-a.wav").touch()
    return root


def classes(root: Path) -> Path:
    for label in ("park", "tram"):
        for number in range(5):
            (root / label).mkdir(parents=True, exist_ok=True)
            (root / label / f"{number}.wav").touch()
    return root


def test_each_layout_is_recognised(tmp_path: Path) -> None:
    train, evaluate = small_fold(LABELS, "lyon", 1, 2), small_fold(LABELS, "lyon", 50, 1)
    (tmp_path / "esc/001 - Dog bark").mkdir(parents=True)
    made = {
        "tau-av-2021": write_av_layout(tmp_path / "av", train, evaluate),
        "tau-audio": tau_audio(tmp_path / "audio"),
        "esc10": tmp_path / "esc",
        "csv": write_csv(tmp_path / "csv", *ROWS).parent,
        "folder": classes(tmp_path / "classes"),
    }
    assert list(made) == list(KINDS)
    assert {kind: recognise(path) for kind, path in made.items()} == {kind: kind for kind in KINDS}
    assert recognise(made["csv"] / "labels.csv") == "csv"
    lists = tmp_path / "above/TAU-urban-audio-visual-scenes-2021-development/evaluation_setup"
    lists.parent.mkdir(parents=True)
    (made["tau-av-2021"] / "evaluation_setup").rename(lists)
    assert recognise(tmp_path / "above") == "tau-av-2021"


def test_published_layouts_are_read(tmp_path: Path) -> None:
    train, evaluate = small_fold(LABELS, "lyon", 1, 2), small_fold(LABELS, "lyon", 50, 1)
    root = write_av_layout(tmp_path / "av", train, evaluate)
    corpus = open_corpus(root)
    assert Counter(clip.split for clip in corpus.clips) == {"train": 20, "validation": 20, "evaluate": 20}
    assert all(clip.video is not None for clip in corpus.clips)
    (root / "video" / f"{train[0]}.mp4").unlink()
    with pytest.raises(DataError, match="expected 120 media files, got 119"):
        open_corpus(root)
    assert len(open_corpus(root, allow_partial=True).clips) == 59
    assert all(clip.video is None for clip in open_corpus(root, video=False).clips)
    assert len(open_corpus(tau_audio(tmp_path / "audio")).clips) == 80


def test_a_list_with_all_columns_is_read(tmp_path: Path) -> None:
    head = "file,scene_label,split,location,city,video,licence"
    rows = [f"{row},lyon,v/{row[0]}.mp4,CC0" for row in ROWS]
    corpus = open_corpus(write_csv(tmp_path, *rows, head=head))
    first = corpus.clips[0]
    assert (first.audio, first.video) == (tmp_path / "a.wav", tmp_path / "v/a.mp4")
    assert (first.split, first.city, first.location, first.place) == ("train", "lyon", "1", "lyon-1")
    assert (corpus.labels, corpus.licence, corpus.remarks) == (("park", "tram"), "CC0", ())


def test_folds_are_kept(tmp_path: Path) -> None:
    rows = [row.replace("train", "one").replace("evaluate", "two") for row in ROWS]
    assert [clip.split for clip in open_corpus(write_csv(tmp_path, *rows)).clips] == ["one", "one", "two", "two"]


@pytest.mark.parametrize("kind", ["csv", "folder"])
def test_what_is_not_divided_is_divided_by_recording(tmp_path: Path, kind: str) -> None:
    if kind == "folder":
        path = classes(tmp_path)
    else:
        rows = [f"{label}-{n}.wav,{label},{label}{n // 2}" for label in ("park", "tram") for n in range(10)]
        path = write_csv(tmp_path, *rows, head="file,scene_label,recording")
    corpus = open_corpus(path)
    found = Counter((clip.scene_label, clip.split) for clip in corpus.clips)
    each = len(corpus.clips) // 10
    assert found == {
        (label, split): n * each for label in ("park", "tram") for split, n in (("train", 4), ("evaluate", 1))
    }
    assert "not divided: a fifth of each scene's clips" in corpus.remarks[0]


@pytest.mark.parametrize(
    ("head", "rows", "message"),
    [
        ("file,split", ROWS, "labels.csv: expected a column 'scene_label', got file, split"),
        ("name,scene_label", ROWS, "labels.csv: expected a column 'file', got name, scene_label"),
        (HEAD, [*ROWS, "e.wav,pork,evaluate,5"], "one of the labels to train on, park, tram, got 'pork' for 'e.wav'"),
        (HEAD, [*ROWS, "e.wav,zoo,train,5"], "expected clips to evaluate of every label, got none of 'zoo'"),
        (HEAD, [*ROWS, ROWS[0]], "labels.csv, line 6: expected each file once, got 'a.wav' as in line 2"),
        (HEAD, [*ROWS, "e.wav,park,evaluate,1"], "every location in one split, got '1' in train (a.wav) and in eval"),
        (HEAD, [*ROWS, "e.wav,,train,5"], "labels.csv, line 6: expected a file and its scene, got 'e.wav' and ''"),
        (HEAD, [*ROWS, "e.wav,park,,5"], "expected a split for every file or for none, got none for 'e.wav'"),
        (HEAD, [*ROWS, "e.wav,park,test,5"], "expected the splits train, evaluate and perhaps validation"),
        (
            HEAD,
            [*ROWS[:2], "c.wav,park,validation,3", "d.wav,tram,validation,4"],
            "expected the splits train, evaluate and perhaps validation",
        ),
        (HEAD, ["a.wav,park,one,1", "b.wav,tram,one,2"], "expected a split 'train', or two folds or more, got one"),
        (HEAD, ["a.wav,park,train,1", "b.wav,park,evaluate,2"], "expected at least two scenes"),
        (HEAD, [], "expected at least two scenes with 1 recording each, got no recordings"),
    ],
)
def test_each_fault_of_a_list_is_one_error(tmp_path: Path, head: str, rows: list[str], message: str) -> None:
    with pytest.raises(DataError) as error:
        open_corpus(write_csv(tmp_path, *rows, head=head))
    assert message in str(error.value)


def test_files_that_a_list_names_have_to_be_there(tmp_path: Path) -> None:
    path = write_csv(tmp_path, *ROWS)
    (tmp_path / "c.wav").unlink()
    with pytest.raises(DataError, match=r"line 4: expected a file at .*/c\.wav, got none"):
        open_corpus(path)
    path = write_csv(tmp_path, *(f"{row},{row[0]}.mp4" for row in ROWS), head=f"{HEAD},video")
    (tmp_path / "c.mp4").unlink()
    with pytest.raises(DataError, match=r"line 4: expected a file at .*/c\.mp4, got none"):
        open_corpus(path)


def test_an_empty_class_is_named(tmp_path: Path) -> None:
    classes(tmp_path)
    (tmp_path / "zoo").mkdir()
    with pytest.raises(DataError, match=r"zoo: expected recordings of the scene 'zoo', got an empty folder"):
        open_corpus(tmp_path)


def test_what_is_no_corpus_is_told_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        open_corpus(tmp_path)
    assert all(kind in str(error.value) for kind in KINDS)
    with pytest.raises(DataError, match="expected the folder of a corpus, or a CSV, got nothing there"):
        open_corpus(tmp_path / "missing")
    with pytest.raises(ConfigError, match=r"--kind: expected one of tau-av-2021, .*, got 'tau'"):
        open_corpus(tmp_path, "tau")
    with pytest.raises(DataError, match="expected folders as in '001 - Dog bark'"):
        open_corpus(classes(tmp_path), "esc10")
