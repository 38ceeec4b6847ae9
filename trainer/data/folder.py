"""A labelled CSV or a folder of class folders as a corpus of clips; `recordings` reads and checks the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainer.config import DataConfig
from trainer.data.clips import (
    EVALUATE,
    NONE,
    TRAIN,
    VALIDATION,
    Clip,
    Corpus,
    draw_of,
    hold_out_locations,
)
from trainer.data.recordings import Recording, load_corpus
from trainer.errors import DataError

_EVALUATION_SHARE = 0.2


def read_folder(place: Path, *, none_label: str = "none", min_recordings: int = 2) -> Corpus:
    """Read clips, divided if the list has a column `split`; otherwise `hold_out_evaluation` can divide them.

    Args:
        place: A CSV with `file,scene_label[,recording,source,licence,split,city,location,video]`, or a folder with a
            folder per class. A clip's location is `location`, else `recording`, else the file itself.
        none_label: Label of recordings of none of the scenes: a network may learn to be uncertain about them.
        min_recordings: Scenes with fewer recordings are left out, if the list is not divided yet.

    Raises:
        DataError: See `load_corpus`; or the splits are incomplete, unknown, or share a location.
    """
    rules = DataConfig(labels=place.name, none_label=none_label, min_recordings=1)
    loaded = load_corpus(place.parent, rules)
    if not _is_divided(place, loaded.recordings, loaded.none):
        loaded = load_corpus(place.parent, replace(rules, min_recordings=min_recordings))
    rows = (*loaded.recordings, *loaded.none)
    clips = tuple(clip_of(row, none_label) for row in rows)
    licences = sorted({row.licence for row in rows if row.licence})
    left_out = sorted({row.label for row in loaded.left_out})
    remarks = (f"too few recordings, left out: {', '.join(left_out)}",) if left_out else ()
    return Corpus(place.name, place, loaded.labels, clips, "; ".join(licences) or "not stated", remarks)


def clip_of(row: Recording, none_label: str = NONE) -> Clip:
    """Convert a labelled file to a clip."""
    return Clip(
        row.path,
        row.video,
        NONE if row.label == none_label else row.label,
        row.city or row.source,
        row.location or row.group,
        Path(row.file).stem,
        row.split,
    )


def hold_out_evaluation(corpus: Corpus) -> Corpus:
    """Divide an undivided corpus: a fifth of each scene, in whole locations, is kept for evaluation.

    Clips of none of the scenes are assigned place by place.

    Raises:
        DataError: A scene has a single location.
    """
    scenes = [clip for clip in corpus.clips if clip.scene_label != NONE]
    side = {clip.audio: clip.split for clip in hold_out_locations(scenes, 1 - _EVALUATION_SHARE)}
    side |= {
        clip.audio: VALIDATION if draw_of(clip.place) < _EVALUATION_SHARE else TRAIN
        for clip in corpus.clips
        if clip.scene_label == NONE
    }
    clips = tuple(replace(clip, split=EVALUATE if side[clip.audio] == VALIDATION else TRAIN) for clip in corpus.clips)
    remark = "not divided: a fifth of each scene's clips, in whole locations, is kept to evaluate"
    return replace(corpus, clips=clips, remarks=(*corpus.remarks, remark))


def _is_divided(place: Path, scenes: Sequence[Recording], others: Sequence[Recording]) -> bool:
    """Whether the rows are divided into splits: all rows or none, known splits, every scene in training and evaluation.

    Raises:
        DataError: They are divided, but not in this way.
    """
    rows = (*scenes, *others)
    splits = sorted({row.split for row in rows})
    if splits == [""]:
        return False
    if "" in splits:
        bare = next(row for row in rows if not row.split)
        raise DataError(f"{place}: expected a split for every file or for none, got none for {bare.file!r}")
    if TRAIN not in splits:
        if len(splits) < 2 or {VALIDATION, EVALUATE} & set(splits):
            raise DataError(f"{place}: expected a split {TRAIN!r}, or two folds or more, got {', '.join(splits)}")
        return True
    if not {TRAIN, EVALUATE} <= set(splits) <= {TRAIN, VALIDATION, EVALUATE}:
        raise DataError(
            f"{place}: expected the splits {TRAIN}, {EVALUATE} and perhaps {VALIDATION}, or names of folds, "
            f"got {', '.join(splits)}"
        )
    trained, evaluated = ({row.label for row in scenes if row.split == split} for split in (TRAIN, EVALUATE))
    for row in scenes:
        if row.label not in trained:
            known = ", ".join(sorted(trained))
            raise DataError(
                f"{place}: expected one of the labels to train on, {known}, got {row.label!r} for {row.file!r}"
            )
        if row.label not in evaluated:
            raise DataError(f"{place}: expected clips to evaluate of every label, got none of {row.label!r}")
    return True
