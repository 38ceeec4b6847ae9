"""Unpack zip archives so that nothing is written outside the folder and every file appears complete or not at all."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

from trainer.errors import DataError, TrainerError
from trainer.files import write_whole


def unpack(archive: Path, folder: Path, on_bytes: Callable[[int, int], None] | None = None) -> dict[str, int]:
    """Unpack an archive; existing files of the right size are left alone, so unpacking can be repeated.

    Args:
        archive: A zip file.
        folder: Destination of its files.
        on_bytes: Called after each file with the bytes done and the total.

    Returns:
        Size of each file, by its name in the archive.

    Raises:
        DataError: It is not a zip file, is damaged or encrypted, or has a member that would leave the folder; in the
            last two cases nothing has been written.
        TrainerError: There is not enough room on the disk.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            members = [(member, _target(archive, folder, member)) for member in file.infolist() if not member.is_dir()]
            missing = [(member, target) for member, target in members if not has_size(target, member.file_size)]
            total = sum(member.file_size for member, _ in members)
            done = total - sum(member.file_size for member, _ in missing)
            check_room(folder, total - done)
            for member, target in missing:
                with file.open(member) as source:
                    write_whole(target, partial(shutil.copyfileobj, source))
                done += member.file_size
                if on_bytes is not None:
                    on_bytes(done, total)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{archive}: expected a zip archive, got a damaged one: {error}; delete it") from None
    return {member.filename: member.file_size for member, _ in members}


def check_room(folder: Path, n_bytes: int) -> None:
    """Check that `n_bytes` fit on the disk of `folder`, which need not exist yet.

    Raises:
        TrainerError: They do not.
    """
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if n_bytes > free:
        raise TrainerError(f"{folder}: expected {n_bytes / 1e9:.1f} GB free on the disk, got {free / 1e9:.1f} GB")


def _target(archive: Path, folder: Path, member: zipfile.ZipInfo) -> Path:
    """Destination of a member; refused if that is outside the folder, or the member is not a plain readable file."""
    name = PurePosixPath(member.filename)
    if name.is_absolute() or ".." in name.parts or "\\" in member.filename or ":" in member.filename or not name.parts:
        raise DataError(f"{archive}: expected files that stay in their folder, got {member.filename!r}; delete it")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise DataError(f"{archive}: expected plain files, got {member.filename!r}, which is a link or a device")
    if member.flag_bits & 1:
        raise DataError(f"{archive}: expected files that can be read, got {member.filename!r}, which is encrypted")
    return folder / name


def has_size(path: Path, n_bytes: int) -> bool:
    """Whether there is a file of exactly that size at `path`."""
    return path.is_file() and path.stat().st_size == n_bytes
