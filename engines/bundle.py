"""A bundle's folder: open, verify and atomically write it; `manifest.py` describes what its manifest says.

Every byte is hashed before it is used: a file is read once, checked against the manifest, then passed on. No file
outside the folder is ever opened, whatever the manifest or a symbolic link says.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import BundleError, one_line
from engines.inside import NoFolderError, open_inside, read_at_most, sync_folder
from engines.manifest import SCHEMA_VERSION, Manifest, is_plain_name
from engines.schema import encode

MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 20
"""Manifests are a few kilobytes; anything larger is not one."""

_FRESH_COPY = "get a fresh copy of the bundle, or name another one with --bundle FOLDER"
_RENAME_EXCHANGE = 2
"""Flag of Linux's renameat2(2): swap two names atomically."""
_AT_FDCWD = -100


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: its location and its manifest."""

    path: Path
    """The bundle's folder."""
    manifest: Manifest
    """Its manifest, already validated."""

    def read(self, name: str) -> bytes:
        """Read a whole file and check it against the manifest.

        Raises:
            BundleError: The manifest does not list it, or it is missing, unreadable, not a regular file, or altered.
        """
        expected = self.manifest.files.get(name)
        if expected is None:
            listed = ", ".join(sorted(self.manifest.files)) or "no file"
            raise BundleError(f"{self.path / name}: expected a file the manifest lists ({listed}), got {name!r}")
        data = _read_inside(self.path, name, expected.size, exact=True)
        digest = hashlib.sha256(data).hexdigest()
        if digest != expected.sha256:
            raise BundleError(
                f"{self.path / name}: expected sha256 {expected.sha256}, got {digest}: "
                f"the file was altered; {_FRESH_COPY}"
            )
        return data


def open_bundle(path: Path) -> Bundle:
    """Read a bundle's manifest; the other files are read and checked when they are needed.

    Raises:
        BundleError: There is no such folder, or no readable manifest in it.
        ManifestError: The manifest is invalid; the message names the file and the key.
    """
    data = _read_inside(path, MANIFEST_NAME, MAX_MANIFEST_BYTES, exact=False)
    try:
        return Bundle(path, Manifest.from_json(data))
    except BundleError as error:
        raise type(error)(f"{path / MANIFEST_NAME}: {one_line(str(error))}") from None


def verify(bundle: Bundle) -> None:
    """Read every file of a bundle and check it against the manifest.

    Raises:
        BundleError: One of them is missing, unreadable or altered.
    """
    for name in bundle.manifest.files:
        bundle.read(name)


def make_manifest(fields: Mapping[str, Any], files: Mapping[str, bytes]) -> Manifest:
    """Complete a manifest with the schema version and the files' hashes.

    Args:
        fields: The manifest's other fields, as records or as JSON.
        files: Name to content.

    Raises:
        ManifestError: The completed manifest is invalid.
    """
    hashes = {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in files.items()}
    return Manifest.from_json(json.dumps({"schema": SCHEMA_VERSION, **encode(dict(fields)), "files": hashes}))


def write_bundle(
    path: Path,
    fields: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    overwrite: bool = False,
    accept: Callable[[Bundle], object] | None = None,
) -> Bundle:
    """Write a bundle next to its destination, then rename it into place: it appears whole or not at all.

    Args:
        path: The folder to create; its parent must exist.
        fields: The manifest without `schema` and `files`, as records or as JSON.
        files: Name to content of every other file.
        overwrite: Whether to replace an existing bundle; readers see either the old one or the new one.
        accept: Called with the finished bundle while it still has its temporary name, for instance to check parity; if
            it raises, nothing changes.

    Raises:
        ManifestError: The manifest would be invalid; nothing was written.
        BundleError: Something is in the way, or writing fails; what was there before is still there.
    """
    manifest = make_manifest(fields, files)
    target = Path(os.path.abspath(path))  # noqa: PTH100  (Path.absolute keeps "..", resolve follows links)
    check_target(target, overwrite)
    fresh = target.parent / f".{target.name}.{secrets.token_hex(6)}.partial"
    try:
        fresh.mkdir()
        for name, data in files.items():
            _write_synced(fresh / name, data)
        _write_synced(fresh / MANIFEST_NAME, manifest.to_json().encode())
        sync_folder(fresh)
        if accept is not None:
            accept(Bundle(fresh, manifest))
        _move(fresh, target, overwrite)
        with suppress(OSError):  # it is in place; not every file system can sync folders
            sync_folder(target.parent)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise _in_the_way(target) from None
        reason = error.strerror or str(error)
        raise BundleError(f"{path}: expected to write a bundle, got: {reason}; nothing was changed there") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)  # a failed attempt, or the bundle that was replaced
    return Bundle(path, manifest)


