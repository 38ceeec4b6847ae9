"""Read lists of clips as DCASE corpora have them: one table per file, any line ending, metadata in the file names."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.data.clips import Clip, first_few
from trainer.errors import DataError


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list."""

    where: str
    """Path and line number, for error messages."""
    values: dict[str, str]
    """The value in each column."""

    def __getitem__(self, column: str) -> str:
        return self.values[column]


@dataclass(frozen=True, slots=True)
class ClipName:
    """The parts of a file name in the TAU corpora: scene-city-location-segment[-cut][-device].wav."""

    scene_label: str
    """The scene; names of scenes contain no hyphen."""
    city: str
    """The city."""
    location: str
    """The place in that city."""
    segment: str
    """Which ten seconds; with the number of the cut, if the corpus is cut into one-second clips."""
    device: str
    """The recording device, or ""."""


def read_rows(path: Path, columns: Sequence[str], *, separator: str = "\t", headless: bool = False) -> list[Row]:
    r"""Read a table whose lines end in \n, \r\n or \r.

    Args:
        path: The list.
        columns: Columns it must have; it may have more.
        separator: Separator between columns.
        headless: Whether the header may be missing, as in the lists of 2018: the columns are then the first ones.

    Raises:
        DataError: The file cannot be read, a column is missing, or a line lacks a value.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = [(number, line.rstrip("\n")) for number, line in enumerate(file, start=1) if line.strip()]
    except OSError as error:
        raise DataError(f"{path}: expected a list of clips, got: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: expected a list of clips as text, got something else") from None
    if not lines:
        raise DataError(f"{path}: expected a list of clips, got an empty file")
    header = [cell.strip() for cell in lines[0][1].split(separator)]
    if headless and Path(header[0]).suffix.lower() == ".wav":
        header = list(columns)
    else:
        del lines[0]
    missing = [column for column in columns if column not in header]
    if missing:
        raise DataError(f"{path}: expected a column {missing[0]!r}, got {', '.join(header)}")
    return [_row(f"{path}, line {number}", header, columns, line.split(separator)) for number, line in lines]


def parse_name(file: str, where: str) -> ClipName:
    """Parse scene, city, location, segment and device from a file name.

    Raises:
        DataError: The name does not have these parts.
    """
    stem = file.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    parts = stem.split("-")
    if not 4 <= len(parts) <= 6 or not all(parts) or not parts[2].isdigit():
        raise DataError(
            f"{where}: expected a name as in airport-london-6-257.wav (scene-city-location-segment), got {file!r}"
        )
    cut, device = parts[4:-1], parts[-1] if len(parts) > 4 else ""
    return ClipName(parts[0], parts[1], parts[2], "-".join([parts[3], *cut]), device)


def check_label(name: ClipName, label: str, labels: Collection[str], where: str) -> None:
    """Check that a row's label is known and matches its file name.

    Raises:
        DataError: It is unknown or does not match.
    """
    if label not in labels:
        raise DataError(f"{where}: expected one of {', '.join(sorted(labels))}, got the label {label!r}")
    if label != name.scene_label:
        raise DataError(
            f"{where}: expected the label in the file's name, {name.scene_label!r}, got {label!r} beside it"
        )


def missing_media(paths: Iterable[Path]) -> list[Path]:
    """Those of `paths` that do not exist; listing each folder once takes a tenth of the time of checking every file."""
    present: dict[Path, set[str]] = {}
    missing = []
    for path in paths:
        names = present.get(path.parent)
        if names is None:
            names = {entry.name for entry in os.scandir(path.parent)} if path.parent.is_dir() else set()
            present[path.parent] = names
        if path.name not in names:
            missing.append(path)
    return missing


def check_media(root: Path, clips: Sequence[Clip], advice: str, *, allow_partial: bool) -> tuple[list[Clip], list[str]]:
    """Clips whose files exist, and a remark if some are missing.

    Args:
        root: The corpus, for error messages.
        clips: Clips as the lists name them.
        advice: What to do about missing files, for error messages.
        allow_partial: Whether clips without their files are left out instead of being an error.

    Raises:
        DataError: Files are missing although that is not allowed, or all are; one message covers all of them.
    """
    wanted = [path for clip in clips for path in (clip.audio, clip.video) if path is not None]
    missing = missing_media(wanted)
    gone = set(missing)
    kept = [clip for clip in clips if clip.audio not in gone and clip.video not in gone] if gone else list(clips)
    if missing and not (allow_partial and kept):
        names = [path.relative_to(root) if path.is_relative_to(root) else path for path in missing]
        raise DataError(
            f"{root}: expected {len(wanted):,} media files, got {len(wanted) - len(missing):,}; missing are "
            f"{first_few(names)}; {advice}"
        )
    remark = f"{len(clips) - len(kept):,} of {len(clips):,} clips are left out: {len(missing):,} files are not there"
    return kept, [remark] if missing else []


def _row(where: str, header: Sequence[str], columns: Sequence[str], cells: Sequence[str]) -> Row:
    """Parse a line; every required column must have a value."""
    values = {column: cell.strip() for column, cell in zip(header, cells, strict=False)}
    for column in columns:
        if not values.get(column):
            raise DataError(f"{where}: expected a value for {column!r}, got none")
    return Row(where, values)
