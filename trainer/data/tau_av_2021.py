"""TAU Urban Audio-Visual Scenes 2021 (DCASE 2021 task 1B): its layout, official fold, inner split and known counts.

    TAU-urban-audio-visual-scenes-2021-development/
      audio/SCENE-CITY-LOCATION-SEGMENT.wav  video/SCENE-CITY-LOCATION-SEGMENT.mp4  meta.csv
      evaluation_setup/fold1_train.csv  fold1_evaluate.csv  fold1_test.csv

The lists may also lie in a folder of their own, `….meta`, as the archive's name has it. meta.csv repeats the lists and
is not needed. Corpora of `trainer.data.synth` have the same layout and say so in synthetic.json.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from trainer.data.clips import (
    EVALUATE,
    TRAIN,
    VALIDATION,
    Clip,
    Corpus,
    check_disjoint,
    check_listed_once,
    first_few,
    hold_out_locations,
)
from trainer.data.lists import check_label, check_media, parse_name, read_rows
from trainer.errors import DataError

FOLDER = "TAU-urban-audio-visual-scenes-2021-development"
"""What the archives unpack to."""
SYNTHETIC = "synthetic.json"
"""Beside the lists of a corpus that was computed."""
NAME = "TAU Urban Audio-Visual Scenes 2021"
LICENCE = "Tampere University: experimental and non-commercial use only, with attribution"
LABELS = (
    "airport",
    "bus",
    "metro",
    "metro_station",
    "park",
    "public_square",
    "shopping_mall",
    "street_pedestrian",
    "street_traffic",
    "tram",
)
CITIES = ("barcelona", "helsinki", "lisbon", "london", "lyon", "milan", "paris", "prague", "stockholm", "vienna")
TRAIN_COUNTS = {  # clips of fold1_train by scene, in the order of CITIES: 8,646 in all, of 305 locations
    "airport": (0, 19, 108, 86, 108, 108, 110, 96, 62, 0),
    "bus": (108, 91, 102, 0, 104, 97, 0, 100, 96, 108),
    "metro": (25, 59, 105, 0, 92, 105, 0, 102, 109, 108),
    "metro_station": (86, 103, 108, 88, 76, 108, 0, 108, 108, 108),
    "park": (108, 103, 108, 72, 108, 108, 108, 96, 87, 108),
    "public_square": (37, 108, 114, 108, 87, 108, 108, 96, 108, 108),
    "shopping_mall": (108, 108, 108, 0, 95, 103, 0, 108, 108, 103),
    "street_pedestrian": (105, 108, 104, 109, 104, 87, 73, 99, 109, 70),
    "street_traffic": (108, 108, 108, 78, 108, 96, 108, 108, 55, 108),
    "tram": (59, 109, 96, 0, 94, 110, 0, 101, 86, 108),
}
EVALUATE_COUNTS = {  # clips of fold1_evaluate: 3,645 in all, of 126 other locations
    "airport": (0, 0, 36, 47, 36, 36, 46, 48, 32, 0),
    "bus": (36, 35, 41, 0, 40, 47, 0, 44, 48, 36),
    "metro": (31, 85, 39, 0, 52, 39, 0, 42, 36, 36),
    "metro_station": (58, 41, 36, 39, 68, 36, 0, 36, 36, 36),
    "park": (36, 41, 36, 36, 36, 36, 36, 36, 57, 36),
    "public_square": (36, 36, 30, 36, 57, 36, 36, 48, 36, 36),
    "shopping_mall": (36, 36, 36, 81, 49, 41, 0, 36, 36, 36),
    "street_pedestrian": (40, 37, 40, 36, 40, 57, 63, 45, 36, 27),
    "street_traffic": (36, 36, 36, 66, 36, 48, 36, 36, 36, 36),
    "tram": (3, 36, 48, 0, 50, 34, 0, 43, 58, 36),
}
_SETUP = "evaluation_setup"
_ADVICE = (
    "fetch the rest with: trainer fetch tau-av-2021 DIR; unpack archives of your own into one folder; "
    "or go on without them: --allow-partial"
)


def read_tau_av_2021(
    root: Path,
    *,
    video: bool = True,
    allow_partial: bool = False,
    inner_lists: tuple[Path, Path] | None = None,
    train_share: float = 0.9,
    seed: int = 30,
) -> Corpus:
    """Read the corpus: fold1_train divided into "train" and "validation" by location, fold1_evaluate as "evaluate".

    The division is that of the whole lists: a clip of a partial copy is on the side it has in a whole one.

    Args:
        root: The folder with `evaluation_setup`, or one above it.
        video: Whether pictures are wanted.
        allow_partial: Whether clips may lack; those without their files are left out, and labels without clips too.
        inner_lists: The baseline's own lists of training and validation clips (comma-separated); None divides by
            `hold_out_locations`.
        train_share: Part of each scene to train on.
        seed: Which locations are drawn.

    Raises:
        DataError: The lists are missing, broken, incomplete or leak; or media files are missing, all named at once.
    """
    setup = _find_lists(root)
    media = _find_media(root, setup)
    training = _read_fold(setup / "fold1_train.csv", media, TRAIN, video=video)
    evaluation = _read_evaluation(setup, media, video=video)
    check_listed_once(setup, training + evaluation)
    check_disjoint(setup, training + evaluation)
    marker = setup.parent / SYNTHETIC
    if not marker.is_file():
        _check_counts(setup / "fold1_train.csv", training, TRAIN_COUNTS, allow_partial=allow_partial)
        _check_counts(setup / "fold1_evaluate.csv", evaluation, EVALUATE_COUNTS, allow_partial=allow_partial)
    if inner_lists is None:
        training = list(hold_out_locations(training, train_share, seed))
    else:
        training = _divide_by_lists(training, inner_lists)
    clips, remarks = check_media(media, training + evaluation, _ADVICE, allow_partial=allow_partial)
    trained = {clip.scene_label for clip in clips if clip.split == TRAIN}
    labels = tuple(label for label in LABELS if label in trained) if allow_partial else LABELS
    if labels != LABELS:
        clips = [clip for clip in clips if clip.scene_label in trained]
        remarks.append(f"no clips to train on, left out: {', '.join(sorted(set(LABELS) - trained))}")
    name, licence = _name_and_licence(marker)
    return Corpus(name, media, labels, tuple(clips), licence, tuple(remarks))


def _find_lists(root: Path) -> Path:
    """The folder of the lists, in any of the layouts seen."""
    meta = f"{FOLDER}.meta"
    for place in ("", FOLDER, meta, f"{FOLDER}/{meta}", f"{meta}/{FOLDER}"):
        if (root / place / _SETUP).is_dir():
            return root / place / _SETUP
    raise DataError(
        f"{root}: expected {_SETUP}/fold1_train.csv in it, or in {FOLDER} or {meta} below it, got neither; "
        "unpack the archive ….meta.zip there, or type: trainer fetch tau-av-2021 DIR"
    )


def _find_media(root: Path, setup: Path) -> Path:
    """The folder that has `audio` and `video`; where there is none, the one they are expected in."""
    places = (setup.parent, root, root / FOLDER, setup.parent.parent)
    return next((place for place in places if (place / "audio").is_dir()), setup.parent)


def _read_fold(path: Path, media: Path, split: str, *, video: bool, labelled: bool = True) -> list[Clip]:
    """The clips of one list."""
    columns = ("filename_audio", "filename_video", "scene_label")[: 3 if labelled else 2]
    clips = []
    for row in read_rows(path, columns):
        name = parse_name(row["filename_audio"], row.where)
        label = row["scene_label"] if labelled else name.scene_label
        check_label(name, label, LABELS, row.where)
        if parse_name(row["filename_video"], row.where) != name:
            raise DataError(
                f"{row.where}: expected sound and picture of one clip, "
                f"got {row['filename_audio']!r} and {row['filename_video']!r}"
            )
        picture = media / row["filename_video"] if video else None
        audio = media / row["filename_audio"]
        clips.append(Clip(audio, picture, label, name.city, name.location, name.segment, split, name.device))
    return clips


def _read_evaluation(setup: Path, media: Path, *, video: bool) -> list[Clip]:
    """fold1_evaluate.csv, or fold1_test.csv, which names the same clips and no labels; both have to agree."""
    labelled, bare = setup / "fold1_evaluate.csv", setup / "fold1_test.csv"
    if not bare.is_file():
        return _read_fold(labelled, media, EVALUATE, video=video)
    tested = _read_fold(bare, media, EVALUATE, video=video, labelled=False)
    if not labelled.is_file():
        return tested
    clips = _read_fold(labelled, media, EVALUATE, video=video)
    differing = sorted({clip.name for clip in clips} ^ {clip.name for clip in tested})
    if differing:
        raise DataError(f"{bare}: expected the clips of {labelled.name}, got others: {first_few(differing)}")
    return clips


def _check_counts(
    path: Path, clips: Sequence[Clip], known: Mapping[str, Sequence[int]], *, allow_partial: bool
) -> None:
    """A list has as many clips of each scene in each city as are known; a partial copy no more."""
    found = Counter((clip.scene_label, clip.city) for clip in clips)
    expected = {(scene, city): n for scene, row in known.items() for city, n in zip(CITIES, row, strict=True)}
    wrong = [
        f"{scene} in {city} {found[scene, city]} instead of {expected.get((scene, city), 0)}"
        for scene, city in sorted(expected.keys() | found.keys())
        if found[scene, city] > expected.get((scene, city), 0)
        or (found[scene, city] < expected[scene, city] and not allow_partial)
    ]
    if wrong:
        raise DataError(
            f"{path}: expected {sum(expected.values()):,} clips as published, got {len(clips):,}: {first_few(wrong)}; "
            "unpack the archive ….meta.zip again"
        )


def _divide_by_lists(training: Sequence[Clip], lists: tuple[Path, Path]) -> list[Clip]:
    """The training fold divided as two lists say, which together have to name every clip of it."""
    split_of: dict[str, str] = {}
    for path, split in zip(lists, (TRAIN, VALIDATION), strict=True):
        for row in read_rows(path, ("filename_audio",), separator=","):
            name = Path(row["filename_audio"]).stem
            if name in split_of:
                raise DataError(f"{row.where}: expected each clip once, got {name} again")
            split_of[name] = split
    differing = sorted(split_of.keys() ^ {clip.name for clip in training})
    if differing:
        raise DataError(
            f"{lists[0]} and {lists[1]}: expected the clips of fold1_train.csv, got a difference: "
            f"{first_few(differing)}"
        )
    return [replace(clip, split=split_of[clip.name]) for clip in training]


def _name_and_licence(marker: Path) -> tuple[str, str]:
    """What the corpus is, and under which terms."""
    if not marker.is_file():
        return NAME, LICENCE
    try:
        licence = json.loads(marker.read_text(encoding="utf-8"))["licence"]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{marker}: expected what trainer synth wrote, got something else; make it anew") from None
    return "synthetic scenes", str(licence)
