"""Names of inputs: tells files, folders, globs and URLs apart, expands them, and redacts secrets."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from pathlib import Path

from ascstream.errors import SourceNotFoundError

_SUFFIXES = """
    .3gp .aac .ac3 .aif .aiff .amr .asf .au .avi .caf .flac .flv .m2ts .m4a .m4v .mj2 .mka .mkv .mov .mp2 .mp3 .mp4
    .mpeg .mpg .mts .mxf .oga .ogg .ogv .opus .ts .vob .w64 .wav .webm .wma .wmv .wv
"""
MEDIA_SUFFIXES = frozenset(_SUFFIXES.split())
"""Suffixes of media files in a folder; a file named explicitly may have any suffix."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_USER = re.compile(r"(?<=://)[^/?#\s'\"]*@")
_TYPED_USER = re.compile(r"\A([A-Za-z][A-Za-z0-9+.-]+:/{1,2})[^/?#]*@")
"""At the start of a text: a URL as typed by a user, which may have a space in its password, or a slash too few."""
_BARE_USER = re.compile(r"(?<=://)(?!(?:\[[^\]\s]*\]|[^/?#\s'\":]*)(?::\d*)?(?:[/?#\s'\",;)]|$))\S*@")
"""A password with an unencoded `/` or quote in it: what cannot be a host and port, up to the last @."""
_SECRET = re.compile(
    r"(?i)((?<![^/=&;?#\s'\"])[^/=&;?#\s'\"]*(?:token|key|pass|pwd|psw|loginpas|secret|auth|sig|credential|session)"
    r"[^/=&;?#\s'\"]*=)[^&;#\s'\"]*"
)
"""Values of telling keys, also in a path, where some recorders put them: /user=admin_password=…_channel=1."""


def url_scheme(where: str) -> str | None:
    """The scheme of a URL in lower case; None for anything else: a path, or "-"."""
    match = _URL.match(where)
    return match.group(1).lower() if match else None


def redact(url: str) -> str:
    """Mask user names, passwords and the values of telling query keys in a URL, or in any text with URLs in it."""
    text = _TYPED_USER.sub(r"\1***@", url)
    return _SECRET.sub(r"\1***", _BARE_USER.sub("***@", _USER.sub("***@", text))) if "://" in text else text


def expand_inputs(patterns: Iterable[str | Path]) -> list[str]:
    """Expand what a user typed into single inputs, in the order typed.

    A folder stands for all media files in it, recursively, sorted and without hidden ones; a glob for its sorted
    matches. An existing file is taken literally, even if its name contains a `*`. URLs and "-" are kept as they are.
    Duplicates are dropped.

    Raises:
        SourceNotFoundError: A file does not exist, a folder has no media, or a glob matches nothing.
    """
    found: dict[str, None] = {}
    for pattern in map(str, patterns):
        for name in _expand(pattern):
            found.setdefault(name)
    return list(found)


def _expand(pattern: str) -> list[str]:
    if pattern == "-" or url_scheme(pattern) is not None:
        return [pattern]
    if not pattern:
        raise SourceNotFoundError("expected the name of an input, got an empty one; write . for this folder")
    path = Path(pattern)
    try:
        if path.is_dir():
            return _media_below(path)
        if path.exists():
            return [pattern]
    except SourceNotFoundError:
        raise
    except OSError:
        return [pattern]  # name too long, or no permission: opening it will report that
    if not glob.has_magic(pattern):
        raise SourceNotFoundError(f"no such file or folder: {pattern}; check the path")
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 — relative and absolute alike
    if not matches:
        raise SourceNotFoundError(f"no file matches {pattern}; check the pattern")
    return [name for match in matches for name in (_media_below(Path(match)) if Path(match).is_dir() else [match])]


def _media_below(folder: Path) -> list[str]:
    names = sorted(
        str(path)
        for path in folder.rglob("*")
        if path.suffix.lower() in MEDIA_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not names:
        raise SourceNotFoundError(f"no media files in the folder {folder}; expected .wav, .mp4, .mkv, .mp3 or the like")
    return names
