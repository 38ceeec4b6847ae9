"""Open a corpus of any supported layout, recognised automatically."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from trainer.data.clips import Corpus
from trainer.data.esc10 import read_esc10
from trainer.data.folder import hold_out_evaluation, read_folder
from trainer.data.tau_audio import read_tau_audio
from trainer.data.tau_av_2021 import FOLDER, read_tau_av_2021
from trainer.errors import ConfigError, DataError

LABELS = "labels.csv"
KINDS = {
    "tau-av-2021": "evaluation_setup/fold1_train.csv with a column filename_video",
    "tau-audio": "evaluation_setup/fold1_train.csv or .txt: TUT and TAU Urban Acoustic Scenes 2018 to 2022",
    "esc10": "folders as in '001 - Dog bark'",
    "csv": f"a CSV file, or a folder with {LABELS}: file,scene_label[,recording,split,city,location,video,…]",
    "folder": "a folder a class",
}
"""Supported layouts, and how each is recognised."""


def open_corpus(path: Path, kind: str | None = None, *, allow_partial: bool = False, video: bool = True) -> Corpus:
    """Read the lists of a corpus; no recording is opened.

    Args:
        path: Its folder, or a CSV.
        kind: One of `KINDS`; None: recognise it.
        allow_partial: Whether clips of a published corpus may be missing.
        video: Whether pictures are needed, where they are in files of their own.

    Returns:
        A divided corpus: into "train", optionally "validation", and "evaluate", or into folds.

    Raises:
        ConfigError: There is no such kind.
        DataError: No layout matches, or the layout's reader rejects the corpus.
    """
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"--kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    place = path.resolve()
    readers: dict[str, Callable[[], Corpus]] = {
        "tau-av-2021": lambda: read_tau_av_2021(place, video=video, allow_partial=allow_partial),
        "tau-audio": lambda: read_tau_audio(place, allow_partial=allow_partial),
        "esc10": lambda: read_esc10(place, allow_partial=allow_partial),
        "csv": lambda: _read_own(place / LABELS if place.is_dir() else place),
        "folder": lambda: _read_own(place),
    }
    return readers[kind or recognise(path)]()


def recognise(path: Path) -> str:
    """Which of `KINDS` a folder or file is.

    Raises:
        DataError: It is none of them, or does not exist.
    """
    if path.is_file():
        return "csv"
    if not path.is_dir():
        raise DataError(f"{path}: expected the folder of a corpus, or a CSV, got nothing there")
    published = recognise_published(path)
    if published is not None:
        return published
    if (path / LABELS).is_file():
        return "csv"
    if _folders(path):
        return "folder"
    known = "; ".join(f"{kind} ({sign})" for kind, sign in KINDS.items())
    raise DataError(f"{path}: expected a corpus of a known layout, got none of them: {known}")


def recognise_published(path: Path) -> str | None:
    """The published layout, among `KINDS`, that a folder has; None if it has none."""
    if not path.is_dir():
        return None
    lists = [*path.glob("evaluation_setup/fold1_train.*"), *path.glob("*/evaluation_setup/fold1_train.*")]
    lists += path.glob(f"*/{FOLDER}*/evaluation_setup/fold1_train.*")
    if lists:
        return "tau-av-2021" if any(map(_names_pictures, lists)) else "tau-audio"
    if (path / LABELS).is_file():
        return None
    return "esc10" if any(re.fullmatch(r"\d{3} - .+", folder.name) for folder in _folders(path)) else None


def _folders(path: Path) -> list[Path]:
    """The visible folders in a folder."""
    return [entry for entry in path.iterdir() if entry.is_dir() and entry.name[0] != "."]


def _names_pictures(path: Path) -> bool:
    """Whether the header of a list has a column for pictures."""
    try:
        with path.open("rb") as file:
            return b"filename_video" in file.readline(4096)
    except OSError:
        return False


def _read_own(place: Path) -> Corpus:
    """A user's own recordings, with a fifth held out for evaluation if they are not divided yet."""
    corpus = read_folder(place)
    return corpus if corpus.clips[0].split else hold_out_evaluation(corpus)