def _read_inside(folder: Path, name: str, size: int, *, exact: bool) -> bytes:
    """Read a regular file of exactly or at most `size` bytes from a folder; never follow a link, never block."""
    where = folder / name
    try:
        fd = open_inside(folder, name)
    except NoFolderError as error:
        raise BundleError(
            f"{folder}: expected a bundle, a folder with a {MANIFEST_NAME}, got: {error.strerror}; "
            "name one with --bundle FOLDER"
        ) from None
    except OSError as error:
        got = "a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise BundleError(f"{where}: expected a file of the bundle, got: {got}; {_FRESH_COPY}") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{where}: expected a plain file, got something else; {_FRESH_COPY}")
        data, length = read_at_most(fd, status.st_size, size)
    except OSError as error:
        raise BundleError(f"{where}: expected a file that can be read, got: {error.strerror}; {_FRESH_COPY}") from None
    finally:
        os.close(fd)
    if length > size or (exact and length != size):
        wanted = f"{size} bytes" if exact else f"at most {size} bytes"
        raise BundleError(f"{where}: expected {wanted}, got {length}; {_FRESH_COPY}")
    return data


def check_target(target: Path, overwrite: bool) -> None:
    """Reject a destination that has no parent folder, is taken, or holds something other than a bundle to replace.

    Raises:
        BundleError: The destination is one of these.
    """
    if not target.parent.is_dir():
        raise BundleError(f"{target}: expected an existing folder around it; type: mkdir -p '{target.parent}'")
    if not os.path.lexists(target):
        return
    strange = _strange_entry(target)
    if strange is not None:
        wanted = "a bundle to replace" if overwrite else "a free place"
        raise BundleError(f"{target}: expected {wanted}, got {strange}: move it away or choose another place")
    if not overwrite:
        raise _in_the_way(target)


def _strange_entry(target: Path) -> str | None:
    """Describe what at `target` is not part of a bundle and could be lost by replacing it; None if nothing is."""
    if target.is_symlink() or not target.is_dir():
        return "something that is no folder"
    try:
        data = json.loads(_read_inside(target, MANIFEST_NAME, MAX_MANIFEST_BYTES, exact=False))
        listed = set(data["files"]) if data["schema"] else set()
    except (BundleError, ValueError, TypeError, KeyError, RecursionError):
        return f"a folder without a bundle's {MANIFEST_NAME}"
    for entry in sorted(target.iterdir()):
        if entry.name != MANIFEST_NAME and not (entry.name in listed and is_plain_name(entry.name)):
            return f"{entry.name!r}, which no bundle has"
        if entry.is_dir() and not entry.is_symlink():
            return f"the folder {entry.name!r}, which no bundle has"
    return None


def _in_the_way(target: Path) -> BundleError:
    """The error for a destination that is already taken."""
    return BundleError(f"{target}: expected a free place, got something that is there already; replace it: --overwrite")


def _move(fresh: Path, target: Path, overwrite: bool) -> None:
    """Move `fresh` to `target`; a bundle that was there ends up at `fresh`."""
    if not (overwrite and os.path.lexists(target)):
        fresh.rename(target)
    elif not _exchange(fresh, target):
        _exchange_by_turns(fresh, target)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names atomically where the system and the file system support it; False where they do not."""
    with suppress(OSError, AttributeError, TypeError):  # TypeError: on Windows, CDLL needs a library's name
        rename = ctypes.CDLL(None, use_errno=True).renameat2
        status: int = rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
        return status == 0
    return False


def _exchange_by_turns(first: Path, second: Path) -> None:
    """Swap two names by renaming: for a moment there is no `second`; if the next rename fails, it is restored."""
    aside = first.with_suffix(".old")
    second.rename(aside)
    try:
        first.rename(second)
    except BaseException:
        aside.rename(second)
        raise
    aside.rename(first)


def _write_synced(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on disk."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
