"""Lists of clips as the DCASE corpora write them: a table a file, any line ending, facts in the file names."""

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
    """Path and line, for messages."""
    values: dict[str, str]
    """What stands in each column."""

    def __getitem__(self, column: str) -> str:
        return self.values[column]


@dataclass(frozen=True, slots=True)
class ClipName:
    """What a file name of the TAU corpora says: scene-city-location-segment[-cut][-device].wav."""

    scene_label: str
    """The scene; names of scenes have no hyphen."""
    city: str
    """The city."""
    location: str
    """The place in that city."""
    segment: str
    """Which ten seconds; with the cut where the corpus is cut into seconds."""
    device: str
    """The recording device, or ""."""


def read_rows(path: Path, columns: Sequence[str], *, separator: str = "\t", headless: bool = False) -> list[Row]:
    r"""Read a table whose lines end in \n, \r\n or \r.

    Args:
        path: The list.
        columns: What it has to have; it may have more.
        separator: Between two columns.
        headless: Whether it may come without a header, as the lists of 2018 do: the columns are then the first ones.

    Raises:
        DataError: It cannot be read, a column is missing, or a line lacks a value.
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
    """Scene, city, location, segment and device from a file name.

    Raises:
        DataError: It has other parts.
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
    """A row's label is known and is the one in its file name.

    Raises:
        DataError: It is not.
    """
    if label not in labels:
        raise DataError(f"{where}: expected one of {', '.join(sorted(labels))}, got the label {label!r}")
    if label != name.scene_label:
        raise DataError(
            f"{where}: expected the label in the file's name, {name.scene_label!r}, got {label!r} beside it"
        )


def missing_media(paths: Iterable[Path]) -> list[Path]:
    """Those of `paths` that are not there; each folder is listed once, which takes a tenth of asking file by file."""
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
    """Clips that are there, and a remark if some are not.

    Args:
        root: The corpus, for messages.
        clips: Clips as the lists name them.
        advice: What to do about missing files.
        allow_partial: Whether clips without their files are left out.

    Raises:
        DataError: Files are missing, and may not be, or all are; one message for all of them.
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
    """A line as a row; the needed columns have values."""
    values = {column: cell.strip() for column, cell in zip(header, cells, strict=False)}
    for column in columns:
        if not values.get(column):
            raise DataError(f"{where}: expected a value for {column!r}, got none")
    return Row(where, values)
