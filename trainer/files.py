"""Files: written atomically, so that one appears complete or not at all; hashed; kept inside the data folder."""

from __future__ import annotations

import errno
import hashlib
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from trainer.errors import ConfigError

UNREADABLE_ARRAYS: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    RuntimeError,
    OverflowError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""Exceptions that reading a damaged .npz can raise: each was observed, or is documented by zipfile or numpy."""

_BLOCK = 1 << 20


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it to `path`; parent folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    fresh = path.with_name(f".{path.name}.partial")
    try:
        with fresh.open("wb") as file:
            write(file)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_whole(path, lambda file: file.write(text.encode()))


def digest_of(file: BinaryIO, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of the rest of an open file, which is read in blocks."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def path_inside(root: Path, name: str, key: str) -> Path:
    """Path of a file or folder that the configuration names relative to the data folder.

    Args:
        root: The data folder.
        name: The configured path.
        key: The configuration key, for the message.

    Raises:
        ConfigError: The path leads outside the data folder.
    """
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise ConfigError(f"{key}: expected a path inside the data folder {root}, got {name!r}")
    return path
