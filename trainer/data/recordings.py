"""Read and check a labelled list of recordings: a CSV, validated row by row, or a folder with a folder per class."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ascstream.sources.inputs import MEDIA_SUFFIXES
from trainer.config import DataConfig
from trainer.errors import DataError
from trainer.files import digest_of

STILLS = {".jpg", ".jpeg", ".png", ".webp"}
"""Extensions of files that contain a single picture."""
_SUFFIXES = MEDIA_SUFFIXES | STILLS
_FILE, _LABEL = "file", "scene_label"
_OPTIONAL = ("confidence", "licence", "recording", "source", "split", "city", "location", "video")


@dataclass(frozen=True, slots=True)
class Recording:
    """One labelled file."""

    file: str
    """Path as given in the list, with '/'."""
    path: Path
    """Path of the file itself."""
    label: str
    """The scene, or the `none` label."""
    group: str
    """Never divided between training and evaluation: files of one place and time; by default the file itself."""
    source: str
    """Source of the recording."""
    confidence: str = ""
    """How certain the label is, in the list's words."""
    licence: str = ""
    """Licence terms, in the list's words."""
    split: str = ""
    """Part of the corpus it belongs to, if the list says: "train", "validation", "evaluate", or a fold."""
    city: str = ""
    """City of the recording, if the list says."""
    location: str = ""
    """The place in that city, if the list says."""
    video: Path | None = None
    """Separate file with its picture, if the list names one."""

    def sha256(self) -> str:
        """SHA-256 of the file's bytes."""
        with self.path.open("rb") as file:
            return digest_of(file)


@dataclass(frozen=True, slots=True)
class Corpus:
    """The recordings of a run."""

    labels: tuple[str, ...]
    """Scenes to train, in alphabetical order."""
    recordings: tuple[Recording, ...]
    """Recordings of these scenes, in the list's order."""
    none: tuple[Recording, ...]
    """Recordings of none of the scenes."""
    left_out: tuple[Recording, ...]
    """Recordings of scenes that have too few of them."""

    def targets(self) -> list[int]:
        """Index in `labels` of each recording's scene."""
        return [self.labels.index(recording.label) for recording in self.recordings]


def load_corpus(root: Path, config: DataConfig) -> Corpus:
    """Read the list of recordings and select the scenes that can be trained and evaluated.

    Args:
        root: The data folder.
        config: The list within it, and the rules.

    Raises:
        DataError: The list is missing or invalid, a row has no file or no label, or fewer than two scenes remain.
    """
    place = root / (config.labels or "")
    rows = _read_folder(place) if place.is_dir() else read_list(place)
    groups: dict[str, set[str]] = {}
    for row in rows:
        groups.setdefault(row.label, set()).add(row.group)
    labels = sorted(
        label
        for label, members in groups.items()
        if label != config.none_label and len(members) >= config.min_recordings
    )
    if len(labels) < 2:
        counts = ", ".join(f"{label} {len(members)}" for label, members in sorted(groups.items())) or "no recordings"
        raise DataError(
            f"{place}: expected at least two scenes with {config.min_recordings} "
            f"recording{'s' if config.min_recordings > 1 else ''} each, got {counts}"
        )
    for label in labels:
        if label == "unknown" or not label.isprintable():
            raise DataError(f'{place}: expected scenes\' names of one line, and not "unknown", got {label!a}')
    return Corpus(
        tuple(labels),
        tuple(row for row in rows if row.label in labels),
        tuple(row for row in rows if row.label == config.none_label),
        tuple(row for row in rows if row.label not in labels and row.label != config.none_label),
    )


def read_list(path: Path) -> list[Recording]:
    """Read a CSV `file,scene_label,…`, whose files are below its folder.

    Raises:
        DataError: The list cannot be read, or a row is invalid; the message names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            rows = list(reader)
    except OSError as error:
        raise DataError(
            f"{path}: expected a list of recordings, got: {error.strerror}; name the data folder with --data FOLDER"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected a CSV file in UTF-8, got something else: {error}") from None
    for column in (_FILE, _LABEL):
        if column not in columns:
            raise DataError(f"{path}: expected a column {column!r}, got {', '.join(columns) or 'an empty file'}")
    return _checked(path, ((number, row) for number, row in enumerate(rows, start=2)))


def _checked(path: Path, rows: Iterable[tuple[int, dict[str, str | None]]]) -> list[Recording]:
    """Convert rows to recordings, checking each; all files of a group must have the same label."""
    recordings: list[Recording] = []
    lines: dict[str, int] = {}
    label_of: dict[str, Recording] = {}
    for number, row in rows:
        where = f"{path}, line {number}"
        file, label = ((row.get(column) or "").strip() for column in (_FILE, _LABEL))
        if not file or not label:
            raise DataError(f"{where}: expected a file and its scene, got {file!r} and {label!r}")
        if file in lines:
            raise DataError(f"{where}: expected each file once, got {file!r} as in line {lines[file]}")
        lines[file] = number
        optional = {column: (row.get(column) or "").strip() for column in _OPTIONAL}
        for name in (file, optional["video"]):
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise DataError(f"{where}: expected a path below the list's folder, got {name!r}; move the list up")
        place, video = path.parent / file, path.parent / optional["video"] if optional["video"] else None
        for media in (place, video):
            if media is not None and not media.is_file():
                raise DataError(f"{where}: expected a file at {media}, got none")
        recording = Recording(
            file,
            place,
            label,
            group=optional["recording"] or file,
            source=optional["source"] or _folder_of(file),
            confidence=optional["confidence"],
            licence=optional["licence"],
            split=optional["split"],
            city=optional["city"],
            location=optional["location"],
            video=video,
        )
        other = label_of.setdefault(recording.group, recording)
        if other.label != label:
            raise DataError(
                f"{where}: expected one scene for recording {recording.group!r}, got {label!r} and {other.label!r}"
            )
        recordings.append(recording)
    return recordings


def is_media(path: Path, folder: Path) -> bool:
    """Whether a path below a folder looks like a recording or a picture; hidden files and folders are excluded.

    A dangling link counts as one, so that whoever opens it reports the error.
    """
    if path.suffix.lower() not in _SUFFIXES or any(part[0] == "." for part in path.relative_to(folder).parts):
        return False
    return path.is_file() or path.is_symlink()


def _read_folder(path: Path) -> list[Recording]:
    """Read a folder of `class/file`; every file is a recording of its own."""
    recordings: list[Recording] = []
    for folder in sorted(entry for entry in path.iterdir() if entry.is_dir() and entry.name[0] != "."):
        files = sorted(entry for entry in folder.rglob("*") if is_media(entry, folder))
        if not files:
            raise DataError(f"{folder}: expected recordings of the scene {folder.name!r}, got an empty folder")
        for file in files:
            name = file.relative_to(path).as_posix()
            recordings.append(Recording(name, file, folder.name, name, path.name))
    return recordings


def _folder_of(file: str) -> str:
    """The first folder of a relative path."""
    return file.split("/", 1)[0] if "/" in file else ""
