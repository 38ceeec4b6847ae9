"""The files a run starts with: its configuration and data; a run is resumed only if these are unchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.config import MACHINE_KEYS
from trainer.data.clips import first_few
from trainer.errors import RunError
from trainer.files import write_text


def start_folder(folder: Path, files: Mapping[str, Any]) -> None:
    """Write a run's first files, or check that existing ones have the same content.

    Args:
        folder: The run folder, existing or not.
        files: Maps each file name to its JSON content.

    Raises:
        RunError: The folder holds a different run; the message names the keys that differ. Nothing is written then.
    """
    texts = {name: json.dumps(content, indent=1, ensure_ascii=False) + "\n" for name, content in files.items()}
    for name, text in texts.items():
        _check_same(folder / name, json.loads(text))
    for name, text in texts.items():
        if not (folder / name).exists():
            write_text(folder / name, text)


def _check_same(path: Path, now: Any) -> None:
    """Refuse to resume a run whose content differs.

    Args:
        path: A JSON file of the run; accepted if it does not exist.
        now: The content it should have.

    Raises:
        RunError: Its content is different; the message names the keys that differ.
    """
    if not path.exists():
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: expected JSON, got something else ({error}); choose a new folder with --out") from None
    different = _differences(there, now)
    if different:
        raise RunError(
            f"{path}: expected the same as now to go on, got another: {first_few(different)}; "
            "choose a new folder with --out"
        )


def _differences(there: Any, now: Any, key: str = "") -> list[str]:
    """All keys whose values differ, with both values; `MACHINE_KEYS` are ignored."""
    if key in MACHINE_KEYS:
        return []
    if isinstance(there, dict) and isinstance(now, dict):
        names = [*now, *(name for name in there if name not in now)]
        return [
            line
            for name in names
            for line in _differences(there.get(name), now.get(name), f"{key}.{name}" if key else str(name))
        ]
    if isinstance(there, list) and isinstance(now, list) and any(isinstance(item, dict) for item in now):
        if len(there) != len(now):
            return [f"{len(there):,} {key} there, {len(now):,} now"]
        pairs = enumerate(zip(there, now, strict=True))
        return [line for index, (old, new) in pairs for line in _differences(old, new, f"{key}[{index}]")]
    return [] if there == now else [f"{key} is {_shown(there)} there, {_shown(now)} now"]


def _shown(value: Any) -> str:
    """A value as JSON, truncated to 60 characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
