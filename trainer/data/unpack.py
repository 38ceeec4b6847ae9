"""Zip archives, unpacked so that nothing lands outside the folder and every file appears whole."""

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
    """Unpack an archive; files that are there already with the right size are left alone, so it can be repeated.

    Args:
        archive: A zip file.
        folder: Where its files go.
        on_bytes: Called with the bytes done and those there are, after each file.

    Returns:
        Size of each file by its name in the archive.

    Raises:
        DataError: It is no zip file, is damaged or encrypted, or has a member that would leave the folder; in the last
            two cases nothing has been written.
        TrainerError: There is no room for it.
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
    """See that so much fits on the disk of `folder`, which need not be there yet.

    Raises:
        TrainerError: It does not.
    """
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if n_bytes > free:
        raise TrainerError(f"{folder}: expected {n_bytes / 1e9:.1f} GB free on the disk, got {free / 1e9:.1f} GB")


def _target(archive: Path, folder: Path, member: zipfile.ZipInfo) -> Path:
    """Where a member goes; refused if that is not inside the folder, or if it is more than plain bytes."""
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
    """Whether a file of that size is at `path`."""
    return path.is_file() and path.stat().st_size == n_bytes
