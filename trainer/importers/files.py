"""Reads a file named by the user completely and hashes it before anything parses it; no code in it is ever run.

`trainer.models.pretrained` parses the tensors of checkpoints; arrays of .npz files are unpacked here.
"""

from __future__ import annotations

import errno
import hashlib
import io
import math
import os
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import one_line
from engines.inside import read_at_most
from trainer.errors import DataError
from trainer.models.foreign import ManyEntriesError, describe, is_npz, open_zip
from trainer.models.naming import Weights
from trainer.models.pretrained import EXPECTED, parse_weights

Arrays = dict[str, NDArray[np.float32]]
"""Name to array, in the order of the archive."""
_ZIP = b"PK\x03\x04"
_MAX_AXES = 32
"""Axes of an array that every version of numpy supports."""
_MAX_ENTRIES = 10_000
"""Entries of an archive; the largest network we know of has a tenth of that."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file's content and its hash."""

    path: Path
    """Path of the file."""
    data: bytes
    """Its whole content."""
    sha256: str
    """SHA-256 of `data`, in hexadecimal."""


def read_file(path: Path, max_bytes: int) -> SourceFile:
    """Read and hash a regular file of at most `max_bytes`.

    Raises:
        DataError: The file is missing, too large, or not a regular file.
    """
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # do not block on a pipe without a writer
        with os.fdopen(fd, "rb"):
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                got = os.strerror(errno.EISDIR) if stat.S_ISDIR(status.st_mode) else "no plain file"
                raise DataError(f"{path}: expected a file to import, got: {got}; name the file itself")
            data, size = read_at_most(fd, status.st_size, max_bytes)
    except OSError as error:
        raise DataError(f"{path}: expected a file to import, got: {error.strerror}; name the file itself") from None
    if size > max_bytes:
        raise DataError(
            f"{path}: expected at most {max_bytes / (1 << 20):,.0f} MiB, which networks of this kind take, "
            f"got {size / (1 << 20):,.0f} MiB; is this a file of another kind?"
        )
    return SourceFile(path, data, hashlib.sha256(data).hexdigest())


def tensors_of(source: SourceFile, expected: str = EXPECTED) -> Weights:
    """Return the tensors of a checkpoint or .safetensors file, by name.

    Args:
        source: The file.
        expected: What the importer takes, for the message if the file is something else.

    Raises:
        DataError: The file is of another kind, incomplete, compressed, unpacks to more than its size, or holds code.
    """
    if source.data.startswith(_ZIP) and not is_npz(io.BytesIO(source.data)):
        with open_archive(source) as archive:  # torch.save does not compress: anything compressed may be a zip bomb
            size = sum(entry.file_size for entry in archive.infolist())
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
            if size > len(source.data) or packed:
                raise DataError(
                    f"{source.path}: expected a checkpoint as torch.save writes it, nothing in it compressed, got one "
                    f"of {len(source.data):,} bytes that unpacks to {size:,}; get a fresh copy"
                )
            for _ in _members(source, archive):
                pass  # reading checks the CRCs, which torch does not
    return parse_weights(source.path, io.BytesIO(source.data), expected)


def arrays_of(source: SourceFile, max_bytes: int) -> Arrays:
    """Return the arrays of an .npz file, converted to float32.

    Args:
        source: The file.
        max_bytes: Most bytes the unpacked arrays may take together.

    Raises:
        DataError: The file is of another kind or incomplete, unpacks to more, or holds anything but float arrays.
    """
    if not source.data.startswith(_ZIP):
        found = describe(io.BytesIO(source.data))
        raise DataError(
            f"{source.path}: expected an .npz file of arrays, got {found.what}; convert a pickle where you trust it, "
            "with: numpy.savez(FILE, *ARRAYS)"
        )
    with open_archive(source) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > max_bytes:
            raise DataError(
                f"{source.path}: expected arrays of at most {max_bytes:,} bytes, got {size:,} of them packed into "
                f"{len(source.data):,}; is this a file of another kind?"
            )
        arrays: Arrays = {}
        for name, data in _members(source, archive):
            if name in arrays:
                raise DataError(f"{source.path}: {one_line(name, 80)}: expected one array of a name, got two")
            arrays[name] = _array(source, name, data)
        return arrays


def open_archive(source: SourceFile) -> zipfile.ZipFile:
    """Open a file as a zip archive.

    Raises:
        DataError: It is damaged, or has too many entries.
    """
    try:
        archive = open_zip(io.BytesIO(source.data))
    except ManyEntriesError:
        raise DataError(f"{source.path}: expected at most {_MAX_ENTRIES} entries, got very many") from None
    except Exception as error:  # noqa: BLE001  (hostile bytes make zipfile raise almost anything)
        raise DataError(
            f"{source.path}: expected a whole file, got a damaged or shortened one ({one_line(str(error))}); "
            "get a fresh copy"
        ) from None
    if len(archive.infolist()) > _MAX_ENTRIES:
        raise DataError(f"{source.path}: expected at most {_MAX_ENTRIES} entries, got {len(archive.infolist())}")
    return archive


def _members(source: SourceFile, archive: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    """Yield the name, without .npy, and the content of each entry; zipfile checks its length and CRC."""
    for entry in archive.infolist():
        where = f"{source.path}: {one_line(entry.filename, 80)}"
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{where}: expected an array as numpy packs it, got one packed in another way")
        try:
            with archive.open(entry) as file:  # the declared size bounds what is unpacked
                data = file.read(entry.file_size + 1)
        except Exception as error:  # noqa: BLE001  (as above)
            raise DataError(
                f"{where}: expected an array, got damaged bytes ({one_line(str(error))}); get a fresh copy"
            ) from None
        yield entry.filename.removesuffix(".npy"), data


def _array(source: SourceFile, name: str, data: bytes) -> NDArray[np.float32]:
    """Parse the bytes of an .npy file; the header must match the data that follow it."""
    buffer = io.BytesIO(data)
    where = f"{source.path}: {one_line(name, 80)}"
    try:
        shape, fortran, dtype = _header(buffer)
    except Exception:  # noqa: BLE001  (hostile headers make numpy raise almost anything)
        raise DataError(f"{where}: expected an array, got something else; get a fresh copy") from None
    if dtype.hasobject or dtype.kind != "f":
        raise DataError(
            f"{where}: expected an array of floating-point numbers, got {one_line(str(dtype), 80)}; nothing that is "
            "pickled is read"
        )
    n_bytes = len(data) - buffer.tell()
    if math.prod(shape) * dtype.itemsize != n_bytes:
        raise DataError(f"{where}: expected {list(shape)} numbers, got {n_bytes} bytes; get a fresh copy")
    flat = np.frombuffer(data, dtype, offset=buffer.tell())
    with np.errstate(over="ignore"):  # overflow gives infinity, which the caller checks for
        return np.ascontiguousarray(flat.reshape(shape, order="F" if fortran else "C"), np.float32)


def _header(buffer: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and dtype stated in the header of an .npy file."""
    version = np.lib.format.read_magic(buffer)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(buffer)
    if len(shape) > _MAX_AXES or any(isinstance(size, bool) or size < 0 for size in shape):
        raise ValueError("a shape that no array has")
    return shape, fortran, dtype
