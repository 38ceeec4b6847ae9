"""The recordings and pictures that a user points to, and which scene each is of: the one reader of all commands.

A corpus of a published layout, a CSV, a folder a scene, or plain files: whatever it is, clips come of it. Unlike
`open_corpus` it neither divides nor demands: one scene is enough, and so is a single recording of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from trainer.data.clips import EVALUATE, NONE, VALIDATION, Clip, check_disjoint, check_listed_once
from trainer.data.corpora import LABELS, open_corpus, recognise_published
from trainer.data.folder import clip_of
from trainer.data.recordings import Recording, is_media, read_list
from trainer.errors import DataError

UNLABELLED = ""
"""Scene of a file of which nobody says what it is."""
Use: TypeAlias = Literal["judge", "calibrate", "fit"]
"""What clips are for: of a divided list the evaluation split is judged; two bundles are calibrated on the validation
split, which they were not trained on, and where there is none on what is not for evaluation, as whatever is fitted."""
OnClip: TypeAlias = Callable[[int, int], None]
"""Called with how many clips are done, of how many."""
_LISTS = (".csv", ".txt")


@dataclass(frozen=True, slots=True)
class Clips:
    """What a user pointed to."""

    name: str
    """What tables call it."""
    where: Path
    """Where it lies; messages begin with it."""
    clips: tuple[Clip, ...]
    """Of the bundle's scenes, or of none of the scenes."""
    remarks: tuple[str, ...] = ()
    """What the user should be told."""


def unwatched(_done: int, _total: int) -> None:
    """Nobody looks how far it is."""


def read_labelled(data: Path, labels: Sequence[str], use: Use = "judge", option: str = "--data") -> Clips:
    """Labelled clips of a bundle's scenes, and of none of the scenes.

    Args:
        data: A corpus of any layout that `trainer prepare` takes; a CSV with `file,scene_label[,recording,source,
            licence,split,city,location,video]`, or a folder that holds it as `labels.csv`; else a folder, whose files
            are of the nearest folder above them that bears a label's name.
        labels: The bundle's; clips of other scenes are left out, and counted in the remarks.
        use: Which part of a divided list.
        option: What messages begin with.

    Raises:
        DataError: There is nothing, a list is broken, or no clip is of any of the labels.
    """
    found = read_media(data, labels, use, option)
    known = tuple(clip for clip in found.clips if clip.scene_label in (*labels, NONE))
    if not any(clip.scene_label != NONE for clip in known):
        got = ", ".join(sorted({_shown(clip.scene_label) for clip in found.clips}))
        raise DataError(
            f"{option}: {data}: expected clips of {', '.join(labels)}, in folders of these names or in a CSV with "
            f"file,scene_label, got {got}; name another bundle, or other data"
        )
    strangers = Counter(clip.scene_label for clip in found.clips if clip.scene_label not in (*labels, NONE))
    remarks = tuple(f"{_described(label, n)} left out" for label, n in sorted(strangers.items()))
    return Clips(found.name, found.where, known, (*found.remarks, *remarks))


def read_media(data: Path, labels: Sequence[str], use: Use = "judge", option: str = "--data") -> Clips:
    """As `read_labelled`, but files of other scenes, and of none that is known, come as well.

    Raises:
        DataError: There is nothing, or a list is broken.
    """
    place = data.absolute()
    if not place.exists():
        raise DataError(f"{option}: expected recordings at {data}, got nothing there; check the path")
    listed = place / LABELS if (place / LABELS).is_file() else place
    kind = recognise_published(place)
    if kind is not None:
        corpus = open_corpus(place, kind, allow_partial=True)
        return Clips(corpus.name, corpus.root, tuple(_chosen(corpus.clips, use)), corpus.remarks)
    if listed.is_file() and listed.suffix.lower() in _LISTS:
        clips = [clip_of(row) for row in read_list(listed)]
        _check_divided(listed, clips)
    else:
        clips = [clip_of(row) for row in _rows(place, {*labels, NONE})]
    if not clips:
        raise DataError(f"{option}: {data}: expected recordings such as .wav or .mp4, or pictures, got none")
    return Clips(place.name, place, tuple(_chosen(clips, use)))


def lone_clip(path: Path, label: str = UNLABELLED) -> Clip:
    """A file on its own, as a clip."""
    return clip_of(Recording(path.name, path, label, path.name, path.parent.name))


def _rows(place: Path, known: set[str]) -> list[Recording]:
    """A file, or those below a folder, each of the nearest folder above it that bears a label's name."""
    root = place if place.is_dir() else place.parent
    rows = []
    for file in [place] if place.is_file() else _files(place):
        inside = file.relative_to(root)
        above = (root.name, *inside.parts[:-1])
        label = next((part for part in reversed(above) if part in known), inside.parts[0] if len(above) > 1 else "")
        rows.append(Recording(inside.as_posix(), file, label or UNLABELLED, inside.as_posix(), root.name))
    return rows


def _files(folder: Path) -> list[Path]:
    """Media in a folder and below, hidden ones left out; folders that are links are looked into."""
    entries = sorted(entry for entry in folder.iterdir() if entry.name[0] != ".")
    below = [sorted(entry.rglob("*")) if entry.is_dir() else [entry] for entry in entries]
    return [file for files in below for file in files if is_media(file, folder)]


def _chosen(clips: Sequence[Clip], use: Use) -> Sequence[Clip]:
    """The part of a divided list that serves a purpose; all, where there is no such part."""
    judged = [clip for clip in clips if clip.split == EVALUATE]
    others = [clip for clip in clips if clip.split != EVALUATE]
    held_out = [clip for clip in clips if clip.split == VALIDATION]
    parts = {"judge": judged, "calibrate": held_out or others, "fit": others}
    return parts[use] or clips


def _check_divided(where: Path, clips: Sequence[Clip]) -> None:
    """Refuse a list that names a clip twice, is divided in part only, or has a place on two sides.

    Raises:
        DataError: The message names the clip.
    """
    check_listed_once(where, clips)
    bare = next((clip for clip in clips if not clip.split), None)
    if bare is not None and any(clip.split for clip in clips):
        raise DataError(f"{where}: expected a split for every file or for none, got none for {bare.audio.name!r}")
    check_disjoint(where, clips)


def _shown(label: str) -> str:
    """A label as it may go to a terminal."""
    if label == UNLABELLED:
        return "files without a scene"
    return label if label.isprintable() else ascii(label)


def _described(label: str, n: int) -> str:
    """So many clips of a scene that the bundle does not know."""
    clips, were = ("clip", "was") if n == 1 else ("clips", "were")
    if label == UNLABELLED:
        return f"{n:,} {clips} in no folder of a scene {were}"
    return f"{n:,} {clips} of {_shown(label)}, which the bundle does not know, {were}"
