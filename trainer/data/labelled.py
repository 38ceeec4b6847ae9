"""Read the recordings and pictures a user points to, with the scene of each; every command uses this reader.

Accepts a corpus of a published layout, a CSV, a folder per scene, or plain files. Unlike `open_corpus` it neither
divides the clips nor sets minimum numbers: one scene is enough, and so is a single recording of it.
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
"""Scene of a file whose label is not known."""
Use: TypeAlias = Literal["judge", "calibrate", "fit"]
"""What clips are for. Of a divided list, "judge" uses the evaluation split; "calibrate" (calibrating two bundles) uses
the validation split, which they were not trained on, or failing that all but the evaluation split, as "fit" does."""
OnClip: TypeAlias = Callable[[int, int], None]
"""Called with the number of clips done and the total."""
_LISTS = (".csv", ".txt")


@dataclass(frozen=True, slots=True)
class Clips:
    """The clips that a user pointed to."""

    name: str
    """Name shown in tables."""
    where: Path
    """Where the clips are; error messages begin with it."""
    clips: tuple[Clip, ...]
    """Clips of the bundle's scenes, or of none of the scenes."""
    remarks: tuple[str, ...] = ()
    """Messages for the user."""


def unwatched(_done: int, _total: int) -> None:
    """Progress callback that does nothing."""


def read_labelled(data: Path, labels: Sequence[str], use: Use = "judge", option: str = "--data") -> Clips:
    """Read labelled clips of a bundle's scenes, and clips of none of the scenes.

    Args:
        data: A corpus of any layout that `trainer prepare` accepts; a CSV with `file,scene_label[,recording,source,
            licence,split,city,location,video]`, or a folder that contains it as `labels.csv`; otherwise a folder, whose
            files are labelled by the nearest folder above them that has a label's name.
        labels: The bundle's labels; clips of other scenes are left out, and counted in the remarks.
        use: Selects the part of a divided list.
        option: Command-line option that error messages begin with.

    Raises:
        DataError: Nothing is there, a list is invalid, or no clip has any of the labels.
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
    """Read clips as `read_labelled` does, but also include files of other or unknown scenes.

    Raises:
        DataError: Nothing is there, or a list is invalid.
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
    """A single file as a clip."""
    return clip_of(Recording(path.name, path, label, path.name, path.parent.name))


def _rows(place: Path, known: set[str]) -> list[Recording]:
    """A file, or all below a folder, labelled by the nearest folder above with a label's name, else by the top one."""
    root = place if place.is_dir() else place.parent
    rows = []
    for file in [place] if place.is_file() else _files(place):
        inside = file.relative_to(root)
        above = (root.name, *inside.parts[:-1])
        label = next((part for part in reversed(above) if part in known), inside.parts[0] if len(above) > 1 else "")
        rows.append(Recording(inside.as_posix(), file, label or UNLABELLED, inside.as_posix(), root.name))
    return rows


def _files(folder: Path) -> list[Path]:
    """Media files in and below a folder, without hidden ones; links to folders directly in it are followed."""
    entries = sorted(entry for entry in folder.iterdir() if entry.name[0] != ".")
    below = [sorted(entry.rglob("*")) if entry.is_dir() else [entry] for entry in entries]
    return [file for files in below for file in files if is_media(file, folder)]


def _chosen(clips: Sequence[Clip], use: Use) -> Sequence[Clip]:
    """The part of a divided list that a use calls for; all clips, if there is no such part."""
    judged = [clip for clip in clips if clip.split == EVALUATE]
    others = [clip for clip in clips if clip.split != EVALUATE]
    held_out = [clip for clip in clips if clip.split == VALIDATION]
    parts = {"judge": judged, "calibrate": held_out or others, "fit": others}
    return parts[use] or clips


def _check_divided(where: Path, clips: Sequence[Clip]) -> None:
    """Check that a list names no clip twice, is divided fully or not at all, and has no place in two splits.

    Raises:
        DataError: One of these does not hold; the message names the clip.
    """
    check_listed_once(where, clips)
    bare = next((clip for clip in clips if not clip.split), None)
    if bare is not None and any(clip.split for clip in clips):
        raise DataError(f"{where}: expected a split for every file or for none, got none for {bare.audio.name!r}")
    check_disjoint(where, clips)


def _shown(label: str) -> str:
    """A label in a form that is safe to print on a terminal."""
    if label == UNLABELLED:
        return "files without a scene"
    return label if label.isprintable() else ascii(label)


def _described(label: str, n: int) -> str:
    """Describe `n` clips of a scene that the bundle does not know."""
    clips, were = ("clip", "was") if n == 1 else ("clips", "were")
    if label == UNLABELLED:
        return f"{n:,} {clips} in no folder of a scene {were}"
    return f"{n:,} {clips} of {_shown(label)}, which the bundle does not know, {were}"
