"""Which clips a bundle was made from: those whose SHA-256 is listed in its model card."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from engines.bundle import Bundle
from trainer.data.clips import NONE, Clip
from trainer.files import digest_of

_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")


def count_listed(bundle: Bundle, clips: Iterable[Clip]) -> int:
    """Number of clips of a scene that the card lists by their hash.

    A card may name its data in other ways, as archives for example, so 0 does not mean that the bundle never met them.
    """
    card = bundle.manifest.card
    listed = set(_DIGEST.findall(bundle.read(card).decode("utf-8", "replace"))) if card is not None else set()
    if not listed:
        return 0
    return sum(
        any(_digest(path) in listed for path in {clip.audio, clip.video or clip.audio})
        for clip in clips
        if clip.scene_label != NONE
    )


def _digest(path: Path) -> str:
    """SHA-256 of a file; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return digest_of(file)
    except OSError:
        return ""
