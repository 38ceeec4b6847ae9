"""ESC-10 (Piczak 2015): 400 five-second clips of ten sounds, in folders `001 - Dog bark`, divided into five folds.

A file is named FOLD-SOURCE-TAKE.ogg; SOURCE is the freesound recording it was cut from, and no two folds share one.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from trainer.data.clips import Clip, Corpus
from trainer.errors import DataError

FOLDS = ("1", "2", "3", "4", "5")
CLIPS_A_FOLD = 8
"""Number of clips of each sound in a fold."""
LICENCE = "CC BY 3.0, attributions in the corpus"
_FOLDER = re.compile(r"\d{3} - (.+)")
_FILE = re.compile(r"([1-5])-(\d+)-([A-Z]\d?)\.ogg")


def read_esc10(root: Path, *, allow_partial: bool = False) -> Corpus:
    """Read the corpus; each clip's split is its fold, "1" … "5": `read_esc10(root).as_fold("1")` holds out the first.

    Args:
        root: The folder that contains the folders of sounds.
        allow_partial: Whether clips may be missing.

    Raises:
        DataError: There are no such folders, a file name does not follow the corpus's pattern, or clips are missing.
    """
    folders = [entry for entry in sorted(root.iterdir()) if _FOLDER.fullmatch(entry.name)] if root.is_dir() else []
    if not folders:
        raise DataError(f"{root}: expected folders as in '001 - Dog bark', got none; name the folder of ESC-10")
    clips = [clip for folder in folders for clip in _read_sound(folder)]
    labels = tuple(sorted(_label(folder) for folder in folders))
    if not allow_partial:
        found = Counter((clip.scene_label, clip.split) for clip in clips)
        if len(labels) != 10:
            raise DataError(f"{root}: expected ten sounds, got {len(labels)}; go on with them: --allow-partial")
        for label in labels:
            for fold in FOLDS:
                if found[label, fold] != CLIPS_A_FOLD:
                    raise DataError(
                        f"{root}: expected {CLIPS_A_FOLD} clips of {label!r} in fold {fold}, "
                        f"got {found[label, fold]}; go on with them: --allow-partial"
                    )
    return Corpus("ESC-10", root, labels, tuple(clips), LICENCE)


def _read_sound(folder: Path) -> list[Clip]:
    """The clips in one folder."""
    clips = []
    for path in sorted(entry for entry in folder.iterdir() if entry.name[0] != "."):
        parts = _FILE.fullmatch(path.name)
        if parts is None:
            raise DataError(f"{path}: expected a name as in 1-100032-A.ogg (fold-source-take), got another")
        fold, source, take = parts.groups()
        clips.append(Clip(path, None, _label(folder), "", source, take, fold))
    return clips


def _label(folder: Path) -> str:
    """Label of a folder: '001 - Dog bark' becomes dog_bark."""
    return folder.name.split(" - ", 1)[1].lower().replace(" ", "_")
