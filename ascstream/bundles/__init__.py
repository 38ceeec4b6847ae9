"""The bundles that ship with the package, and how a name or path is resolved to a bundle's folder."""

from __future__ import annotations

import difflib
from contextlib import suppress
from pathlib import Path

from engines.errors import BundleError

DEFAULT = "slim-av"
"""The bundle used if none is named."""


def shipped() -> dict[str, Path]:
    """Name and folder of each bundle shipped in the package."""
    root = Path(__file__).parent
    return {path.parent.name: path.parent for path in sorted(root.glob("*/manifest.json"))}


def find_bundle(name_or_path: str | Path | None = None) -> Path:
    """The folder of a bundle.

    Args:
        name_or_path: The name of a shipped bundle, which takes precedence over a folder of that name (write ./NAME for
            the folder), or a path; None: the default bundle.

    Raises:
        BundleError: There is neither a bundle of that name nor a folder at that path.
    """
    names = shipped()
    wanted = DEFAULT if name_or_path is None else str(name_or_path)
    if wanted in names:
        return names[wanted]
    with suppress(OSError, RuntimeError):  # the name is too long, or ~user does not exist
        path = Path(wanted).expanduser()
        if wanted and path.is_dir():
            return path
    known = ", ".join(names) or "none"
    close = difflib.get_close_matches(wanted, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise BundleError(
        f"{wanted}: expected a folder with a manifest.json, or a shipped bundle ({known}), got neither{hint}"
    )
